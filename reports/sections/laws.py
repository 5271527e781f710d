"""The laws that were checked: what they say, of what, by whom, and what they are known to catch."""

from __future__ import annotations

from typing import Any

from reports.blocks import Block, Column, Fold, Line, Section, Span, Table, Text
from reports.pairs import anchor
from theory.verdict import Run

COLUMNS = (
    Column("Law"),
    Column("Statement and hypotheses"),
    Column("Promise"),
    Column("Source"),
    Column("Evidence, and what it caught"),
)
ABOUT = {"objective": "none: of any loss", "module": "none: of operators", "step": "none: of optimisers"}
PROVED = (
    "An identity in all weights, biases, inputs and cotangents of each shape, expanded to 0 by sympy for every "
    "activation pattern."
)
PROOF_COLUMNS = (Column("Law"), Column("Patterns", True), Column("Identities", True), Column("Shapes"))


def section(run: Run) -> Section:
    """One row per law."""
    rows = tuple(_row(law) for law in run.laws)
    anchors = tuple(anchor(run, law["name"]) for law in run.laws)
    return Section("Laws", "laws", 70, (Table("The laws of this run", COLUMNS, rows, anchors), *_proofs(run)))


def _proofs(run: Run) -> tuple[Block, ...]:
    """What was expanded, law by law, and what is trusted."""
    proved = [law for law in run.laws if law.get("proof")]
    if not proved:
        return ()
    rows = tuple(_proof_row(law, law["proof"]) for law in proved)
    head = f"Proved: {len(proved)} laws, {sum(law['proof']['identities'] for law in proved):,} identities"
    trusted = Text(f"{PROVED} Trusted: {proved[0]['proof']['trusted']}.")
    return (Fold((head,), (trusted, Table("Laws proved on small shapes", PROOF_COLUMNS, rows))),)


def _proof_row(law: dict[str, Any], proof: dict[str, Any]) -> tuple[Line, ...]:
    return (
        (Span(law["id"], "note"), " ", Span(law["name"], "code")),
        f"{proof['patterns']:,}",
        f"{proof['identities']:,}",
        "; ".join(proof["shapes"]),
    )


def _row(law: dict[str, Any]) -> tuple[Line, ...]:
    needs = "; ".join(law["needs"])
    return (
        (Span(law["id"], "note"), " ", Span(law["name"], "code")),
        (
            law["statement"],
            *((" ", Span(f"Needs: {needs}.", "note")) if needs else ()),
            *((" ", Span(f"Often said, and false: {law['folklore']}", "note")) if law.get("folklore") else ()),
        ),
        law["claim"] or ABOUT.get(law["subject"], "contract, binds everyone"),
        law["source"],
        (f"{', '.join(law['grades'])} ", Span(f"On the {law['subject']}; catches: {law['impostor']}.", "note")),
    )
