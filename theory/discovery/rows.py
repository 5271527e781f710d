"""Rows: the saliencies that a linear law may speak of, entry by entry or summed, and how a law is written in them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import torch
from torch import Tensor

from pruning.graph import Edge, Graph
from pruning.masks import Tensors
from theory.discovery.nullspace import memory, operations

MOST_OPERATIONS = 4e11  # half a minute at 15 GFlop/s, which one core has in float64
MOST_MEMORY = 2**31


class Level(StrEnum):
    """How fine the rows are, finest first."""

    ENTRIES = "one row per entry"
    UNITS = "one row per channel on either side of a weight, and per entry of everything else"
    TENSORS = "one row per tensor"


@dataclass(frozen=True, eq=False)
class Block:
    """Rows made of one parameter: its entries, sums by output or input channel of its edge, or its total."""

    name: str
    shape: tuple[int, ...]
    side: str  # entries, into, out of, total
    edge: Edge | None

    @property
    def size(self) -> int:
        """Number of rows."""
        if self.side in ("into", "out of"):
            assert self.edge is not None
            return len(self.edge.heads if self.side == "into" else self.edge.tails)
        return math.prod(self.shape) if self.side == "entries" else 1

    def of(self, saliency: Tensor) -> Tensor:
        """(batch, *shape) to (batch, rows)."""
        if self.side == "entries":
            return saliency.reshape(len(saliency), -1)
        if self.edge is None or self.side == "total":
            return saliency.reshape(len(saliency), -1).sum(1, keepdim=True)
        numbered = by_channel(self.edge)
        summed = numbered.into if self.side == "into" else numbered.out_of
        return summed(saliency, self.size)

    def written(self, into: Tensor | None, out: Tensor | None, edge: Edge) -> Tensor | None:
        """Coefficients where entry (i, j) of the weight has into[i] + out[j]; None where rows are too coarse."""
        a = torch.zeros(len(edge.heads)).double() if into is None else into
        b = torch.zeros(len(edge.tails)).double() if out is None else out
        if self.side == "entries":
            numbered = by_channel(edge)
            return (numbered.per_head(a) + numbered.per_tail(b)).flatten()
        if self.side == "total":
            return (a[:1] + b[:1]) if bool((a == a[0]).all() and (b == b[0]).all()) else None
        return a if self.side == "into" else b


def by_channel(edge: Edge) -> Edge:
    """The edge with a unit of its own for each channel."""
    return replace(edge, heads=torch.arange(len(edge.heads)), tails=torch.arange(len(edge.tails)))


@dataclass(frozen=True, eq=False)
class Rows:
    """All rows of a network, block after block."""

    blocks: tuple[Block, ...]
    level: Level

    @property
    def size(self) -> int:
        """Number of rows."""
        return sum(b.size for b in self.blocks)

    def of(self, saliencies: Tensors) -> Tensor:
        """Saliencies, each (batch, *shape), as (batch, rows), over the norm of all of the problem's entries."""
        size = torch.stack([s.flatten(1).norm(dim=1) for n, s in saliencies.items() if n in self.names]).norm(dim=0)
        found = torch.cat([block.of(saliencies[block.name]) for block in self.blocks], dim=1)
        return found / torch.where(size > 0, size, 1).unsqueeze(1)

    @property
    def names(self) -> set[str]:
        """The parameters that rows are made of."""
        return {block.name for block in self.blocks}

    def spans(self) -> Iterable[tuple[Block, slice]]:
        """Each block and where its rows are."""
        start = 0
        for block in self.blocks:
            yield block, slice(start, start + block.size)
            start += block.size

    def counted_twice(self) -> Tensor:
        """What holds of the rows whatever the scores: both sides of a weight have one total, group by group."""
        into = {b.name: s for b, s in self.spans() if b.side == "into"}
        found = [torch.zeros(0, self.size).double()]
        for block, span in ((b, s) for b, s in self.spans() if b.side == "out of"):
            assert block.edge is not None
            law = torch.zeros(block.edge.groups, self.size).double()
            law[:, into[block.name]] = _by_group(into[block.name], block.edge.groups)
            law[:, span] = -_by_group(span, block.edge.groups)
            found.append(law)
        return torch.cat(found)


