"""Where the units and wires of a drawn network go, in the units of the drawing."""

from __future__ import annotations

from dataclasses import dataclass

from reports.blocks import Net, Wire

APART, ROW, EDGE, RADIUS = 190, 84, 60, 13
ALONG = (0.36, 0.64)  # where labels stand on a wire, by turns, so that those of crossing wires part

Point = tuple[float, float]


@dataclass(frozen=True)
class PlacedUnit:
    """A circle and its label."""

    at: Point
    label: str
    marked: bool


@dataclass(frozen=True)
class PlacedWire:
    """A line, and where its label stands."""

    start: Point
    end: Point
    label: Point
    weight: str
    score: str


@dataclass(frozen=True)
class Wired:
    """A drawn network."""

    units: tuple[PlacedUnit, ...]
    wires: tuple[PlacedWire, ...]
    width: int
    height: int
    radius: int = RADIUS


def wired(net: Net) -> Wired:
    """A network as it is drawn: each column in the middle of the height."""
    tallest = max(len(column) for column in net.columns)
    places = [
        [(float(EDGE + APART * i), EDGE / 2 + ROW * (j + (tallest - len(column)) / 2)) for j in range(len(column))]
        for i, column in enumerate(net.columns)
    ]
    units = tuple(
        PlacedUnit(at, unit.label, unit.marked)
        for column, row in zip(net.columns, places, strict=True)
        for unit, at in zip(column, row, strict=True)
    )
    wires = tuple(_placed(wire, places) for wire in net.wires)
    return Wired(units, wires, 2 * EDGE + APART * (len(net.columns) - 1), EDGE + ROW * (tallest - 1) + 30)


def _placed(wire: Wire, places: list[list[Point]]) -> PlacedWire:
    (x, y), (u, v) = places[wire.column][wire.tail], places[wire.column + 1][wire.head]
    share = 0.5 if len(places[wire.column]) * len(places[wire.column + 1]) < 3 else ALONG[(wire.tail + wire.head) % 2]
    return PlacedWire((x, y), (u, v), (x + (u - x) * share, y + (v - y) * share - 5), wire.weight, wire.score)
