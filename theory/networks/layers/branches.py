"""Layers side by side on one input."""

# ruff: noqa: D102 - the protocol Layer says what the methods do

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn

from pruning.graph import Value
from theory.networks import modules
from theory.networks.layers.layer import Layer, Misfit, Size, Wiring, emit, fitted, module, parameters

aten = torch.ops.aten


@dataclass(frozen=True)
class Branches:
    """Layers side by side on one input, joined by 'sum', 'cat', 'product' or 'min'; an empty branch is the identity.

    `axis` is the one that 'cat' joins along, which the size of the input decides.
    """

    join: str
    branches: tuple[tuple[Layer, ...], ...]
    axis: int = 1

    def parameters(self) -> Mapping[str, Size]:
        return {
            f"{b}.{name}": size for b, layers in enumerate(self.branches) for name, size in parameters(layers).items()
        }

    def fitted(self, size: Size) -> tuple[Layer, Size]:
        fits = [fitted(layers, size) for layers in self.branches]
        if self.join == "cat":
            axis = 2 if len(fits[0][1]) == 2 else 1
            return replace(self, branches=tuple(f for f, _ in fits), axis=axis), _joined([s for _, s in fits])
        wanted = next((s for (_, s), layers in zip(fits, self.branches, strict=True) if not layers), fits[0][1])
        fits = [(f, s) if s == wanted else fitted(_with_outputs(f, wanted), size) for f, s in fits]
        if any(s != wanted for _, s in fits):
            raise Misfit(f"branches of sizes {', '.join(str(s) for _, s in fits)} have no {self.join}")
        return replace(self, branches=tuple(f for f, _ in fits)), wanted

    def emit(self, wiring: Wiring, x: Value, path: str) -> Value:
        made = [emit(layers, wiring, x, f"{path}.{b}.") for b, layers in enumerate(self.branches)]
        if self.join == "cat":
            return wiring.add(path, aten.cat.default, made, self.axis)
        op = {"sum": aten.add.Tensor, "product": aten.mul.Tensor, "min": aten.minimum.default}[self.join]
        total = made[0]
        for other in made[1:]:
            total = wiring.add(path, op, total, other)
        return total

    def module(self) -> nn.Module:
        return modules.Branches(self.join, [module(layers) for layers in self.branches], self.axis)


def _with_outputs(layers: tuple[Layer, ...], wanted: Size) -> tuple[Layer, ...]:
    """The layers with as many outputs of the last weighted one as are wanted."""
    units = wanted[-1] if len(wanted) < 3 else wanted[0]
    for i in reversed(range(len(layers))):
        if hasattr(layers[i], "outputs"):
            return (*layers[:i], replace(layers[i], outputs=units), *layers[i + 1 :])  # type: ignore[type-var]
    return layers


def _joined(sizes: list[Size]) -> Size:
    tokens = len(sizes[0]) == 2
    rest = {s[:1] if tokens else s[1:] for s in sizes}
    if len(rest) > 1:
        raise Misfit(f"sizes {', '.join(map(str, sizes))} can't be concatenated")
    units = sum(s[-1] if tokens else s[0] for s in sizes)
    return (sizes[0][0], units) if tokens else (units, *sizes[0][1:])
