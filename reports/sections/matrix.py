"""Every law with every pruner at a glance."""

from __future__ import annotations

from reports.blocks import NO_BREAK, Column, Line, Section, Span, Table, Text
from reports.pairs import CHECKED, Pair, anchor, by_pair, law_head, law_names, mark, pruner_names
from theory.verdict import Outcome, Run, Verdict

MEANING = (
    "A law is held or broken; a claim is kept or refuted. Breaking a law that was never claimed is contrast, "
    "not failure; contracts bind every pruner. Where only some of the grounds had anything to check, the cell says so."
)


def section(run: Run) -> Section:
    """One row per law, one column per pruner."""
    pairs, pruners = by_pair(run), pruner_names(run)
    columns = (
        Column("Law"),
        Column("Promise"),
        *(Column(Span(p, "code", anchor(run, pruner=p))) for p in pruners),
    )
    rows = tuple(
        (law_head(run, law), _promise(run, law), *(_cell(run, pairs, law, p) for p in pruners))
        for law in law_names(run)
    )
    return Section("At a glance", "matrix", 20, (Text(MEANING), Table("Laws by pruners", columns, rows)))


def _promise(run: Run, law: str) -> Line:
    entry: dict[str, str | None] = next((e for e in run.laws if e["name"] == law), {})
    return entry.get("claim") or Span("contract", "note")


def _cell(run: Run, pairs: dict[Pair, list[Verdict]], law: str, pruner: str) -> Line:
    verdicts = pairs.get((law, pruner))
    if not verdicts:
        return Span("not run", "unrun")
    broken = sum(v.outcome is Outcome.BROKEN for v in verdicts)
    checked = sum(v.outcome in CHECKED for v in verdicts)
    stands = mark(verdicts, anchor(run, law, pruner) if broken else "")
    if not checked:
        return (stands, " ", Span("though claimed", "note")) if verdicts[0].claimed else stands
    part, whole = (broken, checked) if broken else (checked, len(verdicts))
    return (
        stands
        if part in (0, whole)
        else (stands, " ", Span(f"on {part} of {whole} grounds".replace(" ", NO_BREAK), "note"))
    )
