"""What single layers make of arrays of fractions, each with the hand-written rule for its slope."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from theory.networks.layers import Act, Conv, Flatten, Layer, Pool, Resize, TokenMean

Array = NDArray[Any]  # of Fractions, or of indices
Back = Callable[[Array], Array]  # from the slope by a layer's output to the slope by its input

_QUARTER, _ZERO = Fraction(1, 4), Fraction()
# by name: the activation and its derivative, at a kink the one that torch takes
_ACTIVATIONS: Mapping[str, tuple[Callable[[Fraction], Fraction], Callable[[Fraction], Fraction | int]]] = {
    "relu": (lambda x: max(x, _ZERO), lambda x: int(x > 0)),
    "leaky": (lambda x: x if x > 0 else x * _QUARTER, lambda x: 1 if x > 0 else _QUARTER),
    "abs": (abs, lambda x: int(x > 0) - int(x < 0)),
    "threshold": (lambda x: x if x > 1 else _ZERO, lambda x: int(x > 1)),
    "square": (lambda x: x * x, lambda x: 2 * x),
    "relu2": (lambda x: max(x, _ZERO) ** 2, lambda x: 2 * max(x, _ZERO)),
    "relu3": (lambda x: max(x, _ZERO) ** 3, lambda x: 3 * max(x, _ZERO) ** 2),
}


def zeros(shape: tuple[int, ...]) -> Array:
    """An array of fractions that are 0."""
    return np.full(shape, Fraction(), dtype=object)


def activated(layer: Act, x: Array) -> tuple[Array, Back]:
    """An activation. Raises ValueError for one that fractions don't go through."""
    if layer.name not in _ACTIVATIONS:
        raise ValueError(f"{layer} has no exact slope")
    value, slope = (np.vectorize(f, otypes=[object])(x) for f in _ACTIVATIONS[layer.name])
    return value, lambda d: np.array(d * slope)


def prelu(weight: Array, sums: Array, x: Array) -> tuple[Array, Back]:
    """A slope of its own for each channel's negative side; adds what comes back to `sums`."""
    is_open = (x > 0).astype(object)
    slope: Array = is_open + (1 - is_open) * weight.reshape(-1, *[1] * (x.ndim - 1))

    def back(d: Array) -> Array:
        sums[...] += (d * x * (1 - is_open)).reshape(len(weight), -1).sum(1)
        return np.array(d * slope)

    return x * slope, back


def taken(layer: Layer, x: Array) -> tuple[Array, Back]:
    """Layers that take each entry from one or several places of x. Raises ValueError for any other.

    The places of an output are the last axis of an array of indices into x as one long row.
    """
    index = _places(layer, np.arange(x.size).reshape(x.shape))
    terms = x.reshape(-1)[index]
    shares = np.full(index.shape, Fraction(1, index.shape[-1]), dtype=object)
    if isinstance(layer, Pool) and layer.kind == "max":
        shares = (np.arange(index.shape[-1]) == np.argmax(terms, -1)[..., None]).astype(object)

    def back(d: Array) -> Array:
        slope = zeros((x.size,))
        np.add.at(slope, index, d[..., None] * shares)
        return slope.reshape(x.shape)

    return (terms * shares).sum(-1), back


