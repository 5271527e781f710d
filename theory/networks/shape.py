"""Shape: a network without its weights, as data, as a graph, and as a plain module."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import nn

from pruning.graph import INPUT, Graph, Value
from pruning.survey import build
from theory.networks import layers
from theory.networks.layers import (
    Act,
    Attention,
    Branches,
    Conv,
    Dense,
    Embedding,
    Flatten,
    Layer,
    Norm,
    Pool,
    PReLU,
    Reparametrised,
    Resize,
    Size,
    TokenMean,
    Wiring,
)

_KINDS: dict[str, Any] = {
    c.__name__: c
    for c in (
        Dense, Conv, Pool, Resize, Act, PReLU, Flatten, TokenMean, Embedding, Norm, Reparametrised, Attention, Branches,
    )
}  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """A network without its weights: layers in sequence, the shape of one input, samples in a batch."""

    layers: tuple[Layer, ...]
    input: Size
    samples: int

    def parameters(self) -> dict[str, Size]:
        """Shapes of all parameters, by the names nn.Sequential gives them."""
        return layers.parameters(self.layers)

    @cached_property
    def output(self) -> Size:
        """The size of one sample's output. Raises Misfit."""
        return layers.fitted(self.layers, self.input)[1]

    def fitted(self) -> Shape:
        """The shape with each layer's inputs taken from what comes before it. Raises Misfit."""
        made = Shape(layers.fitted(self.layers, self.input)[0], self.input, self.samples)
        known = made.parameters()
        for layer in (la for la in made.layers if isinstance(la, Dense) and la.tied):
            if known.get(f"{layer.tied}.weight") != (layer.outputs, layer.inputs):
                raise layers.Misfit(f"the layer tied to {layer.tied} has lost it")
        return made

    def __str__(self) -> str:
        """The units of each layer, input first, such as 3-5-2; branches side by side, such as 3-(5-3|)-2."""
        start = self.input[-1] if len(self.input) == 2 else self.input[0]
        return "-".join([str(start), *_widths(self.layers)])

    def to_json(self) -> dict[str, Any]:
        """Layers as data."""
        return {"layers": [_to_data(la) for la in self.layers], "input": list(self.input), "samples": self.samples}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Shape:
        """The inverse of to_json. Raises KeyError or TypeError for what it did not write."""
        return cls(tuple(map(_from_data, data["layers"])), tuple(data["input"]), data["samples"])


def _widths(sequence: tuple[Layer, ...]) -> list[str]:
    found = []
    for layer in sequence:
        if isinstance(layer, Branches):
            found.append("(" + "|".join("-".join(_widths(b)) for b in layer.branches) + ")")
        elif hasattr(layer, "outputs"):
            found.append(str(layer.outputs))
    return found


def _to_data(layer: Layer) -> dict[str, Any]:
    own = {f.name: getattr(layer, f.name) for f in fields(layer)}  # type: ignore[arg-type]
    if isinstance(layer, Branches):
        own["branches"] = [[_to_data(la) for la in branch] for branch in layer.branches]
    return {"layer": type(layer).__name__, **{k: list(v) if isinstance(v, tuple) else v for k, v in own.items()}}


def _from_data(data: Mapping[str, Any]) -> Layer:
    own = {k: v for k, v in data.items() if k != "layer"}
    if "branches" in own:
        own["branches"] = tuple(tuple(map(_from_data, branch)) for branch in own["branches"])
    made: Layer = _KINDS[data["layer"]](**{k: tuple(v) if isinstance(v, list) else v for k, v in own.items()})
    return made


@lru_cache(maxsize=512)
def graph_of(shape: Shape) -> Graph:
    """The graph of a shape, built without tracing. Raises ValueError where layers don't fit together."""
    try:
        return _graph_on("cpu", shape)  # a run of zeros on it is several times sooner
    except ValueError:
        return _graph_on("meta", shape)  # whose words for what does not fit are the same on every device


def _graph_on(device: str, shape: Shape) -> Graph:
    params = {name: torch.zeros(size, device=device) for name, size in shape.parameters().items()}
    wiring = Wiring()
    last = layers.emit(shape.layers, wiring, Value(INPUT))
    return build(wiring.nodes, last.name, torch.zeros((shape.samples, *shape.input), device=device), params)


def module_of(shape: Shape) -> nn.Sequential:
    """The same network as a plain module, with torch's own initial weights."""
    made = layers.module(shape.layers)
    for at, layer in zip(made, shape.layers, strict=True):
        if isinstance(layer, Dense) and layer.tied:
            at.weight = made.get_submodule(layer.tied).weight
    return made


def parameter_count(shape: Shape) -> int:
    """Numbers in all weights and biases."""
    return sum(math.prod(size) for size in shape.parameters().values())
