"""Every broken law with the smallest network that breaks it."""

from __future__ import annotations

from reports.blocks import Block, Column, Fold, Line, Section, Span, Table, Text, inlines
from reports.drawn import drawn
from reports.failure import rerun, smallest
from reports.pairs import anchor, law_head, mark, of_pruner, pruner_names
from theory.telling import size
from theory.verdict import Outcome, Run, Verdict

COLUMNS = (
    Column("Law"),
    Column("Smallest network found"),
    Column("Where it breaks"),
    Column("Grounds, and how to rerun"),
)


def section(run: Run) -> Section:
    """One table per pruner; every row can be run again."""
    folds = tuple(fold for pruner in pruner_names(run) if (fold := _pruner(run, pruner)))
    about = (
        "Each network is as small as it goes while it still breaks the law, and was run once more from its own text."
        if folds
        else "No law was broken."
    )
    return Section("Broken laws", "broken", 30, (Text(about), *folds))


def _pruner(run: Run, pruner: str) -> Block | None:
    broken = {law: vs for law, vs in of_pruner(run, pruner).items() if any(v.outcome is Outcome.BROKEN for v in vs)}
    if not broken:
        return None
    rows = tuple(_row(run, law, verdicts) for law, verdicts in broken.items())
    anchors = tuple(anchor(run, law, pruner) for law in broken)
    title = (Span(pruner, "code"), f" breaks {len(broken)} of {len(of_pruner(run, pruner))} laws")
    table = Table(f"One network for each law that {pruner} breaks", COLUMNS, rows, anchors)
    return Fold(title, (table, *_drawn(run, broken)), open=True)


def _drawn(run: Run, broken: dict[str, list[Verdict]]) -> tuple[Block, ...]:
    """The networks that can be drawn, each law's under its name."""
    found = {law: drawn(w) for law, vs in broken.items() if (w := smallest(vs).witness)}
    parts = tuple(block for law, net in found.items() if net for block in (Text(law_head(run, law)), net))
    return (Fold("These networks, drawn", parts),) if parts else ()


def _row(run: Run, law: str, verdicts: list[Verdict]) -> tuple[Line, ...]:
    best, witness = smallest(verdicts), smallest(verdicts).witness
    stands = mark(verdicts)
    head = (*inlines(law_head(run, law)), *((" ", stands) if stands.kind == "refuted" else ()))
    network: Line = Span(f"{best.ground}: no small network is written out", "note")
    where: Line = best.where or "not recorded"
    if witness:
        network = (Span(witness.network, "code"), " ", Span(f"({size(witness)})", "note"))
        where = witness.where
    grounds = "; ".join(dict.fromkeys(v.ground for v in verdicts if v.outcome is Outcome.BROKEN))
    return head, network, where, (grounds, " ", Span(rerun(run, best), "command"))
