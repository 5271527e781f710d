"""How strong the evidence is: what was counted, law by law."""

from __future__ import annotations

from reports.blocks import NO_BREAK, NONE, Column, Fold, Line, Section, Span, Table, Text
from reports.pairs import grades, law_head, least_gain, mark, model_of, of_pruner, pruner_names, worst_margin
from theory.verdict import Outcome, Run, Verdict

READING = (
    "A problem is trivial where nothing flows, so that it can't break the law. Exact balances agree to the bit. "
    "Margin: the largest residual over the rounding bound derived for it; above 1 it fails. Order: by how many bits a "
    "residual shrinks from float32 to float64; a true identity gains about 29, a false one none. The search ends at "
    "the first failure. 0 failures in n random problems exclude, at 95 %, that 3/n of such problems or more fail."
)
COLUMNS = (
    Column("Law"),
    Column("Standing"),
    Column("Problems", True),
    Column("Trivial", True),
    Column("Balances", True),
    Column("Grades"),
    Column("Worst margin", True),
    Column("Order gain, bits", True),
    Column("Failures in random problems"),
    Column("Seconds", True),
)


def section(run: Run) -> Section:
    """One table per pruner."""
    return Section("Evidence", "evidence", 60, (Text(READING), *(_pruner(run, p) for p in pruner_names(run))))


def _pruner(run: Run, pruner: str) -> Fold:
    laws = of_pruner(run, pruner)
    rows = tuple(_row(run, law, verdicts) for law, verdicts in laws.items())
    balances = sum(v.balances for verdicts in laws.values() for v in verdicts)
    return Fold((Span(pruner, "code"), f": {balances:,} balances"), (Table(f"Evidence on {pruner}", COLUMNS, rows),))


def _row(run: Run, law: str, verdicts: list[Verdict]) -> tuple[Line, ...]:
    return (
        law_head(run, law),
        mark(verdicts),
        f"{sum(v.cases for v in verdicts):,}",
        f"{sum(v.trivial for v in verdicts):,}",
        f"{sum(v.balances for v in verdicts):,}",
        grades(verdicts),
        worst_margin(verdicts),
        least_gain(verdicts),
        _failures(run, verdicts),
        f"{sum(v.seconds for v in verdicts):.2f}",
    )


def _failures(run: Run, verdicts: list[Verdict]) -> str:
    drawn = [v for v in verdicts if model_of(run, v.ground) is None]
    n = sum(v.cases for v in drawn)
    if any(v.outcome is Outcome.BROKEN for v in drawn):
        return f"found within {n:,}"
    if not n:
        return NONE
    return f"0 of {n:,}: below{NO_BREAK}{3 / n:.2%}" if n > 3 else f"0 of {n}: too few to exclude anything"
