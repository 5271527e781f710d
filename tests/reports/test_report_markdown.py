"""The Markdown says the same in less: failures first, within 64 KB, and harmless whatever things are called."""

import re
from dataclasses import replace

import pytest
from handmade import a_run, a_verdict

from reports.markdown import CAP, markdown
from theory.verdict import Outcome, Run


def test_failures_come_first(run: Run) -> None:
    text = markdown(run)
    assert text.startswith("# 1 claim refuted and 1 contract broken\n")
    headings = re.findall(r"^## (.*)$", text, re.M)
    assert headings[:3] == ["Failures", "At a glance", "Broken laws"]
    assert "    bad claims 'neuron conserved' but breaks neuron_conservation\n" in text


def test_the_matrix(run: Run) -> None:
    rows = [line.replace("\xa0", " ") for line in markdown(run).splitlines()]
    assert "| A1 `neuron_conservation` | neuron conserved | held on 1 of 2 grounds | **claim refuted** |" in rows
    assert "| S2 `positivity` | positive | held, not claimed | broken, not claimed |" in rows


def test_same_run_same_bytes(run: Run) -> None:
    assert markdown(run) == markdown(run)


def test_a_short_report_leaves_no_row_out(run: Run) -> None:
    assert "left out" not in markdown(run)


@pytest.mark.parametrize("pruners", [30, 400])
def test_the_cap(pruners: int) -> None:
    verdicts = [a_verdict("positivity", f"pruner_{i}", Outcome.BROKEN) for i in range(pruners)]
    verdicts.append(a_verdict("purity", "last", Outcome.BROKEN))
    text = markdown(a_run(*verdicts, claims={v.pruner: [] for v in verdicts}))
    assert len(text.encode()) <= CAP
    assert "last breaks the contract purity" in text
    assert ("left out" in text) == (len(verdicts) > 100)


def test_the_cap_holds_when_all_is_failure() -> None:
    long = "ü" * 1000
    verdicts = [a_verdict("purity", f"{i}{long}", Outcome.BROKEN) for i in range(100)]
    text = markdown(a_run(*verdicts, claims={}))
    assert CAP * 0.9 < len(text.encode()) <= CAP
    assert text.rstrip().endswith("report.html has everything.")


@pytest.mark.parametrize(
    "name", ["a|b", "a\nb", "<script>alert(1)</script>", "`x`", "a\\|b", "[x](y)", "*b*", "\x1b[1m"]
)
def test_names_break_no_table(name: str) -> None:
    verdicts = [a_verdict(law, name, Outcome.BROKEN) for law in ("purity", "positivity")]
    text = markdown(a_run(*verdicts, claims={name: [name]}))
    assert "\x1b" not in text
    tables = re.findall(r"(?:^\|.*\n)+", text, re.M)
    assert len(tables) >= 4
    for table in tables:
        lines = table.splitlines()
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1, table
    outside_code = re.sub(r"`[^`\n]*`", "", "\n".join(x for x in text.splitlines() if not x.startswith("    ")))
    assert "<script" not in outside_code


def test_a_cell_is_never_endless(run: Run) -> None:
    broken = next(v for v in run.verdicts if v.witness)
    assert broken.witness is not None
    huge = replace(broken, witness=replace(broken.witness, network="Net(" + "1, " * 100_000 + ")"))
    text = markdown(replace(run, verdicts=[huge]))
    assert max(map(len, text.splitlines())) < 2500
