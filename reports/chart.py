"""Charts: where the lines and the labels of a chart go, in the units of its drawing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, groupby

from reports.blocks import Chart

WIDTH, HEIGHT = 600, 260
LEFT, RIGHT, TOP, BOTTOM = 76, 586, 12, 216
LABELS = 6  # at most, of what is counted across, beside the first


@dataclass(frozen=True)
class Label:
    """A number beside an axis, and how far along the axis it stands."""

    at: float
    text: str


@dataclass(frozen=True)
class Drawing:
    """Labels along the axes, and the line: a path that is broken where a share is 0."""

    across: tuple[Label, ...]
    up: tuple[Label, ...]
    path: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = RIGHT
    top: int = TOP
    bottom: int = BOTTOM


def drawing(chart: Chart) -> Drawing:
    """A chart as it is drawn. Raises ValueError where every share is 0."""
    decades, steps = _decades(chart.shares), len(chart.shares)
    return Drawing(
        across=tuple(Label(_across(i, steps), f"{i:,}") for i in counted_across(steps)),
        up=tuple(Label(_up(10.0**d, decades), _percent(d)) for d in decades),
        path=" ".join(_lines(chart.shares, decades)),
    )


def _decades(shares: tuple[float, ...]) -> range:
    """The powers of ten from below the least share to above the greatest."""
    seen = [math.log10(share) for share in shares if share]
    low, high = math.floor(min(seen)), math.ceil(max(seen))
    return range(min(low, high - 1), high + 1)


def counted_across(steps: int) -> list[int]:
    """1, and every multiple of 1, 2 or 5 times a power of ten, so that there are few."""
    apart = next(n * 10**power for power in count() for n in (1, 2, 5) if steps <= n * 10**power * LABELS)
    return sorted({1, *range(apart, steps + 1, apart)})


def _lines(shares: tuple[float, ...], decades: range) -> Iterator[str]:
    for drawn, places in groupby(range(len(shares)), lambda i: shares[i] > 0):
        if drawn:
            points = [f"{_across(i + 1, len(shares)):.1f} {_up(shares[i], decades):.1f}" for i in places]
            yield f"M {points[0]} L {' '.join(points)}"  # of a single point, the round ends of the line are seen


def _across(place: int, steps: int) -> float:
    return LEFT + (RIGHT - LEFT) * (place - 1) / max(steps - 1, 1)


def _up(share: float, decades: range) -> float:
    return BOTTOM - (BOTTOM - TOP) * (math.log10(share) - decades[0]) / (decades[-1] - decades[0])


def _percent(power: int) -> str:
    return f"{10.0 ** (power + 2):.{max(0, -power - 2)}f} %"