def _by_group(span: slice, groups: int) -> Tensor:
    """1 where a row is of the group: (groups, rows of the span)."""
    count = (span.stop - span.start) // groups
    return torch.eye(groups).double().repeat_interleave(count, 1)


def rows_of(graph: Graph, shapes: Mapping[str, tuple[int, ...]], level: Level | None = None) -> Rows:
    """Rows for parameters of these shapes, as fine as the operations and the memory of a null space allow."""
    for one in Level if level is None else [level]:
        rows = Rows(tuple(_blocks(graph, shapes, one)), one)
        if operations(rows.size) <= MOST_OPERATIONS and memory(rows.size) <= MOST_MEMORY:
            break
    return rows


def _blocks(graph: Graph, shapes: Mapping[str, tuple[int, ...]], level: Level) -> Iterable[Block]:
    edges: dict[str, list[Edge]] = {}
    for edge in graph.edges:
        edges.setdefault(edge.weight, []).append(edge)
    for name, shape in shapes.items():
        own = edges.get(name, [])
        first = own[0] if own else None
        if level is Level.ENTRIES:
            yield Block(name, shape, "entries", first)
        elif level is Level.UNITS and len(own) == 1:
            yield from (Block(name, shape, side, first) for side in ("into", "out of"))
        else:
            yield Block(name, shape, "entries" if level is Level.UNITS and not own else "total", first)


def in_words(rows: Rows, law: Tensor) -> str:
    """A law with whole coefficients as an equation between sums of saliencies S."""
    left: list[str] = []
    right: list[str] = []
    for block, span in rows.spans():
        for value in torch.unique(law[span]).tolist():
            if value:
                text = "".join((f"{abs(value):g} " if abs(value) != 1 else "", _named(block, law[span] == value)))
                (left if value > 0 else right).append(text)
    if not left or not right:
        return f"{' + '.join(left or right)} = 0"
    return f"{' + '.join(left)} = {' + '.join(right)}"


def _named(block: Block, chosen: Tensor) -> str:
    if block.side == "total":
        return f"S({block.name})"
    if block.side == "into":
        return f"S({block.name}, into {_listed(chosen)})"
    if block.side == "out of":
        return f"S({block.name}, out of {_listed(chosen)})"
    return " + ".join(f"S({block.name}{box})" for box in _boxes(chosen.reshape(block.shape)))


def _boxes(chosen: Tensor) -> list[str]:
    """A set of entries as boxes: whole where it is one, else one per index of the first axis."""
    if bool(chosen.all()):
        return [""]
    axes = [chosen.movedim(axis, 0).reshape(chosen.shape[axis], -1).any(1) for axis in range(chosen.dim())]
    if math.prod(int(a.sum()) for a in axes) == int(chosen.sum()):
        return ["[" + ", ".join(_listed(a) for a in _without_tail(axes)) + "]"]
    rows = [i for i in range(len(chosen)) if bool(chosen[i].any())]
    return [f"[{i}{', ' + box[1:-1] if box else ''}]" for i in rows for box in _boxes(chosen[i])]


def _without_tail(axes: Sequence[Tensor]) -> Sequence[Tensor]:
    """Without the axes at the end that are whole."""
    while len(axes) > 1 and bool(axes[-1].all()):
        axes = axes[:-1]
    return axes


def _listed(chosen: Tensor) -> str:
    """Such as ':', '3', '0:4' or '0,2'."""
    found = chosen.nonzero().flatten().tolist()
    if len(found) == len(chosen):
        return ":"
    if len(found) > 1 and found == list(range(found[0], found[-1] + 1)):
        return f"{found[0]}:{found[-1] + 1}"
    return ",".join(map(str, found))
