"""Where a run came from: versions, machine, seed and budget."""

from __future__ import annotations

from reports.blocks import Facts, Section
from theory.verdict import Run


def section(run: Run) -> Section:
    """What the record says of its own making."""
    seconds = sum(v.seconds for v in run.verdicts)
    rest = (("Checking took", f"{seconds:,.1f} s"), ("Record version", str(run.version)))
    return Section("Provenance", "provenance", 80, (Facts((*run.provenance.items(), *rest)),))
