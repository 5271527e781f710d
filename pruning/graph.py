"""Graph: a network as operators to run, and as units joined by weights to reason about."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from pruning.masks import Tensors

INPUT = "input"  # the name of the value that is fed in
Tap = Callable[[str, Tensor], Tensor]  # sees each value (by name) as it is made, and may replace it


@dataclass(frozen=True)
class Value:
    """What a node (or the input) gives, as an argument of another node."""

    name: str


@dataclass(frozen=True)
class Param:
    """A parameter, buffer or constant, as an argument of a node."""

    name: str


@dataclass(frozen=True)
class Node:
    """One operator call. `where` is the path of the module it stands for, as people know it."""

    name: str
    op: Callable[..., Tensor]
    args: tuple[object, ...]
    where: str
    kwargs: tuple[tuple[str, object], ...] = ()

    @property
    def kind(self) -> str:
        """The operator's plain name, such as 'conv2d'."""
        schema = getattr(self.op, "_schema", None)
        return schema.name.removeprefix("aten::") if schema is not None else getattr(self.op, "__name__", str(self.op))

    def values(self) -> list[str]:
        """Names of the values read."""
        return [a.name for a in _leaves([self.args, [a for _, a in self.kwargs]]) if isinstance(a, Value)]

    def run(self, values: Tensors, params: Tensors) -> Tensor:
        """The operator applied to its arguments."""
        named = {name: _resolve(a, values, params) for name, a in self.kwargs}
        return self.op(*(_resolve(a, values, params) for a in self.args), **named)


