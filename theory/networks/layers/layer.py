"""A layer: what every kind says of itself, and layers in sequence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import nn

from pruning.graph import Node, Value

Size = tuple[int, ...]  # of one sample: (features,), (tokens, features) or (channels, height, width)


class Misfit(ValueError):
    """Layers that don't fit together."""


@dataclass
class Wiring:
    """Operators collected one after the other; the parameters' names begin with the path of their layer."""

    nodes: list[Node] = field(default_factory=list)

    def add(self, path: str, op: Callable[..., Any], *args: object) -> Value:
        """One operator more; what it makes."""
        self.nodes.append(Node(f"value{len(self.nodes)}", op, args, path))
        return Value(self.nodes[-1].name)


class Layer(Protocol):
    """What every kind of layer can say of itself."""

    def parameters(self) -> Mapping[str, Size]:
        """Shapes of its parameters, by the names its module gives them."""

    def fitted(self, size: Size) -> tuple[Layer, Size]:
        """The layer for inputs of `size`, and the size of what it makes. Raises Misfit."""

    def emit(self, wiring: Wiring, x: Value, path: str) -> Value:
        """Add its operators."""

    def module(self) -> nn.Module:
        """The same as a module."""


def parameters(layers: tuple[Layer, ...]) -> dict[str, Size]:
    """Shapes of the parameters of layers in sequence, by the names nn.Sequential gives them."""
    return {f"{i}.{name}": size for i, layer in enumerate(layers) for name, size in layer.parameters().items()}


def fitted(layers: tuple[Layer, ...], size: Size) -> tuple[tuple[Layer, ...], Size]:
    """Layers in sequence, each fitted to what comes before, and the size of what they make. Raises Misfit."""
    made: list[Layer] = []
    for layer in layers:
        fit, size = layer.fitted(size)
        made.append(fit)
    return tuple(made), size


def emit(layers: tuple[Layer, ...], wiring: Wiring, x: Value, path: str = "") -> Value:
    """Add the operators of layers in sequence."""
    for i, layer in enumerate(layers):
        x = layer.emit(wiring, x, f"{path}{i}")
    return x


def module(layers: tuple[Layer, ...]) -> nn.Sequential:
    """Layers in sequence as a module."""
    return nn.Sequential(*(layer.module() for layer in layers))


def positive(size: Size) -> Size:
    """The size, if every axis has something left. Raises Misfit."""
    if min(size) < 1:
        raise Misfit(f"nothing is left of {size}")
    return size
