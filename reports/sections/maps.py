"""What the theory can say of each full-size model, module by module, before any pruner is run."""

from __future__ import annotations

from typing import Any

from reports.blocks import Block, Column, Facts, Fold, Line, Section, Span, Table, Text
from reports.inspection import READING, alike, reasons, sound, type_of
from reports.pairs import counted
from theory.verdict import Run

PARTLY = "has units that may not balance: applied at the sound ones alone"


def section(run: Run) -> Section | None:
    """One part per model."""
    if not run.maps:
        return None
    return Section("Models as the theory reads them", "maps", 45, tuple(_map(found) for found in run.maps))


def _map(found: dict[str, Any]) -> Fold:
    facts = (
        ("Prunable", f"{found['weights']:,} weights in {found['layers']} layers"),
        ("Sound", f"{found['sound units']:,} of {found['units']:,} hidden units: there all that enters leaves"),
        ("Meets", "; ".join(found["traits"]) or "none of the hypotheses on whole networks"),
    )
    title = "Laws that can't be applied to it, and why"
    blocks: list[Block] = [Facts(facts), Table(title, (Column("Why"), Column("Laws")), tuple(_reasons(found)))]
    for name, lines in (
        ("Followed, for torch.export can't trace it", found["turns"]),
        ("Parameters that are not pruned", found["unpruned"]),
        ("Units that may not balance", found["objections"]),
        ("Where degree, monotony or convexity is lost", found["lost"]),
    ):
        if lines:
            table = Table(name, (Column("Module"), Column("Why")), tuple(_placed(line) for line in alike(lines)))
            blocks.append(Fold(f"{name}: {counted(len(lines), 'place')}", (table,)))
    rows = tuple((Span(m["where"], "code"), " ".join(m["operators"]), type_of(m), sound(m)) for m in found["modules"])
    columns = Column("Module"), Column("Operators"), Column("Type"), Column("Sound units", True)
    modules = Table("Modules in the order in which they run", columns, rows, detail=True)
    blocks.append(Fold(f"Modules: {len(rows)}", (Text(READING), modules)))
    return Fold(Span(found["model"], "code"), tuple(blocks), open=True)


def _placed(line: str) -> tuple[Line, ...]:
    where, _, what = line.partition(": ")
    return Span(where, "code"), what


def _reasons(found: dict[str, Any]) -> list[tuple[str, str]]:
    partly = [law["id"] for law in found["laws"] if law["partly"]]
    return [(why, ", ".join(ids)) for why, ids in ({PARTLY: partly} | reasons(found)).items() if ids]
