"""Pairs: queries and keys, outputs and values: projections whose heads meet, and the matrices G W^T that they share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from theory.case import Case
from theory.nodes.heads import Fed, Heads, Wired, heads_of
from theory.nodes.local import Local, Point


@dataclass(frozen=True, eq=False)
class Pair:
    """Two projections that meet in a product.

    group: for each head of the first the one of the second it goes with. rotates: both are turned by their position
    in between, in pairs half a width apart.
    """

    heads: Heads
    first: Fed
    second: Fed
    group: Tensor
    rotates: bool = False

    @property
    def points(self) -> list[Point]:
        """None: their parameters say it all."""
        return []

    @property
    def parameters(self) -> list[str | None]:
        """Weights and biases of both."""
        return [*self.first.parameters, *self.second.parameters]

    @property
    def shared(self) -> bool:
        """Whether several heads of the first go with one of the second."""
        return len(self.group) > int(self.group.max()) + 1

    @property
    def direct(self) -> bool:
        """Whether nothing but moves lies between the projections and their product."""
        return self.first.way.direct and self.second.way.direct


def _grouped(order: Tensor) -> tuple[Tensor, Tensor]:
    """(heads, width) of shared channels as those of each head that is there, and the number of it for each."""
    heads, group = torch.unique(order, dim=0, return_inverse=True)
    return heads, group


def queries_and_keys_of(case: Case) -> Iterator[Pair]:
    """Queries and keys that come from layers of their own."""
    wired = Wired(case)
    for heads in heads_of(case.graph):
        q, k = wired.fed(heads.q), wired.fed(heads.k, heads.turned)
        if q is None or k is None or q.order.shape[1] != k.order.shape[1]:
            continue
        order, group = _grouped(k.order)
        repeated = len(q.order) // len(k.order)  # by an operator that has a head of keys for several of queries
        turned = wired.rotates(q.way, False) and wired.rotates(k.way, heads.turned)
        yield Pair(heads, q, replace(k, order=order), group.repeat_interleave(repeated), turned)


def values_and_outputs_of(case: Case) -> Iterator[Pair]:
    """Values that come from a layer of their own, and the layer that alone reads what is made of them: that first."""
    wired = Wired(case)
    for heads in heads_of(case.graph):
        v = wired.fed(heads.v)
        size = wired.shapes[heads.mixed]
        if v is None or len(size) not in (3, 4):
            continue
        count = size[1] if len(size) == 4 else 1
        o = wired.features(heads.mixed, (count, v.order.shape[1]))
        if o is None:
            continue
        order, group = _grouped(v.order)
        yield Pair(heads, o, replace(v, order=order), group.repeat_interleave(count // len(v.order)))


def rows(fed: Fed, local: Local, counted: bool) -> tuple[Tensor, Tensor]:
    """[W | b] and its gradient, head by head: (problems, heads, width, inputs)."""
    found = []
    for tensors in (local.parameter, local.gradient):
        weight = tensors[fed.edge.weight]
        rows = weight.transpose(1, 2) if fed.edge.transposed else weight
        if counted and fed.bias:
            rows = torch.cat([rows, tensors[fed.bias].unsqueeze(2)], 2)
        found.append(rows[:, fed.order])
    return found[0], found[1]


def columns(fed: Fed, local: Local) -> tuple[Tensor, Tensor]:
    """The columns of W that read each head, as rows: (problems, heads, width, outputs)."""
    weights = (t[fed.edge.weight] for t in (local.parameter, local.gradient))
    first, second = ((w if fed.edge.transposed else w.transpose(1, 2))[:, fed.order] for w in weights)
    return first, second


Sides = tuple[Tensor, Tensor, Tensor]


def matrices(pair: Pair, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> Sides:
    """G W^T of the first, summed over its heads in a group, W G^T of the second, and the absolute terms of both.

    (problems, heads of the second, width, width).
    """
    (w, g), (v, h) = first, second
    left, size = g @ w.transpose(-1, -2), g.abs() @ w.abs().transpose(-1, -2)
    zero = torch.zeros_like(v @ h.transpose(-1, -2))
    left, size = (zero.index_add(1, pair.group.to(zero.device), t) for t in (left, size))
    return left, v @ h.transpose(-1, -2), size + v.abs() @ h.abs().transpose(-1, -2)


def traced(sides: Sides) -> Sides:
    """The diagonal's sum of each."""
    left, right, size = (t.diagonal(dim1=-2, dim2=-1).sum(-1) for t in sides)
    return left, right, size
