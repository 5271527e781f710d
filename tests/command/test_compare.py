"""`prunelaws compare` and `verify --baseline`: an off-by-one is told, and nothing besides what comes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Run

LAWS = "A1,S2,M0,M1,M2,M4"
FEW = ("--laws", LAWS, "--examples", "2")


@pytest.fixture
def older(run: Run) -> Path:
    ended = run("verify", "mine.py:faithful", *FEW, "-o", "older")
    assert ended.status == 0, ended.err
    return Path("older")


def test_an_off_by_one_is_told_and_nothing_else(run: Run, older: Path) -> None:
    ended = run("verify", "mine.py:off_by_one", *FEW, "-o", "newer", "--baseline", "older")
    assert ended.status == 1
    compared = run("compare", "older", "newer/run.json", "--json")
    found = json.loads(compared.out)
    assert compared.status == 1 and found["regressed"]
    assert [c["what"] for c in found["refuted"]] == ["exact_budget"]
    assert [c["what"] for c in found["broken"]] == ["idempotence"]  # pruned again, it drops one more
    assert not (found["lost"] or found["withdrawn"] or found["held"] or found["margins"] or found["unmatched"])
    assert not found["unlike"] and all(c["after"].endswith("networks") for c in found["masks"])
    text = run("compare", "older", "newer", "-o", "told.md")
    assert text.out in ended.err and Path("told.md").read_text().startswith("# prunelaws: two runs compared")


def test_the_same_again_is_no_regression(run: Run, older: Path) -> None:
    assert run("verify", "mine.py:faithful", *FEW, "-o", "again", "--baseline", "older").status == 0
    compared = run("compare", "older", "again")
    assert (compared.status, compared.out) == (0, "No regression.\n")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("none", None, "the run 'none' can't be read: No such file or directory"),
        ("cut.json", '{"version": 1,', "no record of a prunelaws run: truncated or not JSON"),
        ("other.json", "{}", "no record of a prunelaws run: it has no version"),
        (
            "newer.json",
            '{"version": 99, "verdicts": []}',
            "newer than the version 1 that is read here: update prunelaws",
        ),
    ],
)
def test_what_is_no_run_is_told_in_one_line(run: Run, name: str, text: str | None, said: str) -> None:
    if text is not None:
        Path(name).write_text(text)
    for words in (("compare", name, "never read"), ("verify", "synflow", "--baseline", name)):
        ended = run(*words)
        assert ended.status == 2 and said in ended.err and ended.err.count("\n") == 1