@dataclass(frozen=True)
class Edge:
    """A weight tensor: each entry is an edge from a unit of junction `tail` to one of junction `head`."""

    weight: str
    node: Node
    shape: tuple[int, ...]
    tail: int
    head: int
    tail_units: int
    groups: int
    spread: int  # input features per unit: more than 1 where channels were flattened before a linear layer

    @property
    def fan_in(self) -> int:
        """Products summed for one output element."""
        return math.prod(self.shape[1:])

    @property
    def fan_out(self) -> int:
        """Products summed for the gradient of one input element."""
        return self.shape[0] // self.groups * math.prod(self.shape[2:])

    def into(self, scores: Tensor) -> Tensor:
        """Sum over the edges entering each head unit: (..., *shape) -> (..., head units)."""
        lead = scores.shape[: scores.dim() - len(self.shape)]
        return scores.reshape(*lead, self.shape[0], self.fan_in).sum(-1)

    def out_of(self, scores: Tensor) -> Tensor:
        """Sum over the edges leaving each tail unit: (..., *shape) -> (..., tail units)."""
        lead = scores.shape[: scores.dim() - len(self.shape)]
        per_group = self.tail_units // self.groups
        rest = self.spread * math.prod(self.shape[2:])
        split = scores.reshape(*lead, self.groups, self.shape[0] // self.groups, per_group, rest)
        return split.sum((-1, -3)).reshape(*lead, self.tail_units)

    def per_head(self, values: Tensor) -> Tensor:
        """One number per head unit, spread over the weights that enter it: (..., head units) -> (..., *shape)."""
        lead = values.shape[:-1]
        column = values.reshape(*lead, self.shape[0], *[1] * (len(self.shape) - 1))
        return column.expand(*lead, *self.shape)

    def per_tail(self, values: Tensor) -> Tensor:
        """One number per tail unit, spread over the weights that leave it: (..., tail units) -> (..., *shape)."""
        lead, outputs = values.shape[:-1], self.shape[0] // self.groups
        per_group = self.tail_units // self.groups
        rest = self.spread * math.prod(self.shape[2:])
        split = values.reshape(*lead, self.groups, 1, per_group, 1)
        return split.expand(*lead, self.groups, outputs, per_group, rest).reshape(*lead, *self.shape)


@dataclass(frozen=True)
class Source:
    """A bias or normalisation shift: an edge from the constant 1 to each unit of junction `head`."""

    name: str
    node: Node
    head: int
    units: int

    def into(self, flow: Tensor, lead: int = 0) -> Tensor:
        """Per unit: (..., *shape) -> (..., units); `lead` counts the leading dimensions."""
        return flow.reshape(*flow.shape[:lead], self.units)


@dataclass(frozen=True)
class Junction:
    """Units, and all the values that parameter-free operators of degree 1 join into them.

    A residual sum joins its operands, so what enters a unit through weights and biases leaves it
    through weights, identity branches included. `objections` say why that may not hold here.
    """

    index: int
    units: int
    values: tuple[str, ...]
    incoming: tuple[Edge, ...]
    outgoing: tuple[Edge, ...]
    sources: tuple[Source, ...]
    inner: tuple[Node, ...]
    objections: tuple[str, ...]

    @property
    def name(self) -> str:
        """The layers that feed it, as people know them."""
        return " + ".join(edge.node.where for edge in self.incoming) or INPUT


@dataclass(frozen=True)
class Graph:
    """Operators in order of execution, and the junctions and edges they amount to."""

    nodes: tuple[Node, ...]
    output: str
    junctions: tuple[Junction, ...]
    input_junction: int
    output_junction: int

    def run(self, params: Tensors, x: Tensor, tap: Tap | None = None) -> Tensor:
        """The network's output for input `x`; `tap` sees, and may replace, each value on the way."""
        values = {INPUT: tap(INPUT, x) if tap else x}
        last_use = self._last_use
        for position, node in enumerate(self.nodes):
            made = node.run(values, params)
            values[node.name] = tap(node.name, made) if tap else made
            for spent in last_use.get(position, ()):
                del values[spent]
        return values[self.output]

    @cached_property
    def _last_use(self) -> dict[int, tuple[str, ...]]:
        last = {name: i for i, node in enumerate(self.nodes) for name in node.values() if name != self.output}
        return {i: tuple(n for n, j in last.items() if j == i) for i in set(last.values())}

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """All weights, in order of execution."""
        order = {node.name: i for i, node in enumerate(self.nodes)}
        return tuple(sorted((e for j in self.junctions for e in j.incoming), key=lambda e: order[e.node.name]))

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """All biases and shifts."""
        return tuple(s for j in self.junctions for s in j.sources)

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of the prunable weights: the weights of linear and convolution operators."""
        return tuple(dict.fromkeys(edge.weight for edge in self.edges))

    @property
    def hidden(self) -> tuple[Junction, ...]:
        """Junctions between input and output."""
        ends = {self.input_junction, self.output_junction}
        return tuple(j for j in self.junctions if j.index not in ends and (j.incoming or j.outgoing))

    @property
    def objections(self) -> tuple[str, ...]:
        """Every reason why a conservation law may not hold somewhere, with the module it concerns."""
        return tuple(dict.fromkeys(text for j in self.junctions for text in j.objections))

    @property
    def is_chain(self) -> bool:
        """Whether the weights follow one another, each layer a cut between input and output."""
        edges = self.edges
        follows = all(a.head == b.tail for a, b in pairwise(edges))
        ends = bool(edges) and edges[0].tail == self.input_junction and edges[-1].head == self.output_junction
        return follows and ends and len({e.head for e in edges}) == len(edges)


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
        leaves = (leaf for node in nodes for leaf in _leaves([node.args, [a for _, a in node.kwargs]]))
        uses = Counter(leaf.name for leaf in leaves if isinstance(leaf, Param))
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


def _leaves(args: object) -> Iterable[object]:
    if isinstance(args, (list, tuple)):
        for item in args:
            yield from _leaves(item)
    else:
        yield args


def _resolve(arg: object, values: Tensors, params: Tensors) -> object:
    if isinstance(arg, Value):
        return values[arg.name]
    if isinstance(arg, Param):
        return params[arg.name]
    if isinstance(arg, (list, tuple)):
        return type(arg)(_resolve(item, values, params) for item in arg)
    return arg
