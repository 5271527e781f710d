"""Comparison: two runs of the same checks, and what became worse, better or merely different."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pruning.errors import UsageError
from reports.pairs import CHECKED, Pair, by_pair, pair_standing
from theory.verdict import Outcome, Run, Standing, Verdict, overall

MARGIN = 2  # times as close to its bound: less comes from the machine's own rounding
SETTINGS = ("seed", "networks per law and family", "device")  # what must agree for verdicts to be comparable


@dataclass(frozen=True)
class Change:
    """A law and a pruner, or a claim and a pruner, before and after."""

    pruner: str
    what: str
    before: str
    after: str


@dataclass(frozen=True)
class Comparison:
    """What changed from an older run to a newer one.

    refuted, broken: held or unknown before, broken now, where the pruner is held to it and where not; lost: checked
    before, and nothing to check now, or not in the newer run at all; withdrawn: claims that are made no more; held:
    broken before; margins: still held, twice as close to a bound; masks: cases on which other weights are kept;
    unmatched: what only the newer run has, or the older one without having checked it; unlike: settings that differ,
    which makes all the rest doubtful; seconds: per law, in both.
    """

    refuted: list[Change]
    broken: list[Change]
    lost: list[Change]
    withdrawn: list[Change]
    held: list[Change]
    margins: list[Change]
    masks: list[Change]
    unmatched: list[str]
    unlike: list[Change]
    seconds: dict[str, tuple[float, float]]

    @property
    def regressed(self) -> bool:
        """Whether anything that held before does not hold, or is not known to hold, now."""
        return bool(self.refuted or self.broken or self.lost or self.withdrawn)


def refuse_strangers(old: Run, pruners: Iterable[str]) -> None:
    """Raise UsageError where an older run has none of the pruners: nothing could have become worse."""
    before, now = [str(p["name"]) for p in old.pruners], list(pruners)
    if not set(before) & set(now):
        raise UsageError(
            f"the runs have no pruner in common: {', '.join(before) or 'none'} in the older one, "
            f"{', '.join(now) or 'none'} in the newer one; a pruner goes by its name, so give both versions the same"
        )


def compare_runs(old: Run, new: Run) -> Comparison:
    """Every law and pruner that both runs have, over all grounds; masks case by case."""
    before, after = by_pair(old), by_pair(new)
    both = [pair for pair in before if pair in after]
    changes = [(pair, before[pair], after[pair]) for pair in both]
    newly_broken = [c for c in changes if _is(c[2], Outcome.BROKEN) and not _is(c[1], Outcome.BROKEN)]
    only = [
        f"{law} of {pruner}, {when}"
        for when, a, b in _sides(before, after)
        for (law, pruner), found in a.items()
        if (law, pruner) not in b and (a is after or not _worth_missing(found))
    ]
    claims = [{(p["name"], c) for p in run.pruners for c in p["claims"]} for run in (old, new)]
    pruners = {p["name"] for p in new.pruners}
    return Comparison(
        refuted=[_change(*c) for c in newly_broken if pair_standing(c[2]) is Standing.REFUTED],
        broken=[_change(*c) for c in newly_broken if pair_standing(c[2]) is not Standing.REFUTED],
        lost=_lost(before, after),
        withdrawn=[Change(p, c, "claimed", "not claimed") for p, c in sorted(claims[0] - claims[1]) if p in pruners],
        held=[_change(*c) for c in changes if _is(c[1], Outcome.BROKEN) and _is(c[2], Outcome.HELD)],
        margins=[m for c in changes if (m := _margin(*c))],
        masks=_masks(old, new),
        unmatched=only,
        unlike=[
            Change("", name, old.provenance.get(name, ""), new.provenance.get(name, ""))
            for name in SETTINGS
            if old.provenance.get(name) != new.provenance.get(name)
        ],
        seconds=_seconds(old, new),
    )


def _lost(before: dict[Pair, list[Verdict]], after: dict[Pair, list[Verdict]]) -> list[Change]:
    """What was checked before, and is not now, or is not there."""
    checked = {pair: found for pair, found in before.items() if _worth_missing(found)}
    gone = [
        Change(p, law, pair_standing(f).value, "not in the newer run")
        for (law, p), f in checked.items()
        if (law, p) not in after
    ]
    silent = [pair for pair in checked if pair in after and overall(after[pair]) not in CHECKED]
    return [_change(pair, checked[pair], after[pair]) for pair in silent] + gone


def _worth_missing(verdicts: list[Verdict]) -> bool:
    """Whether something was shown that the pruner keeps, or is held to: that nobody's promise is broken is no loss."""
    return overall(verdicts) in CHECKED and pair_standing(verdicts) is not Standing.BROKEN


def _sides(before: dict[Any, Any], after: dict[Any, Any]) -> list[tuple[str, dict[Any, Any], dict[Any, Any]]]:
    return [("in the older run only", before, after), ("in the newer run only", after, before)]


def _is(verdicts: list[Verdict], outcome: Outcome) -> bool:
    return overall(verdicts) is outcome


def _change(pair: tuple[str, str], before: list[Verdict], after: list[Verdict]) -> Change:
    where = next((f": {v.where}" for v in after if v.outcome is Outcome.BROKEN and v.where), "")
    return Change(pair[1], pair[0], pair_standing(before).value, pair_standing(after).value + where)


def _margin(pair: tuple[str, str], before: list[Verdict], after: list[Verdict]) -> Change | None:
    if not (_is(before, Outcome.HELD) and _is(after, Outcome.HELD)):
        return None
    worst = [max((v.margin for v in verdicts if v.margin is not None), default=0.0) for verdicts in (before, after)]
    if worst[1] <= MARGIN * worst[0] or worst[1] <= 1 / MARGIN:
        return None
    return Change(pair[1], pair[0], f"{worst[0]:.2g} of its bound", f"{worst[1]:.2g} of its bound")


def _masks(old: Run, new: Run) -> list[Change]:
    before = {(m.pruner, m.ground): m.digests for m in old.masks}
    found = []
    for record in new.masks:
        known = before.get((record.pruner, record.ground))
        if known is not None and len(known) == len(record.digests) and known != record.digests:
            changed = sum(a != b for a, b in zip(known, record.digests, strict=True))
            found.append(Change(record.pruner, record.ground, "", f"{changed} of {len(known)} networks"))
    runs = {(r.pruner, r.model, r.schedule): r.digest for r in old.runs}
    moved = [r for r in new.runs if runs.get((r.pruner, r.model, r.schedule), r.digest) != r.digest]
    return found + [Change(r.pruner, f"{r.model}, {r.schedule}", "", "its masks at the end") for r in moved]


def _seconds(old: Run, new: Run) -> dict[str, tuple[float, float]]:
    def by_law(run: Run) -> dict[str, float]:
        total: dict[str, float] = {}
        for v in run.verdicts:
            total[v.law] = total.get(v.law, 0.0) + v.seconds
        return total

    before, after = by_law(old), by_law(new)
    return {law: (round(before[law], 3), round(after[law], 3)) for law in before if law in after}
