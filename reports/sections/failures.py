"""What fails the run: refuted claims and broken contracts, each in four lines."""

from __future__ import annotations

from reports.blocks import Block, Pre, Section, Text
from reports.drawn import drawn
from reports.failure import message, smallest
from reports.pairs import by_pair
from theory.verdict import Run, Verdict


def section(run: Run) -> Section | None:
    """The failures, one message for each law and pruner."""
    failing = [verdicts for verdicts in by_pair(run).values() if any(v.failed for v in verdicts)]
    if not failing:
        return None
    blocks = [block for verdicts in failing for block in _shown(run, verdicts)]
    return Section("Failures", "failures", 10, tuple(blocks))


def _shown(run: Run, verdicts: list[Verdict]) -> list[Block]:
    best = smallest(verdicts)
    grounds = list(dict.fromkeys(v.ground for v in verdicts if v.failed))
    net = drawn(best.witness) if best.witness else None
    return [Pre(message(run, best)), *([net] if net else []), Text(f"Broken on {'; '.join(grounds)}.")]
