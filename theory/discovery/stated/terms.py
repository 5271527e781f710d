"""Terms: linear laws of saliencies by what they multiply, before they are written in rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch
from torch import Tensor

from pruning.graph import Edge, Graph, Junction

Use = tuple[str, str]  # a node by name, and the parameter it reads
Name = TypeVar("Name", str, Use)


@dataclass(frozen=True, eq=False)
class Terms:
    """A law: the sum of all terms is 0. `id` is its number in the catalogue.

    into, out: per weighted operator a coefficient for each output channel and each input channel; that of a weight
    is their sum. rest: those of other parameters, entry by entry. flows: those of flows that no parameter carries,
    by a name for each; laws in which they cancel are what is left. site: laws of one site and number are parts of
    one, and may be summed.
    """

    id: str
    words: str
    into: Mapping[str, Tensor] = field(default_factory=dict)
    out: Mapping[str, Tensor] = field(default_factory=dict)
    rest: Mapping[Use, Tensor] = field(default_factory=dict)
    flows: Mapping[str, float] = field(default_factory=dict)
    site: str = ""

    def plus(self, other: Terms) -> Terms:
        """Both laws as one."""
        return replace(
            self,
            words=f"{self.site}, summed over parts such as: {self.words.rpartition(': ')[2]}",
            into=_sum(self.into, other.into),
            out=_sum(self.out, other.out),
            rest=_sum(self.rest, other.rest),
            flows={n: self.flows.get(n, 0) + other.flows.get(n, 0) for n in {**self.flows, **other.flows}},
        )


def _sum(a: Mapping[Name, Tensor], b: Mapping[Name, Tensor]) -> dict[Name, Tensor]:
    return {n: a[n] + b[n] if n in a and n in b else a[n] if n in a else b[n] for n in {**a, **b}}


def summed_by_site(laws: Iterable[Terms]) -> list[Terms]:
    """The laws of each site as one."""
    found: dict[tuple[str, str], Terms] = {}
    single: list[Terms] = []
    for law in laws:
        key = law.id, law.site
        if not law.site:
            single.append(law)
        else:
            found[key] = found[key].plus(law) if key in found else law
    return [*single, *found.values()]


def unit_terms(graph: Graph, chosen: Tensor, id: str, words: str, flows: Mapping[str, float] | None = None) -> Terms:
    """What enters units less what leaves them, each as often as `chosen` (units,) says."""
    leaving = chosen @ passed_on(graph).mT
    into = {e.node.name: chosen[e.heads] for e in graph.edges}
    out = {e.node.name: -leaving[e.tails] for e in graph.edges}
    rest = {(s.node.name, s.name): chosen[s.units] for s in graph.entering}
    return Terms(id, words, _some(into), _some(out), {u: t for u, t in rest.items() if bool(t.any())}, flows or {})


def _some(found: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n: t for n, t in found.items() if bool(t.any())}


def passed_on(graph: Graph) -> Tensor:
    """Per unit (row), how often what leaves it through weights counts as leaving each unit (column)."""
    out = torch.eye(graph.units).double()
    for t in reversed(graph.transfers):
        out = out.index_add(-1, t.tails, t.degree * out[..., t.heads])
    return out


def unit_laws(graph: Graph, classes: Mapping[int, list[int]], allowed: Mapping[int, Junction]) -> Iterator[Terms]:
    """A1 or, where a power is passed on, A7 of each class of units that may all be summed over."""
    raised = {u for t in graph.transfers if t.degree != 1 for u in t.tails.tolist()}
    for units in classes.values():
        if not all(u in allowed for u in units):
            continue
        chosen = chosen_units(graph, units)
        junctions = dict.fromkeys(allowed[u].name for u in units)
        first = allowed[units[0]]
        single = f"unit {units[0] - first.first} after {first.name}"
        place = single if len(units) == 1 else f"all units after {' and '.join(junctions)}"
        id = "A7" if raised & set(units) else "A1"
        yield unit_terms(graph, chosen, id, f"{place}: what enters = {'degree times ' * (id == 'A7')}what leaves")


def each_alone(graph: Graph) -> dict[int, list[int]]:
    """Every unit for itself."""
    return {u: [u] for u in range(graph.units)}


def by_tensor(graph: Graph) -> dict[int, list[int]]:
    """Units in classes so that summed over one, all entries of a tensor have one coefficient."""
    root = torch.arange(graph.units)
    while True:
        before = root.clone()
        for side in _sides(graph):
            root[side] = root[side].min()
        root = root[root]
        if torch.equal(before, root):
            break
    classes: dict[int, list[int]] = {}
    for unit, first in enumerate(root.tolist()):
        classes.setdefault(first, []).append(unit)
    return classes


def _sides(graph: Graph) -> Iterator[Tensor]:
    for edge in graph.edges:
        yield from (edge.heads, edge.tails)
    yield from (s.units.flatten() for s in graph.entering)
    for t in graph.transfers:
        yield from (t.tails, t.heads)


def entering(
    edge: Edge, bias: str | None, channels: Tensor, factor: float
) -> tuple[dict[str, Tensor], dict[Use, Tensor]]:
    """Terms for the weights into some output channels of an operator, and its bias there."""
    mask = torch.zeros(len(edge.heads)).double().index_fill(0, channels, factor)
    return {edge.node.name: mask}, {} if bias is None else {(edge.node.name, bias): mask}


def chosen_units(graph: Graph, units: list[int]) -> Tensor:
    """1 for each of some units, 0 for the others: (units,)."""
    return torch.zeros(graph.units).double().index_fill(0, torch.tensor(units), 1)


def balanced_but_for(graph: Graph, units: list[int], excused: set[str]) -> bool:
    """Whether nothing but the objections `excused` speaks against it that what enters the units leaves them."""
    ends = {*graph.inputs.tolist(), *graph.outputs.tolist()}
    return not ends & set(units) and all(set(graph.junction_of(u).objections) <= excused for u in units)
