"""What SynFlow's objective loses with one weight taken out, in exact fractions, without any derivative."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from theory.networks.layers import Act, Conv, Dense, Flatten, Pool
from theory.networks.spec import NetSpec

Grid = list[list[list[Fraction]]]  # channels, rows, columns


def leave_one_out(spec: NetSpec, name: str, place: tuple[int, ...]) -> Fraction:
    """R - R(w := 0) for the weight at `place` of the parameter `name`."""
    return objective(spec) - objective(spec, (name, place))


def objective(spec: NetSpec, without: tuple[str, tuple[int, ...]] | None = None) -> Fraction:
    """R: the sum of the outputs for an input of ones under weights |w| and no biases.

    `without`: a weight that counts as zero. Raises ValueError for an activation other than relu.
    """
    values = _ones(spec.shape.input)
    for i, layer in enumerate(spec.shape.layers):
        if isinstance(layer, Flatten):
            values = [[[entry]] for channel in values for row in channel for entry in row]
        elif isinstance(layer, Pool):
            values = [_pool(channel, layer) for channel in values]
        elif isinstance(layer, (Dense, Conv)):
            weight = _absolute(spec.values[f"{i}.weight"])
            if without and without[0] == f"{i}.weight":
                _clear(weight, without[1])
            values = _dense(weight, values) if isinstance(layer, Dense) else _conv(weight, layer, values)
        elif not isinstance(layer, Act) or layer.name != "relu":  # relu leaves what is not negative alone
            raise ValueError(f"the objective through {layer} has no exact value")
    return sum((entry for channel in values for row in channel for entry in row), Fraction())


def _ones(size: tuple[int, ...]) -> Grid:
    rows, columns = size[1:] or (1, 1)
    return [[[Fraction(1)] * columns for _ in range(rows)] for _ in range(size[0])]


def _absolute(numbers: Any) -> Any:
    return [_absolute(n) for n in numbers] if isinstance(numbers, list) else abs(Fraction(numbers))


def _clear(weight: Any, place: tuple[int, ...]) -> None:
    for index in place[:-1]:
        weight = weight[index]
    weight[place[-1]] = Fraction()


def _dense(weight: list[list[Fraction]], values: Grid) -> Grid:
    inputs = [channel[0][0] for channel in values]
    return [[[sum((w * x for w, x in zip(row, inputs, strict=True)), Fraction())]] for row in weight]


def _conv(weight: list[Grid], layer: Conv, values: Grid) -> Grid:
    padded = [_padded(channel, layer.padding) for channel in values]
    per_group, rows = layer.inputs // layer.groups, len(padded[0])
    starts = range(0, rows - layer.kernel + 1, layer.stride)
    out = []
    for o, kernels in enumerate(weight):
        first = o * layer.groups // layer.outputs * per_group
        mine = padded[first : first + per_group]
        out.append([[_at(kernels, mine, row, column) for column in starts] for row in starts])
    return out


def _at(kernels: Grid, channels: Grid, row: int, column: int) -> Fraction:
    total = Fraction()
    for kernel, channel in zip(kernels, channels, strict=True):
        for u, line in enumerate(kernel):
            total += sum((w * channel[row + u][column + v] for v, w in enumerate(line)), Fraction())
    return total


def _padded(channel: list[list[Fraction]], by: int) -> list[list[Fraction]]:
    width = len(channel[0]) + 2 * by
    lines = [[Fraction()] * by + line + [Fraction()] * by for line in channel]
    return [[Fraction()] * width] * by + lines + [[Fraction()] * width] * by


def _pool(channel: list[list[Fraction]], layer: Pool) -> list[list[Fraction]]:
    k, sides = layer.size, range(len(channel) // layer.size)

    def window(row: int, column: int) -> list[Fraction]:
        return [entry for line in channel[row * k : row * k + k] for entry in line[column * k : column * k + k]]

    if layer.kind == "max":
        return [[max(window(row, column)) for column in sides] for row in sides]
    return [[sum(window(row, column), Fraction()) / k**2 for column in sides] for row in sides]
