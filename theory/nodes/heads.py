"""Attention of a graph: where queries, keys and values meet, and which channels of which layer each head has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pruning.graph import Edge, Graph, Node
from theory.case import Case
from theory.nodes.local import Point, Use
from theory.nodes.norms import norms_of
from theory.nodes.ways import Way, argument, axis_of, channels, map_of, parameter, shapes_of, undivided, way_on, way_to

_ROWWISE = {"mul", "div", "add", "sub", "causal", "masked_fill", "where", "type_as", "to", "contiguous", "clone"}


@dataclass(frozen=True)
class Heads:
    """Softmax attention: the uses of queries and keys as they are multiplied, and of values as they are mixed.

    node: the softmax, or the whole in one operator; mixed: what is made of the values. turned: the keys lie
    (..., width, tokens).
    """

    node: Node
    q: Use
    k: Use
    v: Use
    mixed: str
    turned: bool

    @property
    def points(self) -> list[Point]:
        """The three uses, and what is made."""
        return [self.q, self.k, self.v, self.mixed]

    @property
    def parameters(self) -> list[str | None]:
        """None: the flows at the operator are all that is asked."""
        return []


def heads_of(graph: Graph) -> Iterator[Heads]:
    """Every attention whose softmax sees its products with no more than factors, masks and additions between."""
    known = map_of(graph)
    for node in graph.nodes:
        if node.kind == "scaled_dot_product_attention" and not argument(node, 4) and len(node.values()) >= 3:
            yield Heads(node, (node.name, 0), (node.name, 1), (node.name, 2), node.name, False)
        if node.kind != "softmax" or len(node.values()) != 1:
            continue
        scores, mixing = _before(graph, node), node
        while mixing.kind != "matmul" and len(known.readers[mixing.name]) == 1:
            mixing = known.readers[mixing.name][0]
            if mixing.kind not in ("matmul", "type_as", "to", "dropout"):
                break
        if scores is not None and mixing.kind == "matmul":
            yield Heads(node, (scores.name, 0), (scores.name, 1), (mixing.name, 1), mixing.name, True)


def _before(graph: Graph, node: Node) -> Node | None:
    known = map_of(graph)
    while True:
        made = known.maker.get(node.values()[0]) if node.values() else None
        if made is None or (made.kind == "matmul" and len(made.values()) == 2):
            return made
        if made.kind not in _ROWWISE:
            return None
        node = made


@dataclass(frozen=True, eq=False)
class Fed:
    """Channels of one weighted operator as the heads read them: `order` is (heads, width), channel by channel."""

    edge: Edge
    way: Way
    order: Tensor

    @property
    def bias(self) -> str | None:
        """The operator's bias."""
        return bias_of(self.edge)

    @property
    def parameters(self) -> list[str | None]:
        """Weight and bias."""
        return [self.edge.weight, self.bias]


def bias_of(edge: Edge) -> str | None:
    """The bias of a weighted operator."""
    return parameter(edge.node, 0 if edge.node.kind == "addmm" else 2)


@dataclass(frozen=True, eq=False)
class Wired:
    """A case's graph with the shapes of its values: who feeds what."""

    case: Case

    @property
    def graph(self) -> Graph:
        """The graph."""
        return self.case.graph

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each value."""
        return shapes_of(self.case)

    @cached_property
    def own(self) -> dict[str, Edge]:
        """Weighted operators whose weight and bias are read by nobody else, by name."""
        known = map_of(self.graph)
        edges = known.edges.values()
        return {e.node.name: e for e in edges if all(known.reads[p] == 1 for p in (e.weight, bias_of(e)) if p)}

    @cached_property
    def gained(self) -> dict[str, str]:
        """Norms without a shift, by the value they make: their gain."""
        return {n.node.name: n.gain for n in norms_of(self.graph) if n.gain and not n.shift}

    def read(self, use: Use) -> str:
        """The value that is read there."""
        return map_of(self.graph).maker[use[0]].values()[use[1]]

    def fed(self, use: Use, turned: bool = False) -> Fed | None:
        """The operator whose channels the heads read there, (samples, heads, tokens, width) or without heads."""
        way = way_to(self.graph, self.read(use), use[0], self.own)
        if way is None:
            return None
        edge = self.own[way.start]
        numbers = way.numbered(channels(self.shapes[way.start], axis_of(edge)))
        if not undivided(way, self.graph, numbers):
            return None
        order = _by_head(numbers[way.end].transpose(-1, -2) if turned else numbers[way.end])
        return None if order is None else Fed(edge, way, order)

    def rotates(self, way: Way, turned: bool) -> bool:
        """Whether pairs half a width apart are turned on the way, and nothing else: seen on random numbers."""
        if way.direct:
            return False
        source = torch.Generator().manual_seed(0)
        start = torch.randn(self.shapes[way.start], generator=source, dtype=torch.float64)
        params = {n: t[0].cpu() for n, t in {**self.case.batch.fixed, **self.case.batch.weights}.items()}
        values = {way.start: start.to(self.case.dtype)}
        moved = way.numbered(values[way.start])[way.end]
        for node in way.nodes:
            values[node.name] = node.run(values, params)
        before, after = (_pair_lengths(t.transpose(-1, -2) if turned else t) for t in (moved, values[way.end]))
        return torch.allclose(before, after)

    def gain(self, use: Use) -> str | None:
        """The gain of the norm whose values, all of them, the heads read there."""
        way = way_to(self.graph, self.read(use), use[0], self.gained)
        return None if way is None else self.gained[way.start]

    def features(self, mixed: str, shape: tuple[int, ...]) -> Fed | None:
        """The operator that reads what the heads make, `order` being its feature for each of them."""
        way = way_on(self.graph, mixed)
        if way is None or way_edge(self.graph, way).node.name not in self.own:
            return None
        heads, width = shape
        size = self.shapes[mixed]
        place = torch.arange(heads * width).reshape((heads, 1, width) if len(size) == 4 else (1, width))
        feature = way.numbered(place.expand(size).contiguous())[way.end].flatten(0, -2)[0]
        if not torch.equal(feature.sort().values, torch.arange(heads * width)):
            return None
        return Fed(way_edge(self.graph, way), way, feature.argsort().reshape(heads, width))


def _pair_lengths(t: Tensor) -> Tensor:
    half = t.shape[-1] // 2
    return t[..., :half].square() + t[..., half : 2 * half].square()


def way_edge(graph: Graph, way: Way) -> Edge:
    """The weighted operator at the end of a way."""
    known = map_of(graph)
    return known.edges[known.readers[way.end][0].name]


def _by_head(numbers: Tensor) -> Tensor | None:
    """(samples, heads, tokens, width), or without heads, as (heads, width); None where tokens or samples differ."""
    whole = numbers if numbers.dim() == 4 else numbers.unsqueeze(1)
    if whole.dim() != 4:
        return None
    order = whole[0, :, 0]
    return order if bool((whole == order[None, :, None]).all()) else None
