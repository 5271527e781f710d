"""Signed saliency of the squared error, by forward and backward passes over arrays of exact fractions."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from theory.networks.layers import Act, Conv, Dense, Flatten, Layer, Pool
from theory.networks.spec import NetSpec

Array = NDArray[Any]  # of Fractions
Back = Callable[[Array], Array]  # from the slope by a layer's output to the slope by its input


def fractions(numbers: Any) -> Array:
    """An array of exact fractions."""
    return np.array(np.vectorize(Fraction, otypes=[object])(np.array(numbers, dtype=np.float64)))


def saliencies(spec: NetSpec) -> dict[str, Array]:
    """theta * dL/dtheta of each weight and bias, L half the squared error summed over samples and outputs.

    The slope of relu at 0 is 0, and a max-pool passes its slope to the first largest place, as in torch.
    Raises ValueError for another loss or activation.
    """
    if spec.loss != "squared-error":
        raise ValueError(f"the loss {spec.loss} has no exact slope")
    parameters = {name: fractions(values) for name, values in spec.values.items()}
    slopes = {name: fractions(np.zeros(p.shape)) for name, p in parameters.items()}
    for x, target in zip(fractions(spec.inputs), fractions(spec.targets), strict=True):
        backs: list[Back] = []
        for i, layer in enumerate(spec.shape.layers):
            x, back = _step(str(i), layer, parameters, slopes, x)
            backs.append(back)
        slope = x - target
        for back in reversed(backs):
            slope = back(slope)
    return {name: parameters[name] * slopes[name] for name in parameters}


def _step(name: str, layer: Layer, parameters: dict[str, Array], slopes: dict[str, Array], x: Array) -> Any:
    """The layer's output, and its backward pass, which adds what this sample gives to `slopes`."""
    if isinstance(layer, Flatten):
        return x.reshape(-1), lambda d: d.reshape(x.shape)
    if isinstance(layer, Act) and layer.name == "relu":
        is_open = (x > 0).astype(object)
        return x * is_open, lambda d: d * is_open
    if isinstance(layer, Pool) and layer.stride in (None, layer.size):
        return _pool(layer, x)
    known = isinstance(layer, Dense) and not layer.tied
    if not known and not (isinstance(layer, Conv) and layer.dilation == 1 and not layer.transposed):
        raise ValueError(f"{layer} has no exact slope")
    weight, sums = parameters[f"{name}.weight"], slopes[f"{name}.weight"]
    out, back = _dense(weight, sums, x) if isinstance(layer, Dense) else _conv(layer, weight, sums, x)
    if not layer.bias:
        return out, back
    bias, bias_sums = parameters[f"{name}.bias"], slopes[f"{name}.bias"]

    def with_bias(d: Array) -> Array:
        bias_sums[...] += d.reshape(len(bias), -1).sum(1)
        return back(d)

    return out + bias.reshape(-1, *[1] * (out.ndim - 1)), with_bias


def _dense(weight: Array, sums: Array, x: Array) -> tuple[Array, Back]:
    def back(d: Array) -> Array:
        sums[...] += np.outer(d, x)
        return d @ weight

    return weight @ x, back


def _conv(layer: Conv, weight: Array, sums: Array, x: Array) -> tuple[Array, Back]:
    """One output place at a time: its window, as a vector per group, times the group's matrix."""
    p, k, s, g = layer.padding, layer.kernel, layer.stride, layer.groups
    padded = np.full((x.shape[0], x.shape[1] + 2 * p, x.shape[2] + 2 * p), Fraction(), dtype=object)
    padded[:, p : p + x.shape[1], p : p + x.shape[2]] = x
    places = list(np.ndindex((padded.shape[1] - k) // s + 1, (padded.shape[2] - k) // s + 1))
    matrices, sums_by_group = (t.reshape(g, len(weight) // g, -1) for t in (weight, sums))
    out = np.empty((len(weight), *(1 + n for n in places[-1])), dtype=object)

    def window(array: Array, place: tuple[int, ...]) -> Array:
        return array[:, place[0] * s : place[0] * s + k, place[1] * s : place[1] * s + k]

    for place in places:
        vectors = window(padded, place).reshape(g, -1)
        out[(slice(None), *place)] = np.concatenate([m @ v for m, v in zip(matrices, vectors, strict=True)])

    def back(d: Array) -> Array:
        spread = np.full(padded.shape, Fraction(), dtype=object)
        for place in places:
            by_group = d[(slice(None), *place)].reshape(g, -1)
            vectors = window(padded, place).reshape(g, -1)
            for i in range(g):
                sums_by_group[i] += np.outer(by_group[i], vectors[i])
            landed = [by_group[i] @ matrices[i] for i in range(g)]
            window(spread, place)[...] += np.concatenate(landed).reshape(x.shape[0], k, k)
        return spread[:, p : p + x.shape[1], p : p + x.shape[2]]

    return out, back


def _pool(layer: Pool, x: Array) -> tuple[Array, Back]:
    k, side = layer.size, x.shape[1] // layer.size
    windows = x[:, : side * k, : side * k].reshape(len(x), side, k, side, k).swapaxes(2, 3).reshape(-1, k * k)
    shares = np.full(windows.shape, Fraction(1, k * k), dtype=object)
    if layer.kind == "max":
        shares = np.array([[Fraction(int(j == np.argmax(w))) for j in range(k * k)] for w in windows], dtype=object)

    def back(d: Array) -> Array:
        spread = np.full(x.shape, Fraction(), dtype=object)
        tiles = (shares * d.reshape(-1, 1)).reshape(len(x), side, side, k, k).swapaxes(2, 3)
        spread[:, : side * k, : side * k] = tiles.reshape(len(x), side * k, side * k)
        return spread

    return (windows * shares).sum(1).reshape(len(x), side, side), back
