"""Convolutions, pools and moves of planes of numbers, forward, written out over nested lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from theory.networks.layers import Conv, Pool, Resize

Plane = list[list[Fraction]]  # rows, columns


def convolved(weight: Any, layer: Conv, x: list[Plane]) -> list[Plane]:
    """A transposed convolution is a plain one with its kernels turned round, on the input with zeros in between."""
    reach, groups = layer.dilation * (layer.kernel - 1), layer.groups
    if layer.transposed:
        weight, stride = _turned(weight, groups), 1
        x = [_padded(_spread(channel, layer.stride), reach - layer.padding) for channel in x]
    else:
        stride = layer.stride
        x = [_padded(channel, layer.padding) for channel in x]
    rows, columns = (range(0, n - reach, stride) for n in (len(x[0]), len(x[0][0])))
    out, each, of_each = [], len(x) // groups, len(weight) // groups
    for o, kernels in enumerate(weight):
        mine = x[o // of_each * each : (o // of_each + 1) * each]
        out.append([[_at(kernels, mine, row, column, layer.dilation) for column in columns] for row in rows])
    return out


def _at(kernels: list[Plane], channels: list[Plane], row: int, column: int, step: int) -> Fraction:
    total = Fraction()
    for kernel, channel in zip(kernels, channels, strict=True):
        for u, line in enumerate(kernel):
            entries = channel[row + u * step][column::step]
            total += sum((w * n for w, n in zip(line, entries, strict=False)), Fraction())
    return total


def _turned(weight: list[Any], groups: int) -> list[Any]:
    """(inputs, outputs per group) to (outputs, inputs per group), each kernel turned by half a circle."""
    each = len(weight) // groups
    parts = [weight[g * each : (g + 1) * each] for g in range(groups)]
    swapped = [list(kernels) for part in parts for kernels in zip(*part, strict=True)]
    return [[[line[::-1] for line in kernel[::-1]] for kernel in kernels] for kernels in swapped]


def _spread(channel: Plane, by: int) -> Plane:
    def apart(entries: list[Any], zero: Any) -> list[Any]:
        return [entries[i // by] if i % by == 0 else zero for i in range(by * (len(entries) - 1) + 1)]

    lines = [apart(line, Fraction()) for line in channel]
    return apart(lines, [Fraction()] * len(lines[0]))


def _padded(channel: Plane, by: int) -> Plane:
    if by < 0:
        return [line[-by:by] for line in channel[-by:by]]
    empty = [[Fraction()] * (len(channel[0]) + 2 * by)] * by
    return [*empty, *([Fraction()] * by + line + [Fraction()] * by for line in channel), *empty]


def pooled(channel: Plane, layer: Pool) -> Plane:
    """The largest or the mean of each window."""
    k, stride = layer.size, layer.stride or layer.size
    rows, columns = (range(0, n - k + 1, stride) for n in (len(channel), len(channel[0])))
    windows = [[[n for line in channel[r : r + k] for n in line[c : c + k]] for c in columns] for r in rows]
    if layer.kind == "max":
        return [[max(window) for window in line] for line in windows]
    return [[sum(window, Fraction()) / k**2 for window in line] for line in windows]


def resized(layer: Resize, x: list[Plane]) -> list[Plane]:
    """Entries repeated, or channels spread over positions. Raises ValueError for another kind."""
    if layer.kind == "shuffle":
        return [_interleaved(x[c : c + 4]) for c in range(0, len(x), 4)]
    ends: Mapping[str, Callable[[list[Any]], list[Any]]] = {
        "upsample": lambda line: [entry for entry in line for _ in range(2)],
        "reflect": lambda line: [line[1], *line, line[-2]],
        "circular": lambda line: [line[-1], *line, line[0]],
        "replicate": lambda line: [line[0], *line, line[-1]],
    }
    if layer.kind not in ends:
        raise ValueError(f"the objective through {layer} has no exact value")
    longer = ends[layer.kind]
    return [longer([longer(line) for line in channel]) for channel in x]


def _interleaved(four: list[Plane]) -> Plane:
    """Every 2 x 2 block holds one entry of each of the four."""
    a, b, c, d = four
    made = []
    for lines in zip(a, b, c, d, strict=True):
        made.append([entry for pair in zip(lines[0], lines[1], strict=True) for entry in pair])
        made.append([entry for pair in zip(lines[2], lines[3], strict=True) for entry in pair])
    return made
