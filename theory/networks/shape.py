"""Shape: a network without its weights, as data, as a graph, and as a plain module."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from pruning.graph import INPUT, Graph, Node, Param, Value
from pruning.survey import build

aten = torch.ops.aten


@dataclass(frozen=True)
class Dense:
    """A linear layer."""

    inputs: int
    outputs: int
    bias: bool = False


@dataclass(frozen=True)
class Conv:
    """A square two-dimensional convolution."""

    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    bias: bool = False


@dataclass(frozen=True)
class Pool:
    """A square pool, 'max' or 'avg'."""

    kind: str
    size: int


@dataclass(frozen=True)
class Act:
    """An activation by name: one of ACTIVATIONS."""

    name: str


@dataclass(frozen=True)
class Flatten:
    """Channels and positions into one axis."""


class Square(nn.Module):
    """x -> x^2: after a positive sum the same as relu^2, homogeneous of degree 2."""

    def forward(self, x: Tensor) -> Tensor:
        """Entry by entry."""
        return x.square()


Layer = Dense | Conv | Pool | Act | Flatten
ACTIVATIONS: Mapping[str, tuple[Any, type[nn.Module]]] = {
    "relu": (aten.relu.default, nn.ReLU),
    "tanh": (aten.tanh.default, nn.Tanh),
    "gelu": (aten.gelu.default, nn.GELU),
    "square": (aten.square.default, Square),
}
_POOLS = {"max": (aten.max_pool2d.default, nn.MaxPool2d), "avg": (aten.avg_pool2d.default, nn.AvgPool2d)}
_KINDS: dict[str, type] = {c.__name__: c for c in (Dense, Conv, Pool, Act, Flatten)}


@dataclass(frozen=True)
class Shape:
    """A network without its weights: layers in sequence, the shape of one input, samples in a batch."""

    layers: tuple[Layer, ...]
    input: tuple[int, ...]
    samples: int

    def parameters(self) -> dict[str, tuple[int, ...]]:
        """Shapes of weights and biases, by the names nn.Sequential gives them."""
        shapes: dict[str, tuple[int, ...]] = {}
        for i, layer in enumerate(self.layers):
            if isinstance(layer, Dense):
                shapes[f"{i}.weight"] = (layer.outputs, layer.inputs)
            elif isinstance(layer, Conv):
                shapes[f"{i}.weight"] = (layer.outputs, layer.inputs // layer.groups, layer.kernel, layer.kernel)
            if isinstance(layer, (Dense, Conv)) and layer.bias:
                shapes[f"{i}.bias"] = (layer.outputs,)
        return shapes

    def __str__(self) -> str:
        """The units of each layer, input first, such as 3-5-2."""
        widths = [self.input[0], *(la.outputs for la in self.layers if isinstance(la, (Dense, Conv)))]
        return "-".join(str(w) for w in widths)

    def to_json(self) -> dict[str, Any]:
        """Layers as data."""
        layers = [{"layer": type(layer).__name__, **asdict(layer)} for layer in self.layers]
        return {"layers": layers, "input": list(self.input), "samples": self.samples}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Shape:
        """The inverse of to_json. Raises KeyError or TypeError for what it did not write."""
        layers = tuple(_KINDS[d["layer"]](**{k: v for k, v in d.items() if k != "layer"}) for d in data["layers"])
        return cls(layers, tuple(data["input"]), data["samples"])


@lru_cache(maxsize=512)
def graph_of(shape: Shape) -> Graph:
    """The graph of a shape, built without tracing. Raises ValueError where layers don't fit together."""
    nodes: list[Node] = []
    last = INPUT
    params = {name: torch.empty(size, device="meta") for name, size in shape.parameters().items()}
    for i, layer in enumerate(shape.layers):
        name = f"value{i}"
        bias = Param(f"{i}.bias") if f"{i}.bias" in params else None
        args: tuple[object, ...]
        if isinstance(layer, Dense):
            op, args = aten.linear.default, (Param(f"{i}.weight"), bias)
        elif isinstance(layer, Conv):
            op = aten.conv2d.default
            sides = ([layer.stride] * 2, [layer.padding] * 2, [1, 1], layer.groups)
            args = (Param(f"{i}.weight"), bias, *sides)
        elif isinstance(layer, Pool):
            op, args = _POOLS[layer.kind][0], ([layer.size] * 2, [layer.size] * 2)
        elif isinstance(layer, Act):
            op, args = ACTIVATIONS[layer.name][0], ()
        else:
            op, args = aten.flatten.using_ints, (1,)
        nodes.append(Node(name, op, (Value(last), *args), str(i)))
        last = name
    return build(nodes, last, torch.empty((shape.samples, *shape.input), device="meta"), params)


def module_of(shape: Shape) -> nn.Sequential:
    """The same network as a plain module, with torch's own initial weights."""
    layers: list[nn.Module] = []
    for layer in shape.layers:
        if isinstance(layer, Dense):
            layers.append(nn.Linear(layer.inputs, layer.outputs, bias=layer.bias))
        elif isinstance(layer, Conv):
            sides = (layer.kernel, layer.stride, layer.padding)
            layers.append(nn.Conv2d(layer.inputs, layer.outputs, *sides, groups=layer.groups, bias=layer.bias))
        elif isinstance(layer, Pool):
            layers.append(_POOLS[layer.kind][1](layer.size))
        elif isinstance(layer, Act):
            layers.append(ACTIVATIONS[layer.name][1]())
        else:
            layers.append(nn.Flatten())
    return nn.Sequential(*layers)


def parameter_count(shape: Shape) -> int:
    """Numbers in all weights and biases."""
    return sum(math.prod(size) for size in shape.parameters().values())
