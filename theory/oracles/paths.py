"""SynFlow's objective and scores as sums over input-output paths, in exact fractions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Any

from theory.networks.layers import Act, Conv, Dense, Flatten, Layer, Pool
from theory.networks.spec import NetSpec

Place = tuple[int, ...]  # channel, row, column; or one number after flattening
Masses = dict[Place, Fraction]


@dataclass(frozen=True)
class Wire:
    """One step of a path: from a place to a place of the next value, by a factor that one weight gives, or none."""

    tail: Place
    head: Place
    factor: Fraction
    weight: tuple[str, Place] | None


def path_sums(spec: NetSpec) -> tuple[Fraction, dict[str, dict[Place, Fraction]]]:
    """R, the sum over paths of the product of |w|, and per weight the sum over the paths that use it.

    Biases carry no path. A max-pool passes only its first largest place on, as torch does.
    Raises ValueError for an activation under which R is no sum over paths.
    """
    arriving = dict.fromkeys(product(*map(range, spec.shape.input)), Fraction(1))
    layers, reached = [], [arriving]
    for i, layer in enumerate(spec.shape.layers):
        wires = list(_wires(i, layer, spec, arriving))
        arriving = _pushed(arriving, wires)
        layers.append(wires)
        reached.append(arriving)
    scores: dict[str, Masses] = {}
    leaving = dict.fromkeys(arriving, Fraction(1))
    for wires, before in zip(reversed(layers), reversed(reached[:-1]), strict=True):
        for wire in wires:
            if wire.weight:
                name, place = wire.weight
                of_layer = scores.setdefault(name, defaultdict(Fraction))
                of_layer[place] += before[wire.tail] * wire.factor * leaving[wire.head]
        leaving = _pulled(before, leaving, wires)
    return sum(arriving.values(), Fraction()), scores


def _pushed(arriving: Masses, wires: list[Wire]) -> Masses:
    made: Masses = {wire.head: Fraction() for wire in wires}
    for wire in wires:
        made[wire.head] += arriving[wire.tail] * wire.factor
    return made


def _pulled(before: Masses, leaving: Masses, wires: list[Wire]) -> Masses:
    made = dict.fromkeys(before, Fraction())
    for wire in wires:
        made[wire.tail] += wire.factor * leaving[wire.head]
    return made


def _wires(index: int, layer: Layer, spec: NetSpec, arriving: Masses) -> Iterator[Wire]:
    weight: Any = spec.values.get(f"{index}.weight")
    if isinstance(layer, Dense) and not layer.tied:
        for o, i in product(range(layer.outputs), range(layer.inputs)):
            yield Wire((i,), (o,), abs(Fraction(weight[o][i])), (f"{index}.weight", (o, i)))
    elif isinstance(layer, Conv) and layer.dilation == 1 and not layer.transposed:
        yield from _convolved(f"{index}.weight", weight, layer, _side(arriving))
    elif isinstance(layer, Pool) and layer.stride in (None, layer.size):
        yield from _pooled(layer, arriving)
    elif isinstance(layer, Flatten):
        yield from (Wire(place, (n,), Fraction(1), None) for n, place in enumerate(sorted(arriving)))
    elif isinstance(layer, Act) and layer.name == "relu":
        yield from (Wire(place, place, Fraction(1), None) for place in arriving)
    else:
        raise ValueError(f"R is no sum over paths through {layer}")


def _side(arriving: Masses) -> int:
    return 1 + max(place[1] for place in arriving)


def _convolved(name: str, weight: Any, layer: Conv, side: int) -> Iterator[Wire]:
    """Taps on the padding are wires from nowhere: they keep every head and weight, and carry nothing."""
    sides = range((side + 2 * layer.padding - layer.kernel) // layer.stride + 1)
    inputs, outputs = layer.inputs // layer.groups, layer.outputs // layer.groups
    for o, i, row, column in product(range(layer.outputs), range(inputs), sides, sides):
        channel = o // outputs * inputs + i
        for u, v in product(range(layer.kernel), repeat=2):
            x, y = row * layer.stride + u - layer.padding, column * layer.stride + v - layer.padding
            inside = 0 <= x < side and 0 <= y < side
            factor = abs(Fraction(weight[o][i][u][v])) if inside else Fraction()
            yield Wire((channel, x, y) if inside else (0, 0, 0), (o, row, column), factor, (name, (o, i, u, v)))


def _pooled(layer: Pool, arriving: Masses) -> Iterator[Wire]:
    sides = range(_side(arriving) // layer.size)
    for channel, row, column in product(range(1 + max(p[0] for p in arriving)), sides, sides):
        taps = product(range(layer.size), repeat=2)
        window = [(channel, row * layer.size + u, column * layer.size + v) for u, v in taps]
        if layer.kind == "max":
            window = [max(window, key=arriving.__getitem__)]  # max() takes the first of equals
        for place in window:
            yield Wire(place, (channel, row, column), Fraction(1, len(window)), None)
