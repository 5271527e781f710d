"""Survey: from operators to a graph; a walk over them finds which unit each entry of each value belongs to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pruning.graph import INPUT, Edge, Graph, Junction, Node, Param, Role, Transfer, leaves
from pruning.masks import Tensors
from pruning.placing import Placed, Places, place
from pruning.units import NOBODY, Units


def build(nodes: Sequence[Node], output: str, example: Tensor, params: Tensors) -> Graph:
    """The graph of `nodes`; shapes come from one run on the device of `example` and `params`.

    On the meta device nothing is computed; a tiny network is run several times sooner on the CPU.

    Raises ValueError where the nodes can't be run on `example`'s shape.
    """
    places = _walk(nodes, example, params)
    _object_to_ties(nodes, places)
    ends = _entries(places.at[output])
    across = torch.isin(places.units.rooted(_entries(places.at[INPUT])), places.units.rooted(ends))
    places.units.object_to(_entries(places.at[INPUT])[across], f"{output}: an identity path joins input and output")
    return _Numbering(places).graph(tuple(nodes), output)


def _walk(nodes: Iterable[Node], example: Tensor, params: Tensors) -> Places:
    units = Units()
    start = units.fresh(example[:1].numel()).reshape(1, *example.shape[1:]).expand(example.shape)
    places = Places(units, params, {INPUT: start})
    values = {INPUT: example}
    for node in nodes:
        try:
            values[node.name] = node.run(values, places.params)
        except Exception as error:
            raise ValueError(f"{node.where}: {node.kind} can't be run on these shapes: {error}") from error
        places.at[node.name] = place(node, _shape(values[node.name]), places)
    return places


def _shape(made: Tensor | Sequence[Tensor]) -> torch.Size | list[torch.Size]:
    return made.shape if isinstance(made, Tensor) else [m.shape for m in made]


def _object_to_ties(nodes: Iterable[Node], places: Places) -> None:
    read = (leaf for node in nodes for leaf in leaves([node.args, [a for _, a in node.kwargs]]))
    uses = Counter(leaf.name for leaf in read if isinstance(leaf, Param))
    for edge in places.edges:
        if uses[edge.weight] > 1:
            text = f"{edge.node.where}: the weight {edge.weight!r} is used more than once (tied)"
            places.units.object_to(torch.cat([edge.tails, edge.heads]), text)
    for source in places.attached:
        if uses[source.name] > 1 and source.role is not Role.SCALE:
            text = f"{source.node.where}: the parameter {source.name!r} is used more than once (tied)"
            places.units.object_to(source.units, text)


def _entries(placed: Placed) -> Tensor:
    found = [placed] if isinstance(placed, Tensor) else placed
    entries: Tensor = torch.unique(torch.cat([p.flatten() for p in found]))
    return entries


class _Numbering:
    """Final numbers for the units: those that the same operators touch lie side by side, as one junction."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.rooted = {n: p for n, p in places.at.items() if isinstance(p, Tensor)}
        self.rooted = {n: _narrowed(places.units.rooted(p)) for n, p in self.rooted.items()}
        self.objections = places.units.objections()

    def graph(self, nodes: tuple[Node, ...], output: str) -> Graph:
        self._object_to_unsound_products(output)
        groups = self._groups()
        order = [unit for group in groups.values() for unit in group]
        self.number = torch.full((max([*order, 0]) + 2,), int(NOBODY))  # nobody is the last, and stays
        self.number[torch.tensor(order, dtype=torch.int64)] = torch.arange(len(order))
        edges = tuple(replace(e, heads=self._of(e.heads), tails=self._of(e.tails)) for e in self.places.edges)
        attached = tuple(replace(s, units=self._of(s.units)) for s in self.places.attached)
        at = {n: self.number[p] for n, p in self.rooted.items()}
        made = Graph(
            nodes=nodes,
            output=output,
            junctions=(),
            edges=edges,
            attached=attached,
            transfers=tuple(replace(t, tails=self.number[t.tails], heads=self.number[t.heads]) for t in self.transfers),
            places=at,
            inputs=_somebody(at[INPUT]),
            outputs=_somebody(at[output]),
        )
        return replace(made, junctions=tuple(self._junctions(nodes, groups, made)))

    def _of(self, numbers: Tensor) -> Tensor:
        return self.number[self.places.units.rooted(numbers)]

    def _object_to_unsound_products(self, output: str) -> None:
        """A product's units must be its own alone, or what it passes back to its factors is not known."""
        rooted, units = self.rooted, self.places.units
        taken = [rooted[INPUT], rooted[output], *(units.rooted(e.heads) for e in self.places.edges)]
        taken += [units.rooted(s.units) for s in self.places.attached if s.role is not Role.SCALE]
        others = set(torch.cat([t.flatten() for t in taken]).tolist())
        made = {(t.node.name, head) for t in self.places.transfers for head in units.rooted(t.heads).tolist()}
        makers = Counter(head for _, head in made)
        self.transfers: list[Transfer] = []
        for t in reversed(self.places.transfers):  # an objection goes back through the products before
            pairs = torch.unique(torch.stack([units.rooted(p) for p in (t.tails, t.heads)]), dim=1)
            self.transfers.insert(0, replace(t, tails=pairs[0], heads=pairs[1]))
            tails = Counter(pairs[1].tolist())
            for tail, head in pairs.T.tolist() if t.degree else ():
                texts = [*self.objections.get(tail, []), *self.objections.get(head, [])]
                if head in others or makers[head] > 1 or tails[head] > 1:
                    texts.append(f"{t.node.where}: what {t.node.kind} makes is joined with something else")
                if texts:
                    self.objections[tail] = list(dict.fromkeys(texts))

    def _groups(self) -> dict[tuple[object, ...], list[int]]:
        """Units by what touches them, in the order of their first."""
        touched: dict[int, list[object]] = {}
        parts = [(name, p) for name, p in self.rooted.items()]
        for i, edge in enumerate(self.places.edges):
            parts += [(f"into {i}", self.places.units.rooted(edge.heads))]
            parts += [(f"out of {i}", self.places.units.rooted(edge.tails))]
        parts += [(f"source {i}", self.places.units.rooted(s.units)) for i, s in enumerate(self.places.attached)]
        for name, numbers in parts:
            for unit in torch.unique(numbers).tolist():
                touched.setdefault(unit, []).append(name)
        touched.pop(-1, None)
        groups: dict[tuple[object, ...], list[int]] = {}
        for unit in sorted(touched):
            key = (*touched[unit], *self.objections.get(unit, []))
            groups.setdefault(key, []).append(unit)
        return groups

    def _junctions(
        self, nodes: tuple[Node, ...], groups: dict[tuple[object, ...], list[int]], graph: Graph
    ) -> Iterable[Junction]:
        first = 0
        edge_nodes = {e.node.name for e in graph.edges}
        for index, (key, units) in enumerate(groups.items()):
            touching = set(key)
            yield Junction(
                index=index,
                first=first,
                units=len(units),
                values=tuple(n for n in self.rooted if n in touching),
                incoming=_numbered(graph.edges, "into", touching),
                outgoing=_numbered(graph.edges, "out of", touching),
                sources=tuple(
                    s for i, s in enumerate(graph.attached) if f"source {i}" in touching and s.role is not Role.SCALE
                ),
                inner=tuple(n for n in nodes if n.name in touching and n.name not in edge_nodes),
                objections=tuple(self.objections.get(units[0], ())),
            )
            first += len(units)


def _numbered(edges: Sequence[Edge], how: str, touching: set[object]) -> tuple[Edge, ...]:
    return tuple(e for i, e in enumerate(edges) if f"{how} {i}" in touching)


def _somebody(numbers: Tensor) -> Tensor:
    found: Tensor = torch.unique(numbers)
    return found[found >= 0]


def _narrowed(numbers: Tensor) -> Tensor:
    """With length 1 along every axis where all entries are alike."""
    for axis in range(numbers.dim()):
        if numbers.shape[axis] > 1:
            first = numbers.narrow(axis, 0, 1)
            if numbers.stride(axis) == 0 or bool((numbers == first).all()):
                numbers = first
    return numbers
