"""Graph: a network as operators to run, and as units joined by weights to reason about."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

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
        return [a.name for a in leaves([self.args, [a for _, a in self.kwargs]]) if isinstance(a, Value)]

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


def leaves(args: object) -> Iterable[object]:
    """The arguments inside nested lists and tuples, in order."""
    if isinstance(args, (list, tuple)):
        for item in args:
            yield from leaves(item)
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
