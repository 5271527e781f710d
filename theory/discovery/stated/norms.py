"""What the catalogue states of norms and scales as constant linear laws."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from pruning.graph import Graph, Node, Role
from theory.case import Case
from theory.discovery.stated.terms import Terms, Use, balanced_but_for, chosen_units, unit_terms
from theory.nodes.norms import norms_of
from theory.nodes.ways import added, map_of, passes, way_to

# the saliency of their parameters enters units, and nothing that enters before them goes through
_STARTS = {"embedding", "layer_norm", "rms_norm", "group_norm", "instance_norm", "batch_norm"}


def norm_laws(case: Case) -> Iterator[Terms]:
    """Biases before norms, the gains of norms that several operators amount to, scales."""
    yield from _idle_biases(case)
    yield from _composed_gains(case.graph)
    yield from _scales(case.graph)


def _idle_biases(case: Case) -> Iterator[Terms]:
    """A bias before a norm of its channel carries nothing."""
    stops = {e.node.name: e for e in case.graph.edges}
    for norm in norms_of(case.graph):
        way = way_to(case.graph, map_of(case.graph).maker[norm.node.name].values()[0], norm.node.name, stops)
        alone = norm.kind == "group_norm" and case.batch.fixed[norm.gain].numel() == norm.axes if norm.gain else False
        if not (norm.of_channels or alone) or way is None or way.nodes:
            continue
        id = "1b.group_bias" if alone else "1b.layer_before_norm"
        for source in (s for s in case.graph.sources if s.node.name == way.start):
            for c in range(source.units.numel()):
                mask = torch.zeros(source.units.numel()).double().index_fill(0, torch.tensor([c]), 1)
                words = f"{norm.node.where}: the bias of channel {c} before it carries nothing"
                yield Terms(
                    id, words, rest={(way.start, source.name): mask.reshape(source.units.shape)}, site=norm.node.where
                )


def _composed_gains(graph: Graph) -> Iterator[Terms]:
    """The gain of an RMS norm that several operators amount to is all that leaves it."""
    gains = {norm.gain for norm in norms_of(graph)}
    fed = {u for e in graph.edges for u in e.heads.tolist()} | {
        u for s in graph.entering for u in s.units.flatten().tolist()
    }
    for source in (s for s in graph.attached if s.role is Role.SCALE and s.name in gains):
        units = torch.unique(source.units).tolist()
        if fed & set(units) or not balanced_but_for(graph, units, set()):
            continue
        for unit in units:
            here = unit_terms(graph, chosen_units(graph, [unit]), "1b.gain_and_shift", "")
            words = f"{source.node.where}: gain of unit {unit - graph.junction_of(unit).first} = what leaves"
            rest = {**here.rest, (source.node.name, source.name): (source.units == unit).double()}
            yield Terms(here.id, words, into=here.into, out=here.out, rest=rest, site=source.node.where)


def _scales(graph: Graph) -> Iterator[Terms]:
    """A scale that everything which enters a unit passes carries all of it."""
    for source in (s for s in graph.attached if s.role is Role.SCALE and s.node.kind == "mul"):
        before = _before(graph, source.node)
        if before is None:
            continue
        for unit in torch.unique(source.units).tolist():
            into = {e.node.name: (e.heads == unit).double() for e in graph.edges if e.node.name in before}
            rest: dict[Use, Tensor] = {
                (s.node.name, s.name): (s.units == unit).double() for s in graph.entering if s.node.name in before
            }
            rest[source.node.name, source.name] = -(source.units == unit).double()
            words = f"{source.node.where}: scale of unit {unit - graph.junction_of(unit).first} = what enters before it"
            yield Terms("1b.batch_norm_eval", words, into=into, rest=rest, site=source.node.where)


def _before(graph: Graph, node: Node) -> set[str] | None:
    """The operators whose parameters enter before a node, if they reach nothing but through it."""
    known, found, todo = map_of(graph), set[str](), [*node.values()]
    while todo:
        made = known.maker.get(todo.pop())
        if made is None:
            return None
        if made.name in found:
            continue
        found.add(made.name)
        starts = made.name in known.edges or made.kind in _STARTS
        if not starts:
            if not passes(made) or set(made.parameters()) - set(added(made)):
                return None
            todo += made.values()
    reached = [reader.name for name in found for reader in known.readers[name]]
    return found if all(name in found or name == node.name for name in reached) else None
