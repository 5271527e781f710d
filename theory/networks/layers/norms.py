"""Norms, by kind."""

# ruff: noqa: D102 - the protocol Layer says what the methods do

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn

from pruning.graph import Param, Value
from theory.networks import modules
from theory.networks.layers.layer import Layer, Misfit, Size, Wiring

aten = torch.ops.aten

EPS = 0.125  # of the norms: a power of two, and large enough to matter


@dataclass(frozen=True)
class Norm:
    """A norm by kind; `size` is that of one sample.

    'batch' is batch norm in evaluation mode, one scale and one shift per channel; 'batch-train' takes the
    batch's own statistics; 'group' has two groups where that divides the channels.
    """

    kind: str
    size: Size

    def parameters(self) -> Mapping[str, Size]:
        channels = self.size[:1]
        if self.kind == "batch":
            column = (*channels, *[1] * (len(self.size) - 1))
            return {"scale": column, "shift": column}
        if self.kind in ("layer", "rms"):
            own = self.size if len(self.size) == 3 else self.size[-1:]
            return {"weight": own} | ({"bias": own} if self.kind == "layer" else {})
        return {"weight": channels, "bias": channels}

    def fitted(self, size: Size) -> tuple[Layer, Size]:
        by_channel = self.kind not in ("layer", "rms")
        if (by_channel and len(size) == 2) or (self.kind == "instance" and len(size) < 3):
            raise Misfit(f"{self.kind} norm does not fit {size}")
        return replace(self, size=size), size

    def emit(self, wiring: Wiring, x: Value, path: str) -> Value:
        first, second = (Param(f"{path}.{name}") for name in (*self.parameters(), "bias")[:2])
        if self.kind == "batch":
            return wiring.add(path, aten.add.Tensor, wiring.add(path, aten.mul.Tensor, x, first), second)
        if self.kind in ("layer", "rms"):
            own = list(self.parameters()["weight"])
            if self.kind == "rms":
                return wiring.add(path, aten.rms_norm.default, x, own, first, EPS)
            return wiring.add(path, aten.layer_norm.default, x, own, first, second, EPS)
        if self.kind == "group":
            return wiring.add(path, aten.group_norm.default, x, modules.groups(self.size[0]), first, second, EPS)
        op = aten.instance_norm.default if self.kind == "instance" else aten.batch_norm.default
        return wiring.add(path, op, x, first, second, None, None, True, 0.0, EPS, False)

    def module(self) -> nn.Module:
        return modules.norm(self.kind, self.size, EPS)
