"""Plots: where curves and labels go, in the units of the drawing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby

from reports.blocks import Curve, Plot
from reports.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Label, counted_across

NAMED = 8  # curves that the legend has room for; of more it names the first and the last


@dataclass(frozen=True)
class Line:
    """A curve as it is drawn: a path, broken where there is nothing; named: in the legend."""

    name: str
    path: str
    depth: float
    named: bool


@dataclass(frozen=True)
class Plotted:
    """Labels along the axes, the curves, and the height to compare with."""

    across: tuple[Label, ...]
    up: tuple[Label, ...]
    lines: tuple[Line, ...]
    level: float | None
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = RIGHT
    bottom: int = BOTTOM


def plotted(plot: Plot) -> Plotted:
    """A plot as it is drawn. Raises ValueError where no curve has a point."""
    points = [p for curve in plot.curves for p in curve.points if p[1] > 0]
    heights = [y for _, y in points] + ([plot.level[0]] if plot.level else [])
    rows = _decades(heights)
    up = _scale(rows[0], rows[-1], BOTTOM, TOP)
    places = [*(x for x, _ in points), plot.reach]
    across = _logarithmic(places) if plot.log_across else _linear(places)
    named = {0, len(plot.curves) - 1} if len(plot.curves) > NAMED else set(range(len(plot.curves)))
    return Plotted(
        across=tuple(across.labels),
        up=tuple(Label(up(d), _power(d)) for d in rows),
        lines=tuple(
            Line(c.name, " ".join(_path(c, across.at, up)), c.depth, i in named) for i, c in enumerate(plot.curves)
        ),
        level=up(math.log10(plot.level[0])) if plot.level else None,
    )


@dataclass(frozen=True)
class _Axis:
    labels: list[Label]
    at: Callable[[float], float]


def _logarithmic(places: list[float]) -> _Axis:
    columns = _decades(places)
    along = _scale(columns[0], columns[-1], LEFT, RIGHT)
    return _Axis([Label(along(d), _power(d)) for d in columns], lambda x: along(math.log10(x)))


def _linear(places: list[float]) -> _Axis:
    steps = math.ceil(max(places))
    along = _scale(1, max(steps, 2), LEFT, RIGHT)
    return _Axis([Label(along(i), f"{i:,}") for i in counted_across(steps)], along)


def _decades(values: list[float]) -> range:
    """The powers of ten from below the least to above the greatest."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return range(low, max(high, low + 1) + 1)


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    return lambda value: start + (end - start) * (value - low) / (high - low)


def _path(curve: Curve, across: Callable[[float], float], up: Callable[[float], float]) -> Iterator[str]:
    for drawn, points in groupby(curve.points, lambda p: p[1] > 0):
        if drawn:
            places = [f"{across(x):.1f} {up(math.log10(y)):.1f}" for x, y in points]
            yield f"M {places[0]} L {' '.join(places)}"


def _power(power: int) -> str:
    if -3 <= power <= 3:
        return f"{10.0**power:g}"
    raised = str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{raised}"
