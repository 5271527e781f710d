"""What float32 does to the pruning runs of models, where it was asked for."""

from __future__ import annotations

from reports.blocks import Block, Chart, Column, Fold, Line, Section, Span, Table, Text
from reports.pairs import counted
from reports.sections.models import shown
from theory.verdict import PrecisionRecord, Run

WHY = (
    "Each run was made in float64, as prunelaws scores models of whatever type, and once more in float32 by the "
    "textbook loop. There the last bits of a score depend on the order of summation: where two scores lie that "
    "close, another weight is pruned, the next round scores another network, and a cascade follows. It breaks no law. "
    "docs/engine.md has what was measured on the paper's networks."
)
DRAWN = (
    "This pruner asks for random numbers, which need not be the same ones in float32: that alone can make other masks."
)
LEAST = 0.001  # percent; what is below is said to be


def section(run: Run) -> Section | None:
    """One part per run that was made in float32 as well."""
    if not run.precision:
        return None
    parts = tuple(_record(record) for record in run.precision)
    return Section("The same runs in float32", "precision", 52, (Text(WHY), *parts))


def _record(record: PrecisionRecord) -> Fold:
    blocks: list[Block] = [Text(told(record))]
    if record.differing:
        blocks += [*_chart(record), _rounds(record)]
    return Fold((Span(record.pruner, "code"), " on ", Span(record.model, "code")), tuple(blocks), open=True)


def told(record: PrecisionRecord) -> tuple[str, ...]:
    """How far float32 leads from the masks of float64, and what else is to be known of that; pieces of one text."""
    done, pieces = len(record.exchanged), list[str]()
    if record.ended:
        pieces += [f"The float32 run ended in round {done + 1} of {len(record.kept)}: ", record.ended, ". "]
    if done:
        pieces.append(f"After round {done}: {_compared(record)}" if record.ended else _compared(record))
    if record.flat:
        pieces.append(
            f" In {counted(len(record.flat), 'round')}, first in round {record.flat[0]}, every score was 0 in float32 "
            "and not in float64, so that only the index decided."
        )
    if record.drawn:
        pieces.append(f" {DRAWN}")
    return tuple(pieces)


def _compared(record: PrecisionRecord) -> str:
    differing, rounds = record.differing, len(record.exchanged)
    kept, other, exchanged = record.kept[rounds - 1], record.kept_float32[-1], record.exchanged[-1]
    if not differing:
        every = f"in all {rounds} rounds" if rounds > 1 else "in its one round"
        return f"0 of {kept:,} weights kept in float64 are others in float32: the masks are the same {every}."
    if differing[-1] < rounds:
        return (
            f"0 of {kept:,} weights kept in float64 are others in float32 in the end; "
            f"the masks differ in {counted(len(differing), 'round')}, first in round {differing[0]}."
        )
    share, first = _percent(exchanged, kept), f"the first differ in round {differing[0]}"
    if kept == other:
        return f"Of {kept:,} weights kept in float64, {exchanged:,} are others in float32 ({share}); {first}."
    return f"Of {kept:,} weights kept in float64, float32 keeps {other:,} and lacks {exchanged:,} ({share}); {first}."


def _chart(record: PrecisionRecord) -> list[Chart]:
    """Nothing where there is no line to draw."""
    shares = tuple(e / k if k else 0.0 for e, k in zip(record.exchanged, record.kept, strict=False))
    there = [i + 1 for i, share in enumerate(shares) if share]
    if len(there) < 2:
        return []
    most = max(shares)
    text = (
        f"From {_share(shares[there[0] - 1])} in round {there[0]} to {_share(shares[there[-1] - 1])} in round "
        f"{there[-1]}; at most {_share(most)}, in round {shares.index(most) + 1}."
    )
    return [Chart("Exchanged weights as a share of those kept, by round (logarithmic scale)", text, "Round", shares)]


def _rounds(record: PrecisionRecord) -> Table:
    done = len(record.exchanged)
    places = sorted({*shown(done), record.differing[0] - 1})
    rows = tuple(_row(record, i) for i in places)
    titles = ("Round", "Kept in float64", "Kept in float32", "In float64 alone", "Share")
    caption = f"{len(rows)} of {done} rounds in both; the others are in run.json"
    if len(rows) == done:
        caption = "Every round in both"
    return Table(caption, tuple(Column(t, True) for t in titles), rows)


def _row(record: PrecisionRecord, i: int) -> tuple[Line, ...]:
    kept, exchanged = record.kept[i], record.exchanged[i]
    return f"{i + 1}", f"{kept:,}", f"{record.kept_float32[i]:,}", f"{exchanged:,}", _percent(exchanged, kept)


def _percent(part: int, whole: int) -> str:
    return _share(part / whole if whole else 0.0)


def _share(share: float) -> str:
    return f"below {LEAST} %" if 0 < 100 * share < LEAST else f"{100 * share:.3g} %"
