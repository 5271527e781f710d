"""Layers with a weight: linear, convolutional, a table, and linear ones whose weight is computed."""

# ruff: noqa: D102 - the protocol Layer says what the methods do

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn

from pruning.graph import Param, Value
from theory.networks import modules
from theory.networks.layers.layer import Layer, Misfit, Size, Wiring, positive

aten = torch.ops.aten


@dataclass(frozen=True)
class Dense:
    """A linear layer, of each token where there are tokens. `tied` names a layer whose weight it shares."""

    inputs: int
    outputs: int
    bias: bool = False
    tied: str | None = None

    def parameters(self) -> Mapping[str, Size]:
        own = {} if self.tied else {"weight": (self.outputs, self.inputs)}
        return own | ({"bias": (self.outputs,)} if self.bias else {})

    def fitted(self, size: Size) -> tuple[Layer, Size]:
        if len(size) > 2:
            raise Misfit("a linear layer after a convolution needs its channels flattened")
        outputs = size[-1] if self.tied else self.outputs
        return replace(self, inputs=size[-1], outputs=outputs), (*size[:-1], outputs)

    def emit(self, wiring: Wiring, x: Value, path: str) -> Value:
        bias = Param(f"{path}.bias") if self.bias else None
        return wiring.add(path, aten.linear.default, x, Param(f"{self.tied or path}.weight"), bias)

    def module(self) -> nn.Module:
        return nn.Linear(self.inputs, self.outputs, bias=self.bias)


@dataclass(frozen=True)
class Conv:
    """A square two-dimensional convolution, or a transposed one."""

    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    bias: bool = False
    dilation: int = 1
    transposed: bool = False

    def parameters(self) -> Mapping[str, Size]:
        first, second = (self.inputs, self.outputs) if self.transposed else (self.outputs, self.inputs)
        weight = {"weight": (first, second // self.groups, self.kernel, self.kernel)}
        return weight | ({"bias": (self.outputs,)} if self.bias else {})

    def fitted(self, size: Size) -> tuple[Layer, Size]:
        if len(size) != 3:
            raise Misfit("a convolution needs channels, height and width")
        groups = self.groups if size[0] % self.groups == 0 == self.outputs % self.groups else 1
        reach = self.dilation * (self.kernel - 1)
        if self.transposed:
            sides = tuple((n - 1) * self.stride - 2 * self.padding + reach + 1 for n in size[1:])
        else:
            sides = tuple((n + 2 * self.padding - reach - 1) // self.stride + 1 for n in size[1:])
        return replace(self, inputs=size[0], groups=groups), positive((self.outputs, *sides))

    def emit(self, wiring: Wiring, x: Value, path: str) -> Value:
        weight, bias = Param(f"{path}.weight"), Param(f"{path}.bias") if self.bias else None
        stride, padding, dilation = ([n] * 2 for n in (self.stride, self.padding, self.dilation))
        if self.transposed:
            op = aten.conv_transpose2d.input
            return wiring.add(path, op, x, weight, bias, stride, padding, [0, 0], self.groups, dilation)
        return wiring.add(path, aten.conv2d.default, x, weight, bias, stride, padding, dilation, self.groups)

    def module(self) -> nn.Module:
        kind = nn.ConvTranspose2d if self.transposed else nn.Conv2d
        rest = {"groups": self.groups, "bias": self.bias, "dilation": self.dilation}
        return kind(self.inputs, self.outputs, self.kernel, self.stride, self.padding, **rest)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Embedding:
    """A row of a table for each input, which is rounded to a whole number and counted modulo the rows."""

    rows: int
    width: int

    def parameters(self) -> Mapping[str, Size]:
        return {"weight": (self.rows, self.width)}

    def fitted(self, size: Size) -> tuple[Layer, Size]:
        if len(size) != 1:
            raise Misfit("an embedding takes one number per token")
        return self, (size[0], self.width)

    def emit(self, wiring: Wiring, x: Value, path: str) -> Value:
        index = wiring.add(path, modules.indices, x, self.rows)
        return wiring.add(path, aten.embedding.default, Param(f"{path}.weight"), index)

    def module(self) -> nn.Module:
        return modules.Table(self.rows, self.width)


@dataclass(frozen=True)
class Reparametrised:
    """A linear layer whose weight is computed: 'weight' norm, g v / |v| per row, or 'spectral', W over its norm."""

    kind: str
    inputs: int
    outputs: int

    def parameters(self) -> Mapping[str, Size]:
        gain = {"gain": (self.outputs, 1)} if self.kind == "weight" else {}
        return gain | {"direction": (self.outputs, self.inputs), "bias": (self.outputs,)}

    def fitted(self, size: Size) -> tuple[Layer, Size]:
        if len(size) > 2:
            raise Misfit("a linear layer after a convolution needs its channels flattened")
        return replace(self, inputs=size[-1]), (*size[:-1], self.outputs)

    def emit(self, wiring: Wiring, x: Value, path: str) -> Value:
        direction = Param(f"{path}.direction")
        if self.kind == "weight":
            weight = wiring.add(path, modules.weight_normed, direction, Param(f"{path}.gain"))
        else:
            weight = wiring.add(path, modules.spectral_normed, direction)
        return wiring.add(path, aten.linear.default, x, weight, Param(f"{path}.bias"))

    def module(self) -> nn.Module:
        return modules.Reparametrised(self.kind, self.inputs, self.outputs)
