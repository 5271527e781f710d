"""Signed saliency of the squared error, by forward and backward passes over arrays of exact fractions."""

from __future__ import annotations

from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np

from theory.networks.layers import Act, Branches, Conv, Dense, Embedding, Layer, Norm, PReLU
from theory.networks.spec import NetSpec
from theory.oracles.slopes import Array, Back, activated, convolved, prelu, taken, zeros


def fractions(numbers: Any) -> Array:
    """An array of exact fractions."""
    return np.array(np.vectorize(Fraction, otypes=[object])(np.array(numbers, dtype=object)))


def saliencies(spec: NetSpec) -> dict[str, Array]:
    """theta * dL/dtheta of each parameter, L half the squared error summed over samples and outputs.

    The slope of a kink is torch's: relu and abs have 0 at 0, a leaky relu that of its negative side, and a
    max-pool passes its slope to the first largest place. A tied weight's uses are added up.
    Raises ValueError for another loss, or a layer whose slope is not a fraction.
    """
    if spec.loss != "squared-error":
        raise ValueError(f"the loss {spec.loss} has no exact slope")
    reverse = _Reverse({name: fractions(values) for name, values in spec.values.items()})
    for x, target in zip(fractions(spec.inputs), fractions(spec.targets), strict=True):
        y, back = reverse.run(spec.shape.layers, x)
        back(y - target)
    return {name: p * reverse.slopes[name] for name, p in reverse.parameters.items()}


class _Reverse:
    """Parameters, and the slopes that the backward passes add up."""

    def __init__(self, parameters: dict[str, Array]) -> None:
        self.parameters = parameters
        self.slopes = {name: zeros(p.shape) for name, p in parameters.items()}

    def run(self, layers: tuple[Layer, ...], x: Array, path: str = "") -> tuple[Array, Back]:
        """What layers in sequence make of x; from the slope by that the backward pass makes the slope by x."""
        backs: list[Back] = []
        for i, layer in enumerate(layers):
            x, back = self._layer(layer, x, f"{path}{i}")
            backs.append(back)
        return x, lambda d: reduce(lambda slope, back: back(slope), reversed(backs), d)

    def _layer(self, layer: Layer, x: Array, name: str) -> tuple[Array, Back]:
        if isinstance(layer, Branches) and layer.join in ("sum", "cat", "product"):
            return self._branches(layer, x, name)
        if isinstance(layer, Dense):
            return self._shifted(layer, name, *self._dense(f"{layer.tied or name}.weight", x))
        if isinstance(layer, Conv):
            made = convolved(layer, self.parameters[f"{name}.weight"], self.slopes[f"{name}.weight"], x)
            return self._shifted(layer, name, *made)
        if isinstance(layer, Norm) and layer.kind == "batch":
            return self._scaled(name, x)
        if isinstance(layer, PReLU):
            return prelu(self.parameters[f"{name}.weight"], self.slopes[f"{name}.weight"], x)
        if isinstance(layer, Act):
            return activated(layer, x)
        if isinstance(layer, Embedding):
            return self._looked_up(layer, name, x)
        return taken(layer, x)

    def _dense(self, weight: str, x: Array) -> tuple[Array, Back]:
        w, sums = self.parameters[weight], self.slopes[weight]

        def back(d: Array) -> Array:
            sums[...] += d.reshape(-1, len(w)).T @ x.reshape(-1, w.shape[1])
            return np.array(d @ w)

        return x @ w.T, back

    def _shifted(self, layer: Dense | Conv, name: str, out: Array, back: Back) -> tuple[Array, Back]:
        if not layer.bias:
            return out, back
        bias, sums = self.parameters[f"{name}.bias"], self.slopes[f"{name}.bias"]
        channels = -1 if isinstance(layer, Dense) else 0

        def shifted(d: Array) -> Array:
            sums[...] += np.moveaxis(d, channels, 0).reshape(len(bias), -1).sum(1)
            return back(d)

        return np.moveaxis(np.moveaxis(out, channels, -1) + bias, -1, channels), shifted

    def _scaled(self, name: str, x: Array) -> tuple[Array, Back]:
        scale, shift = self.parameters[f"{name}.scale"], self.parameters[f"{name}.shift"]

        def back(d: Array) -> Array:
            for sums, terms in ((self.slopes[f"{name}.scale"], d * x), (self.slopes[f"{name}.shift"], d)):
                sums[...] += terms.reshape(len(x), -1).sum(1).reshape(sums.shape)
            return d * scale

        return x * scale + shift, back

    def _looked_up(self, layer: Embedding, name: str, x: Array) -> tuple[Array, Back]:
        rows = np.array([round(n) % layer.rows for n in x])

        def back(d: Array) -> Array:
            np.add.at(self.slopes[f"{name}.weight"], rows, d)
            return zeros(x.shape)  # which row it is does not change smoothly

        return self.parameters[f"{name}.weight"][rows], back

    def _branches(self, layer: Branches, x: Array, name: str) -> tuple[Array, Back]:
        made = [self.run(branch, x, f"{name}.{b}.") for b, branch in enumerate(layer.branches)]
        outs, backs = [out for out, _ in made], [back for _, back in made]
        if layer.join == "cat":
            axis = layer.axis - 1
            ends = np.cumsum([out.shape[axis] for out in outs])[:-1]
            return np.concatenate(outs, axis), lambda d: _summed(backs, np.split(d, ends, axis))
        if layer.join == "sum":
            return reduce(np.add, outs), lambda d: _summed(backs, [d] * len(backs))
        others = [[o for other, o in enumerate(outs) if other != b] for b in range(len(outs))]
        return reduce(np.multiply, outs), lambda d: _summed(backs, [reduce(np.multiply, o, d) for o in others])


def _summed(backs: list[Back], slopes: list[Array]) -> Array:
    """The slope by what branches share, from the slopes by what they make."""
    parts: list[Array] = [back(slope) for back, slope in zip(backs, slopes, strict=True)]
    return reduce(np.add, parts)
