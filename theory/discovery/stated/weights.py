"""What the catalogue states of computed weights as constant linear laws: weight norm and spectral norm."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from pruning.graph import Node, Value
from theory.case import Case
from theory.discovery.stated.terms import Terms, balanced_but_for, chosen_units, unit_terms
from theory.nodes.heads import way_edge
from theory.nodes.ways import axis_of, channels, shapes_of, way_on

UNKNOWN = "is not known to be positively homogeneous"


def computed_weight_laws(case: Case) -> Iterator[Terms]:
    """A linear operator whose weight is g v / |v| or W over its norm: what it is made of, and what it passes on."""
    graph, made = case.graph, {n.name: n for n in case.graph.nodes if n.kind in ("weight_normed", "spectral_normed")}
    users = [n for n in graph.nodes if n.kind == "linear" and isinstance(w := n.args[1], Value) and w.name in made]
    excused = {f"{n.where}: linear {UNKNOWN} of degree 1, unit by unit" for n in users}
    readers = {n.values()[0]: n.name for n in users}
    read = {int(u): readers[v] for v in readers for u in torch.unique(graph.places[v])}
    for user in users:
        node = made[user.values()[1]]
        yield from _of_degree_zero(case, user, node)
        yield from _passed_through(case, user, node, read, excused)


def _id(made: Node) -> str:
    return "1b.weight_norm" if made.kind == "weight_normed" else "1b.spectral_norm"


def _of_degree_zero(case: Case, user: Node, made: Node) -> Iterator[Terms]:
    """S(v) = 0 per row of a weight norm; S(W) = 0 as a whole of a spectral norm."""
    name = made.parameters()[0]
    ones = torch.ones(case.batch.fixed[name].shape[1:]).double()
    rows = range(len(ones)) if made.kind == "weight_normed" else [None]
    for row in rows:
        mask = ones if row is None else torch.zeros_like(ones).index_fill(0, torch.tensor([row]), 1)
        words = f"{user.where}: {'the weight' if row is None else f'the direction of row {row}'} carries nothing in all"
        yield Terms(_id(made), words, rest={(made.name, name): mask}, site=made.name)


def _passed_through(case: Case, user: Node, made: Node, read: dict[int, str], excused: set[str]) -> Iterator[Terms]:
    """What enters is the flow of the operator, that of its gains where it has them; with the bias it leaves."""
    graph, id = case.graph, _id(made)
    start, end = (torch.unique(graph.places[v]).tolist() for v in (user.values()[0], user.name))
    fed = {u for made in read.values() for u in torch.unique(graph.places[made]).tolist()}  # that law says it below
    if not fed & set(start) and balanced_but_for(graph, start, excused):
        yield unit_terms(graph, chosen_units(graph, start), id, "", flows={user.name: -1.0})
    gain = made.parameters()[1] if made.kind == "weight_normed" else None
    if gain is not None:
        gains = {(made.name, gain): torch.ones(case.batch.fixed[gain].shape[1:]).double()}
        yield Terms(id, "", rest=gains, flows={user.name: -1.0})
    if gain is not None and len(end) != len(case.batch.fixed[gain][0]):
        yield from _read_by_one(case, user, made, gain)
        return
    if not balanced_but_for(graph, end, excused):
        return
    for units in [end] if gain is None or read.get(end[0]) else [[u] for u in end]:
        here = unit_terms(
            graph, chosen_units(graph, units), id, "", flows={read[end[0]]: -1.0} if end[0] in read else {}
        )
        rows = torch.tensor([end.index(u) for u in units])
        mask = torch.zeros(len(end)).double().index_fill(0, rows, 1)
        rest = {**here.rest, **{(user.name, b): mask for b in user.parameters()}}
        flows = {**here.flows, **({user.name: 1.0} if gain is None else {})}
        if gain is not None:
            rest[made.name, gain] = mask.unsqueeze(1)
        words = f"{user.where}: gain and bias of row {', '.join(map(str, rows.tolist()))} = what leaves"
        yield Terms(id, words, into=here.into, out=here.out, rest=rest, flows=flows, site=user.name)


def _read_by_one(case: Case, user: Node, made: Node, gain: str) -> Iterator[Terms]:
    """Where rows are no units, as with tokens: one weighted operator that reads all of them shows what leaves."""
    way = way_on(case.graph, user.name)
    if way is None:
        return
    edge = way_edge(case.graph, way)
    numbers = way.numbered(channels(shapes_of(case)[user.name], -1))[way.end].movedim(axis_of(edge), 0).flatten(1)
    if not bool((numbers == numbers[:, :1]).all()):
        return
    for row in range(len(case.batch.fixed[gain][0])):
        mask = (torch.arange(len(case.batch.fixed[gain][0])) == row).double()
        rest = {(made.name, gain): mask.unsqueeze(1), **{(user.name, b): mask for b in user.parameters()}}
        words = f"{user.where}: gain and bias of row {row} = what leaves"
        yield Terms(_id(made), words, out={edge.node.name: -(numbers[:, 0] == row).double()}, rest=rest, site=user.name)
