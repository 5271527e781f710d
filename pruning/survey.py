"""Survey: from operators to a graph; one rule per operator says where the units of its output lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pruning.graph import INPUT, Edge, Graph, Junction, Node, Param, Source, Value, leaves
from pruning.masks import Tensors


def build(nodes: Sequence[Node], output: str, example: Tensor, params: Tensors) -> Graph:
    """The graph of `nodes`; shapes come from one run on the meta device, so nothing is computed.

    Raises ValueError where the nodes can't be run on `example`'s shape.
    """
    survey = _Survey(params)
    survey.walk(nodes, example)
    return survey.graph(tuple(nodes), output)


# Operators that carry each unit to itself, are positively homogeneous of degree 1 and have no parameter.
_CARRIES = {
    "relu", "leaky_relu", "abs", "neg", "clone", "alias", "contiguous", "dropout",
    "max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d",
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d",
}  # fmt: skip
_CONVOLUTIONS = {"conv1d", "conv2d", "conv3d"}


@dataclass(frozen=True)
class _Layout:
    junction: int
    units: int
    axis: int
    spread: int


class _Survey:
    """One walk over the nodes that finds which unit each entry of each value belongs to."""

    def __init__(self, params: Tensors) -> None:
        self.params = {n: torch.empty_like(p, device="meta") for n, p in params.items()}
        self.shapes: dict[str, torch.Size] = {}
        self.layouts: dict[str, _Layout] = {}
        self.parent: list[int] = []
        self.units: list[int] = []
        self.objections: list[tuple[int, str]] = []
        self.edges: list[Edge] = []
        self.sources: list[Source] = []
        self.inner: list[tuple[int, Node]] = []

    def walk(self, nodes: Iterable[Node], example: Tensor) -> None:
        values = {INPUT: torch.empty_like(example, device="meta")}
        self.shapes[INPUT] = example.shape
        axis = min(1, example.dim() - 1)
        self.layouts[INPUT] = _Layout(self._fresh(example.shape[axis]), example.shape[axis], axis, 1)
        for node in nodes:
            try:
                values[node.name] = node.run(values, self.params)
            except Exception as error:
                raise ValueError(f"{node.where}: {node.kind} can't be run on these shapes: {error}") from error
            self.shapes[node.name] = values[node.name].shape
            self.layouts[node.name] = self._place(node)

    def graph(self, nodes: tuple[Node, ...], output: str) -> Graph:
        self._object_to_ties(nodes)
        roots = sorted({self._root(i) for i in range(len(self.parent))})
        number = {root: i for i, root in enumerate(roots)}

        def at(junction: int) -> int:
            return number[self._root(junction)]

        edges = [_moved(e, at(e.tail), at(e.head)) for e in self.edges]
        sources = [Source(s.name, s.node, at(s.head), s.units) for s in self.sources]
        junctions = tuple(
            Junction(
                index=i,
                units=self.units[root],
                values=tuple(v for v, layout in self.layouts.items() if at(layout.junction) == i),
                incoming=tuple(e for e in edges if e.head == i),
                outgoing=tuple(e for e in edges if e.tail == i),
                sources=tuple(s for s in sources if s.head == i),
                inner=tuple(node for junction, node in self.inner if at(junction) == i),
                objections=tuple(dict.fromkeys(text for junction, text in self.objections if at(junction) == i)),
            )
            for i, root in enumerate(roots)
        )
        return Graph(nodes, output, junctions, at(self.layouts[INPUT].junction), at(self.layouts[output].junction))

    # one rule per operator: where do the units of its output lie?

    def _place(self, node: Node) -> _Layout:
        weight, operands = node.args[1] if len(node.args) > 1 else None, node.values()
        if not operands:
            return self._unknown(node, operands)  # a constant, made of parameters
        if isinstance(weight, Param) and node.kind == "linear":
            return self._linear(node, weight)
        if isinstance(weight, Param) and node.kind in _CONVOLUTIONS and self._is_batched(node, weight):
            return self._convolution(node, weight)
        if node.kind in _CARRIES and len(operands) == 1:
            return self._carried(node, operands[0])
        if node.kind == "mean" and self._is_spatial_mean(node):
            return self._carried(node, operands[0])
        if node.kind == "flatten" and self._keeps_units(node):
            return self._flattened(node, operands[0])
        if isinstance(weight, Param) and node.kind in ("mul", "add") and not node.kwargs:
            return self._affine(node, operands[0], weight)
        if node.kind == "add" and not node.kwargs and len(operands) == 2:
            return self._joined(node, operands)
        return self._unknown(node, operands)

    def _linear(self, node: Node, weight: Param) -> _Layout:
        shape = self.params[weight.name].shape
        source = self._input_of(node, axis=len(self.shapes[node.values()[0]]) - 1, features=shape[1])
        return self._edge(node, weight, source, groups=1, axis=len(self.shapes[node.name]) - 1)

    def _convolution(self, node: Node, weight: Param) -> _Layout:
        groups = node.args[6] if len(node.args) > 6 else 1
        assert isinstance(groups, int)
        source = self._input_of(node, axis=1, features=self.params[weight.name].shape[1] * groups)
        return self._edge(node, weight, source, groups, axis=1)

    def _input_of(self, node: Node, axis: int, features: int) -> _Layout:
        layout = self.layouts[node.values()[0]]
        if layout.axis == axis and layout.units * layout.spread == features:
            return layout
        text = f"{node.where}: {node.kind} reads its input along an axis whose units are not known"
        self._object(layout.junction, text)
        return _Layout(self._fresh(features, text), features, axis, 1)

    def _edge(self, node: Node, weight: Param, source: _Layout, groups: int, axis: int) -> _Layout:
        shape = tuple(self.params[weight.name].shape)
        head = self._fresh(shape[0])
        self.edges.append(Edge(weight.name, node, shape, source.junction, head, source.units, groups, source.spread))
        bias = node.args[2] if len(node.args) > 2 else None
        if isinstance(bias, Param):
            self.sources.append(Source(bias.name, node, head, shape[0]))
        elif isinstance(bias, Value):
            for junction in (head, self.layouts[bias.name].junction):
                self._object(junction, f"{node.where}: the bias of {node.kind} is computed")
        return _Layout(head, shape[0], axis, 1)

    def _is_batched(self, node: Node, weight: Param) -> bool:
        return len(self.shapes[node.values()[0]]) == self.params[weight.name].dim()

    def _carried(self, node: Node, operand: str) -> _Layout:
        layout = self.layouts[operand]
        self.inner.append((layout.junction, node))
        if layout.spread > 1 and node.kind not in ("relu", "leaky_relu", "clone", "alias", "contiguous", "dropout"):
            self._object(layout.junction, f"{node.where}: {node.kind} after channels were flattened")
        if node.kind == "dropout" and node.args[2] is not False:
            self._object(layout.junction, f"{node.where}: dropout in training mode is random")
        return layout

    def _is_spatial_mean(self, node: Node) -> bool:
        axes, layout = node.args[1] if len(node.args) > 1 else None, self.layouts[node.values()[0]]
        rank = len(self.shapes[node.values()[0]])
        return isinstance(axes, (list, tuple)) and all(isinstance(a, int) and a % rank > layout.axis for a in axes)

    def _keeps_units(self, node: Node) -> bool:
        return node.args[1:] == (1,) and self.layouts[node.values()[0]].axis == 1

    def _flattened(self, node: Node, operand: str) -> _Layout:
        layout = self.layouts[operand]
        self.inner.append((layout.junction, node))
        return _Layout(layout.junction, layout.units, 1, self.shapes[node.name][1] // layout.units)

    def _affine(self, node: Node, operand: str, param: Param) -> _Layout:
        layout, shape = self.layouts[operand], self.params[param.name].shape
        rank = len(self.shapes[node.name])
        wanted = (layout.units, *[1] * (rank - layout.axis - 1))
        if layout.spread > 1 or tuple(shape) != wanted:
            return self._unknown(node, [operand])
        self.inner.append((layout.junction, node))
        if node.kind == "add":
            self.sources.append(Source(param.name, node, layout.junction, layout.units))
        return layout

    def _joined(self, node: Node, operands: list[str]) -> _Layout:
        first, second = (self.layouts[name] for name in operands)
        same = (first.units, first.axis, first.spread) == (second.units, second.axis, second.spread)
        if not same or self.shapes[operands[0]] != self.shapes[operands[1]]:
            return self._unknown(node, operands)
        self.parent[self._root(second.junction)] = self._root(first.junction)
        self.inner.append((first.junction, node))
        return first

    def _unknown(self, node: Node, operands: list[str]) -> _Layout:
        text = f"{node.where}: {node.kind} is not known to be positively homogeneous of degree 1, unit by unit"
        for name in operands:
            self._object(self.layouts[name].junction, text)
        shape = self.shapes[node.name]
        if len(operands) == 1 and self.shapes[operands[0]] == shape:
            return self.layouts[operands[0]]  # entry by entry, such as tanh: the units stay, the law does not
        axis = min(1, len(shape) - 1)
        units = shape[axis] if shape else 1
        return _Layout(self._fresh(units, text), units, max(axis, 0), 1)

    def _object_to_ties(self, nodes: Iterable[Node]) -> None:
        read = (leaf for node in nodes for leaf in leaves([node.args, [a for _, a in node.kwargs]]))
        uses = Counter(leaf.name for leaf in read if isinstance(leaf, Param))
        for edge in self.edges:
            if uses[edge.weight] > 1:
                text = f"{edge.node.where}: the weight {edge.weight!r} is used more than once (tied)"
                self._object(edge.tail, text)
                self._object(edge.head, text)

    def _fresh(self, units: int, objection: str | None = None) -> int:
        self.parent.append(len(self.parent))
        self.units.append(units)
        if objection:
            self._object(len(self.parent) - 1, objection)
        return len(self.parent) - 1

    def _object(self, junction: int, text: str) -> None:
        self.objections.append((junction, text))

    def _root(self, junction: int) -> int:
        while self.parent[junction] != junction:
            junction = self.parent[junction]
        return junction


def _moved(edge: Edge, tail: int, head: int) -> Edge:
    return Edge(edge.weight, edge.node, edge.shape, tail, head, edge.tail_units, edge.groups, edge.spread)
