"""Two runs compared: what became worse is told, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from handmade import a_run, a_verdict

from pruning.errors import UsageError
from reports.compared import as_text, sections_of
from reports.comparison import Comparison, compare_runs, refuse_strangers
from reports.markdown import CAP, written
from reports.record import from_json, to_json
from theory.verdict import MaskRecord, Outcome, Run, RunRecord, Verdict

HELD, BROKEN, VACUOUS, OUTSIDE = Outcome.HELD, Outcome.BROKEN, Outcome.VACUOUS, Outcome.OUT_OF_SCOPE


def one(outcome: Outcome, claimed: bool = True, **more: Any) -> Verdict:
    return a_verdict("positivity", "mine", outcome, claimed=claimed, **more)


def run_of(*verdicts: Verdict, claims: tuple[str, ...] = ("positive",), **more: Any) -> Run:
    return replace(a_run(*verdicts, claims={"mine": list(claims)}), **more)


def changed(found: Comparison) -> set[str]:
    kinds = ("refuted", "broken", "lost", "withdrawn", "held", "margins", "masks", "unmatched", "unlike")
    return {kind for kind in kinds if getattr(found, kind)}


@pytest.mark.parametrize(
    ("before", "after", "kinds", "regressed"),
    [
        (one(HELD), one(HELD), set(), False),
        (one(HELD), one(BROKEN), {"refuted"}, True),
        (one(BROKEN), one(BROKEN), set(), False),
        (one(BROKEN), one(HELD), {"held"}, False),
        (one(HELD, False), one(BROKEN, False), {"broken"}, True),
        (one(BROKEN, False), one(BROKEN, True), set(), False),
        (one(HELD), one(OUTSIDE), {"lost"}, True),
        (one(HELD), one(VACUOUS), {"lost"}, True),
        (one(BROKEN), one(OUTSIDE), {"lost"}, True),
        (one(OUTSIDE), one(HELD), set(), False),
        (one(OUTSIDE), one(BROKEN), {"refuted"}, True),
        (one(HELD, margin=0.3), one(HELD, margin=0.59), set(), False),
        (one(HELD, margin=0.01), one(HELD, margin=0.4), set(), False),
        (one(HELD, margin=0.3), one(HELD, margin=0.61), {"margins"}, False),
        (one(HELD), one(HELD, seconds=9.0), set(), False),
    ],
)
def test_each_kind_of_change(before: Verdict, after: Verdict, kinds: set[str], regressed: bool) -> None:
    found = compare_runs(run_of(before), run_of(after))
    assert (changed(found), found.regressed) == (kinds, regressed)
    assert as_text(found).startswith("Regressed: 1 " if regressed else "No regression")


def test_broken_on_any_ground_is_broken() -> None:
    before = run_of(one(HELD), one(HELD, ground="conv, real"))
    found = compare_runs(before, run_of(one(HELD), one(BROKEN, ground="conv, real", where="there")))
    assert [(c.pruner, c.what, c.before, c.after) for c in found.refuted] == [
        ("mine", "positivity", "held", "claim refuted: there")
    ]


def test_a_claim_that_is_made_no_more_is_a_regression() -> None:
    found = compare_runs(run_of(one(HELD)), run_of(one(HELD, False), claims=()))
    assert changed(found) == {"withdrawn"} and found.regressed
    assert "Regressed: 1 claim withdrawn." in as_text(found)
    assert not compare_runs(run_of(one(HELD, False), claims=()), run_of(one(HELD))).regressed


def test_a_pruner_or_a_law_in_one_run_only_is_said_and_no_regression() -> None:
    more = a_verdict("positivity", "other", BROKEN)
    found = compare_runs(run_of(one(HELD)), run_of(one(HELD), more))
    assert found.unmatched == ["positivity of other, in the newer run only"] and not found.regressed
    assert "1 check in one run only" in as_text(found)


def test_what_the_newer_run_does_not_have_is_no_longer_checked() -> None:
    gone = a_verdict("positivity", "other", HELD)
    found = compare_runs(run_of(one(HELD), gone), run_of(one(HELD)))
    assert found.regressed and [(c.pruner, c.after) for c in found.lost] == [("other", "not in the newer run")]
    assert not found.unmatched
    never = a_verdict("positivity", "other", OUTSIDE)
    assert not compare_runs(run_of(one(HELD), never), run_of(one(HELD))).regressed


def test_a_law_that_broke_and_nobody_claimed_may_go() -> None:
    gone = a_verdict("positivity", "other", BROKEN)
    found = compare_runs(run_of(one(HELD), gone), run_of(one(HELD)))
    assert not found.regressed and found.unmatched == ["positivity of other, in the older run only"]


def test_runs_of_other_pruners_are_not_compared() -> None:
    with pytest.raises(UsageError, match="no pruner in common: mine in the older one, other in the newer one"):
        refuse_strangers(run_of(one(HELD)), ["other"])
    refuse_strangers(run_of(one(HELD)), ["other", "mine"])


def test_other_masks_are_told_by_ground() -> None:
    def masks(*digests: str) -> list[MaskRecord]:
        return [MaskRecord("mine", "dense, integer", list(digests)), MaskRecord("mine", "conv, real", ["same"])]

    found = compare_runs(run_of(one(HELD), masks=masks("a", "b")), run_of(one(HELD), masks=masks("a", "c")))
    assert [(c.what, c.after) for c in found.masks] == [("dense, integer", "1 of 2 networks")] and not found.regressed
    assert not compare_runs(
        run_of(one(HELD)), run_of(one(HELD), masks=masks("a", "c"))
    ).masks  # an older record has none
    fewer = compare_runs(run_of(one(HELD), masks=masks("a")), run_of(one(HELD), masks=masks("a", "c")))
    assert not fewer.masks


def test_other_masks_of_a_model_are_told() -> None:
    runs = [
        RunRecord("mine", "vgg", "exponential, 1 round", ["0"], [2], [1], [[1]], [0.0], [0.0], digest)
        for digest in ("a", "b")
    ]
    found = compare_runs(run_of(one(HELD), runs=runs[:1]), run_of(one(HELD), runs=runs[1:]))
    assert [c.what for c in found.masks] == ["vgg, exponential, 1 round"]


def test_settings_that_differ_are_told() -> None:
    before, after = run_of(one(HELD)), run_of(one(HELD), provenance={"prunelaws": "0.2.0", "seed": "1"})
    found = compare_runs(before, after)
    assert [(c.what, c.before, c.after) for c in found.unlike] == [("seed", "0", "1")] and not found.regressed


def test_an_older_record_without_masks_still_opens() -> None:
    text = to_json(run_of(one(HELD))).replace(',\n "masks": []', "")
    assert '"masks"' not in text and from_json(text).masks == []


def test_the_markdown_puts_regressions_first_and_stays_within_its_cap() -> None:
    names = [f"<script>{i}|`" for i in range(900)]
    before = run_of(*(a_verdict("positivity", n, HELD, claimed=True) for n in names))
    after = run_of(*(a_verdict("positivity", n, BROKEN, claimed=True) for n in names))
    found = compare_runs(before, after)
    text = written(sections_of(found, before, after))
    assert text.startswith("# prunelaws: two runs compared\n\nRegressed: 900 newly refuted.")
    assert len(text.encode()) <= CAP and "<script>" not in text
