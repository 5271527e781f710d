"""The pruning runs of full-size models, and what the laws said along the way."""

from __future__ import annotations

import math

from reports.blocks import NONE, Block, Column, Facts, Fold, Line, Section, Span, Table
from reports.pairs import CHECKED, law_head, least_gain, model_of, of_pruner, why_unchecked, worst_margin
from theory.verdict import Outcome, Run, RunRecord, Verdict

SHOWN_ROUNDS = 10
TIMES = "\N{MULTIPLICATION SIGN}"


def section(run: Run) -> Section | None:
    """One part per run."""
    if not run.runs:
        return None
    return Section("Full-size models", "models", 50, tuple(_record(run, r) for r in run.runs))


def _record(run: Run, record: RunRecord) -> Fold:
    blocks: list[Block] = [Facts(_facts(record)), *_laws(run, record)]
    if record.targets:
        blocks += [_layers(record), _rounds(record)]
    return Fold((Span(record.pruner, "code"), " on ", Span(record.model, "code")), tuple(blocks), open=True)


def _facts(record: RunRecord) -> tuple[tuple[str, Line], ...]:
    total, kept = sum(record.sizes), record.kept
    rounds = len(record.targets)
    empty = [name for name, last in zip(record.layers, kept[-1], strict=True) if not last] if kept else []
    end = sum(kept[-1]) if kept else total
    missed = sum(sum(k) != t for k, t in zip(kept, record.targets, strict=True))
    return (
        ("Schedule", f"{record.schedule}, {rounds} round{'' if rounds == 1 else 's'}"),
        ("Kept at the end", f"{end:,} of {total:,} weights: {ratio(end, total)}"),
        ("Budget", f"{missed} rounds missed their target" if missed else "every round kept exactly its target"),
        ("Empty layers", f"{len(empty)} of {len(record.layers)}: {', '.join(empty)}" if empty else "none"),
        ("Digest", Span(record.digest, "code")),
    )


def ratio(kept: int, total: int) -> str:
    """Density and compression, as people read them."""
    if not kept or not total:
        return "density 0"
    return f"density {kept / total:.4g}, compression {_compression(kept, total)}"


def _compression(kept: int, total: int) -> str:
    times = total / kept
    return f"{times:,.0f}{TIMES}" if times >= 100 else f"{times:.3g}{TIMES}"


def _layers(record: RunRecord) -> Table:
    last = record.kept[-1]
    most = max(last, default=0) or 1
    rows = []
    for i, (name, size) in enumerate(zip(record.layers, record.sizes, strict=True)):
        emptied = next((r for r, kept in enumerate(record.kept, 1) if not kept[i]), None)
        bar = Span("", "bar", share=last[i] / most)
        state = Span(f"empty since round {emptied}", "broken") if emptied and not last[i] else "alive"
        rows.append(
            (Span(name, "code"), f"{size:,}", f"{last[i]:,}", f"{last[i] / size:.4g}" if size else NONE, (bar, state))
        )
    columns = (
        Column("Layer"),
        Column("Weights", True),
        Column("Kept", True),
        Column("Density", True),
        Column("At the end"),
    )
    return Table("Layers after the last round", columns, tuple(rows))


def _rounds(record: RunRecord) -> Table:
    total, rows = sum(record.sizes), []
    for i in shown(len(record.targets)):
        kept = sum(record.kept[i])
        rows.append(
            (
                f"{i + 1}",
                f"{record.targets[i]:,}",
                f"{kept:,}",
                f"{kept / total:.4g}" if total else NONE,
                _compression(kept, total) if kept else NONE,
                _number(record.mass[i]),
                _number(record.cut[i]),
            )
        )
    titles = ("Round", "Target", "Kept", "Density", "Compression", "Pruned mass", "Cut before")
    every = len(rows) == len(record.targets)
    caption = "Every round" if every else f"{len(rows)} of {len(record.targets)} rounds; the others are in run.json"
    return Table(caption, tuple(Column(t, True) for t in titles), tuple(rows))


def shown(rounds: int) -> list[int]:
    """Indices of about ten rounds, evenly apart, with the first and the last."""
    step = max(1, rounds // SHOWN_ROUNDS)
    return sorted({0, *range(step - 1, rounds, step), rounds - 1}) if rounds else []


def _number(value: float) -> str:
    return NONE if math.isnan(value) else f"{value:.6g}"


def _laws(run: Run, record: RunRecord) -> list[Table]:
    rows = []
    for law, verdicts in of_pruner(run, record.pruner).items():
        here = [v for v in verdicts if model_of(run, v.ground) == record.model]
        if here:
            rows.append((law_head(run, law), *_along(here, record)))
    columns = (
        Column("Law"),
        Column("Held"),
        Column("Broken"),
        Column("Vacuous"),
        Column("Out of scope"),
        Column("Balances", True),
        Column("Worst margin", True),
        Column("Order gain, bits", True),
        Column("Why not everywhere"),
    )
    return [Table("Laws along the run, by round", columns, tuple(rows))] if rows else []


def _along(verdicts: list[Verdict], record: RunRecord) -> tuple[Line, ...]:
    cells: list[Line] = []
    statuses = ("held", "broken", "vacuous", "outside")
    outcomes = (Outcome.HELD, Outcome.BROKEN, Outcome.VACUOUS, Outcome.OUT_OF_SCOPE)
    for outcome, status in zip(outcomes, statuses, strict=True):
        at = [_round(v.ground, record.model) for v in verdicts if v.outcome is outcome]
        failed = any(v.failed for v in verdicts if v.outcome is outcome)
        cells.append(Span(", ".join(at), "refuted" if failed else status) if at else NONE)
    silent = {why_unchecked(v) for v in verdicts if v.outcome not in CHECKED}
    found = f"{sum(v.balances for v in verdicts):,}", worst_margin(verdicts), least_gain(verdicts)
    return (*cells, *found, "; ".join(sorted(silent)) or NONE)


def _round(ground: str, model: str) -> str:
    return ground.removeprefix(f"{model}, round ").partition(" of ")[0]
