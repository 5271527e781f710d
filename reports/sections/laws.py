"""The laws that were checked: what they say, of what, by whom, and what they are known to catch."""

from __future__ import annotations

from typing import Any

from reports.blocks import Column, Line, Section, Span, Table
from reports.pairs import anchor
from theory.verdict import Run

COLUMNS = (
    Column("Law"),
    Column("Statement and hypotheses"),
    Column("Promise"),
    Column("Source"),
    Column("Evidence, and what it caught"),
)


def section(run: Run) -> Section:
    """One row per law."""
    rows = tuple(_row(law) for law in run.laws)
    anchors = tuple(anchor(run, law["name"]) for law in run.laws)
    return Section("Laws", "laws", 70, (Table("The laws of this run", COLUMNS, rows, anchors),))


def _row(law: dict[str, Any]) -> tuple[Line, ...]:
    needs = "; ".join(law["needs"])
    return (
        (Span(law["id"], "note"), " ", Span(law["name"], "code")),
        (law["statement"], *((" ", Span(f"Needs: {needs}.", "note")) if needs else ())),
        law["claim"] or "contract, binds everyone",
        law["source"],
        (f"{', '.join(law['grades'])} ", Span(f"On the {law['subject']}; catches: {law['impostor']}.", "note")),
    )