def _places(layer: Layer, numbers: Array) -> Array:
    if isinstance(layer, Flatten):
        return numbers.reshape(-1, 1)
    if isinstance(layer, TokenMean):
        return numbers.T
    if isinstance(layer, Pool) and layer.kind in ("max", "avg"):
        stride = layer.stride or layer.size
        windows = sliding_window_view(numbers, (layer.size, layer.size), (1, 2))[:, ::stride, ::stride]
        return windows.reshape(*windows.shape[:3], -1)
    modes: Mapping[str, Any] = {"reflect": "reflect", "circular": "wrap", "replicate": "edge"}
    if isinstance(layer, Resize) and layer.kind in modes:
        return np.pad(numbers, ((0, 0), (1, 1), (1, 1)), modes[layer.kind])[..., None]
    if isinstance(layer, Resize) and layer.kind == "upsample":
        return numbers.repeat(2, 1).repeat(2, 2)[..., None]
    if isinstance(layer, Resize) and layer.kind == "shuffle":
        channels, rows, columns = numbers.shape
        blocks = numbers.reshape(channels // 4, 2, 2, rows, columns).transpose(0, 3, 1, 4, 2)
        return blocks.reshape(channels // 4, 2 * rows, 2 * columns, 1)
    raise ValueError(f"{layer} has no exact slope")


def convolved(layer: Conv, weight: Array, sums: Array, x: Array) -> tuple[Array, Back]:
    """A convolution gathers windows, a transposed one spreads them; each is the other's way back."""
    reach = layer.dilation * (layer.kernel - 1) + 1
    if layer.transposed:
        sides = tuple((n - 1) * layer.stride + reach for n in x.shape[1:])  # before the padding is cut off
        wide = zeros((layer.outputs, *sides))
        out = _inner(layer, _spread(layer, weight, x, wide))

        def back_transposed(d: Array) -> Array:
            padded = _padded(layer, d)
            _slope(layer, sums, x, padded)
            return _gathered(layer, weight, padded, x.shape[1:])

        return out, back_transposed
    padded = _padded(layer, x)
    sides = tuple((n - reach) // layer.stride + 1 for n in padded.shape[1:])

    def back(d: Array) -> Array:
        _slope(layer, sums, d, padded)
        return _inner(layer, _spread(layer, weight, d, zeros(padded.shape)))

    return _gathered(layer, weight, padded, sides), back


def _taps(layer: Conv, wide: Array, sides: tuple[int, ...]) -> Iterator[tuple[int, int, Array]]:
    """For each tap of the kernel the entries that it sees: views (group, channel, row, column)."""
    rows, columns = ((n - 1) * layer.stride + 1 for n in sides)
    by_group = wide.reshape(layer.groups, -1, *wide.shape[1:])
    for u, v in np.ndindex(layer.kernel, layer.kernel):
        x, y = u * layer.dilation, v * layer.dilation
        yield u, v, by_group[:, :, x : x + rows : layer.stride, y : y + columns : layer.stride]


def _gathered(layer: Conv, weight: Array, wide: Array, sides: tuple[int, ...]) -> Array:
    by_group = weight.reshape(layer.groups, -1, *weight.shape[1:])
    parts = [np.einsum("gni,gixy->gnxy", by_group[..., u, v], seen) for u, v, seen in _taps(layer, wide, sides)]
    return np.array(sum(parts)).reshape(-1, *sides)


def _spread(layer: Conv, weight: Array, narrow: Array, wide: Array) -> Array:
    by_group, values = (t.reshape(layer.groups, -1, *t.shape[1:]) for t in (weight, narrow))
    for u, v, seen in _taps(layer, wide, narrow.shape[1:]):
        seen += np.einsum("gni,gnxy->gixy", by_group[..., u, v], values)
    return wide


def _slope(layer: Conv, sums: Array, narrow: Array, wide: Array) -> None:
    by_group, values = (t.reshape(layer.groups, -1, *t.shape[1:]) for t in (sums, narrow))
    for u, v, seen in _taps(layer, wide, narrow.shape[1:]):
        by_group[..., u, v] += np.einsum("gnxy,gixy->gni", values, seen)


def _padded(layer: Conv, x: Array) -> Array:
    p = layer.padding
    wide = zeros((len(x), *(n + 2 * p for n in x.shape[1:])))
    _inner(layer, wide)[...] = x
    return wide


def _inner(layer: Conv, wide: Array) -> Array:
    p = layer.padding
    return wide[:, p : wide.shape[1] - p, p : wide.shape[2] - p]
