"""Activations, by name, and the one that has a parameter."""

# ruff: noqa: D102 - the protocol Layer says what the methods do

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from pruning.graph import Param, Value
from pruning.mended import prelu
from theory.networks import modules
from theory.networks.layers.layer import Layer, Misfit, Size, Wiring

aten = torch.ops.aten


@dataclass(frozen=True)
class Act:
    """An activation by name: one of ACTIVATIONS."""

    name: str

    def parameters(self) -> Mapping[str, Size]:
        return {}

    def fitted(self, size: Size) -> tuple[Layer, Size]:
        return self, size

    def emit(self, wiring: Wiring, x: Value, path: str) -> Value:
        for op, *args in ACTIVATIONS[self.name][0]:
            x = wiring.add(path, op, x, *args)
        return x

    def module(self) -> nn.Module:
        return ACTIVATIONS[self.name][1]()


ACTIVATIONS: Mapping[str, tuple[list[tuple[Any, ...]], Callable[[], nn.Module]]] = {
    "relu": ([(aten.relu.default,)], nn.ReLU),
    "leaky": ([(aten.leaky_relu.default, 0.25)], lambda: nn.LeakyReLU(0.25)),
    "abs": ([(aten.abs.default,)], modules.Abs),
    "threshold": ([(aten.threshold.default, 1.0, 0.0)], lambda: nn.Threshold(1.0, 0.0)),
    "tanh": ([(aten.tanh.default,)], nn.Tanh),
    "gelu": ([(aten.gelu.default,)], nn.GELU),
    "silu": ([(aten.silu.default,)], nn.SiLU),
    "square": ([(aten.square.default,)], modules.Square),
    "relu2": ([(aten.relu.default,), (aten.square.default,)], lambda: modules.PowerOfReLU(2)),
    "relu3": ([(aten.relu.default,), (aten.pow.Tensor_Scalar, 3)], lambda: modules.PowerOfReLU(3)),
}


@dataclass(frozen=True)
class PReLU:
    """A ReLU with a slope of its own for each channel's negative side."""

    channels: int

    def parameters(self) -> Mapping[str, Size]:
        return {"weight": (self.channels,)}

    def fitted(self, size: Size) -> tuple[Layer, Size]:
        if len(size) == 2:
            raise Misfit("the channels of a PReLU are the second axis, tokens have them last")
        return replace(self, channels=size[0]), size

    def emit(self, wiring: Wiring, x: Value, path: str) -> Value:
        return wiring.add(path, prelu, x, Param(f"{path}.weight"))

    def module(self) -> nn.Module:
        return nn.PReLU(self.channels)
