"""Rebuilt: a network as a module of torch's own layers, for pruners that want one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init  # leaves random states alone

from pruning.graph import INPUT, Edge, Node, Param
from pruning.masks import Tensors
from pruning.network import Network


class Rebuilt(nn.Module):
    """The network's operators in order; each linear or convolution operator is a layer of torch's, by its own path.

    Parameters bear the network's names. A weight that is no layer's of its own, being tied or laid out otherwise,
    is a plain parameter.
    """

    def __init__(self, network: Network, weights: Tensors) -> None:
        super().__init__()
        self.graph = network.graph
        self.paths = {n: n for n in weights}
        self.layers: dict[str, str] = {}  # by node: the path of the layer that does its work
        for edge in network.graph.edges:
            path, _, name = edge.weight.rpartition(".")
            make = _LAYERS.get(edge.node.kind)
            if path and name == "weight" and make and path not in self.layers.values() and not self._has(path):
                self._put(path, make(edge, edge.node, {**network.fixed, **weights}))
                self.layers[edge.node.name] = path
        for name, weight in weights.items():
            if not self._has(name):
                self._put(name, nn.Parameter(weight.clone()))
        bare = {name: f"constant{i}" for i, name in enumerate(n for n in network.fixed if not self._has(n))}
        for name, place in bare.items():
            self.register_buffer(place, network.fixed[name].clone())
        self.paths |= {n: bare.get(n, n) for n in network.fixed}

    def _has(self, path: str) -> bool:
        try:
            self._get(path)
        except AttributeError:
            return False
        return True

    def _get(self, path: str) -> Any:
        owner, _, name = path.rpartition(".")
        return getattr(self.get_submodule(owner), name)

    def _put(self, path: str, value: nn.Module | nn.Parameter) -> None:
        owner: nn.Module = self
        *outer, name = path.split(".")
        for part in outer:
            if not hasattr(owner, part):
                owner.add_module(part, nn.Module())
            owner = owner.get_submodule(part)
        setattr(owner, name, value)

    def forward(self, x: Tensor) -> Tensor:
        """The network's output."""
        values = {INPUT: x}
        for node in self.graph.nodes:
            path = self.layers.get(node.name)
            if path:
                values[node.name] = self.get_submodule(path)(values[node.values()[0]])
            else:
                values[node.name] = node.run(values, {n: self._get(self.paths[n]) for n in node.parameters()})
        return values[self.graph.output]


def _linear(edge: Edge, node: Node, tensors: Tensors) -> nn.Module:
    outputs, inputs = edge.shape
    made = _made(nn.Linear, inputs, outputs, _bias(node, 2) is not None, **_like(edge, tensors))
    return _filled(made, edge, node, tensors)


def _conv(kind: type[nn.Module], transposed: bool) -> Callable[[Edge, Node, Tensors], nn.Module]:
    def make(edge: Edge, node: Node, tensors: Tensors) -> nn.Module:
        rank = len(edge.shape) - 2
        order = ("stride", "padding", "output_padding", "groups", "dilation") if transposed else (
            "stride", "padding", "dilation", "groups",
        )  # fmt: skip
        given = dict(zip(order, node.args[3:], strict=False)) | dict(node.kwargs)
        groups = given.pop("groups", 1)
        assert isinstance(groups, int)
        sizes = {k: v if isinstance(v, str) else _sized(v, rank) for k, v in given.items() if k in order}
        first, second = edge.shape[0], edge.shape[1] * groups
        inputs, outputs = (first, second) if transposed else (second, first)
        bias = _bias(node, 2) is not None
        rest = {"groups": groups, "bias": bias, **sizes, **_like(edge, tensors)}
        return _filled(_made(kind, inputs, outputs, edge.shape[2:], **rest), edge, node, tensors)

    return make


def _made(kind: type[nn.Module], *sizes: Any, **options: Any) -> nn.Module:
    layer: nn.Module = skip_init(kind, *sizes, **options)  # type: ignore[no-untyped-call]
    return layer


def _sized(value: object, rank: int) -> tuple[int, ...]:
    sizes = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    return sizes if len(sizes) == rank else sizes * rank


def _bias(node: Node, position: int) -> str | None:
    given = dict(node.kwargs).get("bias", node.args[position] if len(node.args) > position else None)
    return given.name if isinstance(given, Param) else None


def _like(edge: Edge, tensors: Tensors) -> dict[str, Any]:
    return {"dtype": tensors[edge.weight].dtype, "device": tensors[edge.weight].device}


def _filled(layer: nn.Module, edge: Edge, node: Node, tensors: Tensors) -> nn.Module:
    bias = _bias(node, 2)
    with torch.no_grad():
        layer.get_parameter("weight").copy_(tensors[edge.weight])
        if bias:
            layer.get_parameter("bias").copy_(tensors[bias])
    return layer


_LAYERS: Mapping[str, Callable[[Edge, Node, Tensors], nn.Module]] = {
    "linear": _linear,
    "conv1d": _conv(nn.Conv1d, False),
    "conv2d": _conv(nn.Conv2d, False),
    "conv3d": _conv(nn.Conv3d, False),
    "conv_transpose1d": _conv(nn.ConvTranspose1d, True),
    "conv_transpose2d": _conv(nn.ConvTranspose2d, True),
    "conv_transpose3d": _conv(nn.ConvTranspose3d, True),
}
