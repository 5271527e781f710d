"""Graph: a network as operators to run, and as units joined by weights to reason about."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import count, pairwise

import torch
from torch import Tensor

from pruning.masks import Tensors

INPUT = "input"  # the name of the value that is fed in
Tap = Callable[[str, Tensor], Tensor]  # sees each value (by name) as it is made, and may replace it
Read = Callable[[str, int, Tensor], Tensor]  # the same for each value as a node (by name) reads it: which of its values


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
        return [a.name for a in self._leaves() if isinstance(a, Value)]

    def parameters(self) -> list[str]:
        """Names of the parameters, buffers and constants read."""
        return [a.name for a in self._leaves() if isinstance(a, Param)]

    def _leaves(self) -> list[object]:
        return list(leaves([self.args, [a for _, a in self.kwargs]]))

    def run(self, values: Tensors, params: Tensors, read: Read | None = None) -> Tensor:
        """The operator applied to its arguments; `read` sees, and may replace, each value it reads, in order."""
        position = count()

        def value(name: str) -> Tensor:
            found, at = values[name], next(position)
            return read(self.name, at, found) if read and isinstance(found, Tensor) else found

        args = [_resolve(a, value, params) for a in self.args]
        return self.op(*args, **{name: _resolve(a, value, params) for name, a in self.kwargs})


@dataclass(frozen=True, eq=False)
class Edge:
    """A weight tensor: each entry is an edge from a unit to a unit.

    heads: the unit of each output channel; tails: the unit of each input channel or feature (a unit
    has several where channels were flattened). transposed: the weight is laid out (in, out, ...), as
    in addmm and transposed convolutions, not (out, in, ...).
    """

    weight: str
    node: Node
    shape: tuple[int, ...]
    heads: Tensor
    tails: Tensor
    groups: int = 1
    transposed: bool = False

    @property
    def fan_in(self) -> int:
        """Products summed for one output element (in a transposed convolution at most)."""
        return len(self.tails) // self.groups * self._positions

    @property
    def fan_out(self) -> int:
        """Products summed for the gradient of one input element."""
        return len(self.heads) // self.groups * self._positions

    @cached_property
    def channels_per_head(self) -> int:
        """Output channels of one unit, at most."""
        return _most(self.heads)

    @cached_property
    def channels_per_tail(self) -> int:
        """Input channels or features of one unit, at most."""
        return _most(self.tails)

    def into(self, scores: Tensor, units: int) -> Tensor:
        """Sum over the edges entering each unit: (..., *shape) -> (..., units)."""
        return _collected(self.laid_out(scores).sum((-1, -2)).flatten(-2), self.heads, units)

    def out_of(self, scores: Tensor, units: int) -> Tensor:
        """Sum over the edges leaving each unit: (..., *shape) -> (..., units)."""
        return _collected(self.laid_out(scores).sum((-1, -3)).flatten(-2), self.tails, units)

    def per_head(self, values: Tensor) -> Tensor:
        """One number per unit, spread over the weights that enter it: (..., units) -> (..., *shape)."""
        each = values[..., self.heads.to(values.device)]
        return self.spread(each.reshape(*each.shape[:-1], self.groups, -1, 1, 1))

    def per_tail(self, values: Tensor) -> Tensor:
        """One number per unit, spread over the weights that leave it: (..., units) -> (..., *shape)."""
        each = values[..., self.tails.to(values.device)]
        return self.spread(each.reshape(*each.shape[:-1], self.groups, 1, -1, 1))

    @property
    def _positions(self) -> int:
        return math.prod(self.shape[2:])

    def laid_out(self, scores: Tensor) -> Tensor:
        """(..., *shape) as (..., groups, outputs per group, inputs per group, positions)."""
        lead, groups = scores.shape[: scores.dim() - len(self.shape)], self.groups
        outputs, inputs = len(self.heads) // groups, len(self.tails) // groups
        if self.transposed:
            return scores.reshape(*lead, groups, inputs, outputs, self._positions).transpose(-3, -2)
        return scores.reshape(*lead, groups, outputs, inputs, self._positions)

    def spread(self, values: Tensor) -> Tensor:
        """The other way round; values are repeated along axes of length 1."""
        outputs, inputs = len(self.heads) // self.groups, len(self.tails) // self.groups
        full = values.expand(*values.shape[:-3], outputs, inputs, self._positions)
        full = full.transpose(-3, -2) if self.transposed else full
        return full.reshape(*values.shape[:-4], *self.shape)


class Role(StrEnum):
    """What a parameter does to units beside being a weight between them."""

    SHIFT = "shift"  # added: a bias, or the shift of a norm
    GAIN = "gain"  # multiplies what a norm has made: its flow enters the units, for the norm lets none through
    SCALE = "scale"  # multiplies: what enters the units passes it


@dataclass(frozen=True, eq=False)
class Source:
    """A parameter at units: a shift, a gain or a scale; `units` says which each of its entries belongs to."""

    name: str
    node: Node
    units: Tensor
    role: Role

    @cached_property
    def entries_per_unit(self) -> int:
        """Entries of one unit, at most."""
        return _most(self.units.flatten())

    def into(self, flow: Tensor, units: int) -> Tensor:
        """Per unit: (..., *shape) -> (..., units)."""
        lead = flow.shape[: flow.dim() - self.units.dim()]
        return _collected(flow.reshape(*lead, -1), self.units.flatten(), units)


@dataclass(frozen=True, eq=False)
class Transfer:
    """Entry by entry homogeneous of another degree, or a product: F(tails) = degree * F(heads), unit by unit."""

    node: Node
    tails: Tensor
    heads: Tensor
    degree: float


@dataclass(frozen=True)
class Junction:
    """Neighbouring units that the same operators touch: number `first` to `first + units - 1`.

    A unit is every channel that parameter-free operators of degree 1 join: a residual sum joins its
    operands, so what enters a unit through weights and biases leaves it through weights, identity
    branches included. `objections` say why that may not hold here.
    """

    index: int
    first: int
    units: int
    values: tuple[str, ...]
    incoming: tuple[Edge, ...]
    outgoing: tuple[Edge, ...]
    sources: tuple[Source, ...]
    inner: tuple[Node, ...]
    objections: tuple[str, ...]

    @property
    def name(self) -> str:
        """The layers that feed it, as people know them; else the operator that makes it."""
        fed = [edge.node.where for edge in self.incoming] or [s.node.where for s in self.sources]
        made = [] if INPUT in self.values else [node.where for node in self.inner[:1]]
        return " + ".join(dict.fromkeys(fed or made)) or INPUT

    @property
    def span(self) -> slice:
        """Its units among all."""
        return slice(self.first, self.first + self.units)


@dataclass(frozen=True, eq=False)
class Graph:
    """Operators in order of execution, and the units and edges they amount to.

    places: per value the unit of each entry, -1 for zeros that no unit feeds, with length 1 along axes
    where it is the same.
    inputs, outputs: the units of the input and of the output.
    """

    nodes: tuple[Node, ...]
    output: str
    junctions: tuple[Junction, ...]
    edges: tuple[Edge, ...]
    attached: tuple[Source, ...]
    transfers: tuple[Transfer, ...]
    places: Mapping[str, Tensor]
    inputs: Tensor
    outputs: Tensor

    def run(self, params: Tensors, x: Tensor, tap: Tap | None = None, read: Read | None = None) -> Tensor:
        """The network's output for input `x`; `tap` and `read` see, and may replace, each value on the way."""
        values = {INPUT: tap(INPUT, x) if tap else x}
        last_use = self._last_use
        for position, node in enumerate(self.nodes):
            made = node.run(values, params, read)
            values[node.name] = tap(node.name, made) if tap and isinstance(made, Tensor) else made
            for spent in last_use.get(position, ()):
                del values[spent]
        return values[self.output]

    @cached_property
    def _last_use(self) -> dict[int, tuple[str, ...]]:
        last = {name: i for i, node in enumerate(self.nodes) for name in node.values() if name != self.output}
        return {i: tuple(n for n, j in last.items() if j == i) for i in set(last.values())}

    @property
    def units(self) -> int:
        """Number of all units."""
        return sum(j.units for j in self.junctions)

    @property
    def sources(self) -> tuple[Source, ...]:
        """All biases and shifts."""
        return tuple(s for s in self.entering if s.role is Role.SHIFT)

    @property
    def entering(self) -> tuple[Source, ...]:
        """Every parameter whose saliency enters units without a weight: shifts, tables, and the gains of norms.

        Not a table that is a weight elsewhere: its saliency is of both uses, and its units are objected to.
        """
        weights = set(self.weights)
        return tuple(s for s in self.attached if s.role is not Role.SCALE and s.name not in weights)

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of the prunable weights: the weights of linear and convolution operators."""
        return tuple(dict.fromkeys(edge.weight for edge in self.edges))

    @cached_property
    def hidden(self) -> tuple[Junction, ...]:
        """Junctions between input and output; what a product makes is balanced at its factors, zeros feed nothing."""
        ends = {*self.inputs.tolist(), *self.outputs.tolist(), *(h for t in self.transfers for h in t.heads.tolist())}
        inner = (j for j in self.junctions if j.first not in ends and (j.incoming or j.outgoing))
        return tuple(j for j in inner if j.incoming or j.sources or j.objections)

    @cached_property
    def objections(self) -> tuple[str, ...]:
        """Every reason why a conservation law may not hold somewhere, with the module it concerns."""
        return tuple(dict.fromkeys(text for j in self.junctions for text in j.objections))

    @cached_property
    def is_chain(self) -> bool:
        """Whether the weights follow one another, each layer a cut between input and output, and used nowhere else."""
        steps = [(set(e.tails.tolist()), set(e.heads.tolist())) for e in self.edges]
        follows = all(a[1] == b[0] for a, b in pairwise(steps))
        ends = bool(steps) and steps[0][0] == {*self.inputs.tolist()} and steps[-1][1] == {*self.outputs.tolist()}
        apart = {frozenset(units) for step in steps for units in step}  # an identity would join two of them
        return follows and ends and len(apart) == len(steps) + 1 and len(self.weights) == len(steps)

    def junction_of(self, unit: int) -> Junction:
        """The junction that holds a unit."""
        return next(j for j in self.junctions if j.first <= unit < j.first + j.units)

    def incoming(self, scores: Tensors) -> Tensor:
        """Sum of the scores of the weights that enter each unit: (..., units)."""
        return torch.stack([e.into(scores[e.weight], self.units) for e in self.edges]).sum(0)

    def outgoing(self, scores: Tensors) -> Tensor:
        """Sum of the scores of the weights that leave each unit, and what it passes to products: (..., units)."""
        out = torch.stack([e.out_of(scores[e.weight], self.units) for e in self.edges]).sum(0)
        for t in reversed(self.transfers):
            out = out.index_add(-1, t.tails.to(out.device), t.degree * out[..., t.heads.to(out.device)])
        return out

    def by_unit(self, name: str, entries: Tensor) -> Tensor:
        """Sum over the entries of the value `name` that belong to each unit: (units,).

        Raises ValueError where entries of several samples lie along an axis whose places follow the example's number.
        """
        place = self.places[name]
        if any(size not in (1, n) for size, n in zip(place.shape, entries.shape, strict=True)):
            raise ValueError(f"{name}: the places of {tuple(place.shape)} entries don't fit {tuple(entries.shape)}")
        alike = [axis for axis, size in enumerate(place.shape) if size == 1 and entries.shape[axis] != 1]
        summed = entries.sum(alike, keepdim=True) if alike else entries
        owners = torch.where(place < 0, self.units, place)  # nobody's entries are collected past the end
        return _collected(summed.flatten(), owners.flatten(), self.units + 1)[..., : self.units]


def leaves(args: object) -> Iterable[object]:
    """The arguments inside nested lists and tuples, in order."""
    if isinstance(args, (list, tuple)):
        for item in args:
            yield from leaves(item)
    else:
        yield args


def _resolve(arg: object, value: Callable[[str], Tensor], params: Tensors) -> object:
    if isinstance(arg, Value):
        return value(arg.name)
    if isinstance(arg, Param):
        return params[arg.name]
    if isinstance(arg, (list, tuple)):
        return type(arg)(_resolve(item, value, params) for item in arg)
    return arg


def _collected(values: Tensor, units: Tensor, count: int) -> Tensor:
    """Sum of (..., n) over the entries of each unit: (..., count)."""
    zero = torch.zeros(*values.shape[:-1], count, dtype=values.dtype, device=values.device)
    return zero.index_add(-1, units.to(values.device), values)


def _most(units: Tensor) -> int:
    return int(torch.bincount(units).max()) if units.numel() else 0
