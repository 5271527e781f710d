"""Cuts by the flow of values: at any moment of the forward pass all of the flow is still to come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from pruning.graph import INPUT, Graph
from theory.case import Case
from theory.impostors.modules import unsplit_max
from theory.law import Balances, Grade, Subject, law
from theory.networks.outside import tanh_net
from theory.nodes.local import Local, Point, balanced, located, total
from theory.subjects import the_loss
from theory.traits import Trait

CUTS = 8  # moments looked at, per network


@dataclass(frozen=True, eq=False)
class Moment:
    """After some operators and before the others: the uses to come of what has been made, and the shifts to come."""

    where: str
    crossing: Sequence[Point]
    output: str
    shifts: Sequence[str | None]

    @property
    def points(self) -> Sequence[Point]:
        """The values to measure."""
        return [*self.crossing, self.output]

    @property
    def parameters(self) -> Sequence[str | None]:
        """The shifts to measure."""
        return self.shifts


@law(
    "A3",
    subject=Subject.OBJECTIVE,
    claim=None,
    needs={Trait.HOMOGENEOUS},
    source="Tanaka et al. 2020, Theorem 2: a cut through values, skips included, and the shifts behind it",
    impostor=unsplit_max,
    breaks_on=(the_loss, tanh_net),
    grades=(Grade.ORDER,),
)
def cut_of_values(case: Case) -> Iterator[Balances]:
    """At any moment of the forward pass what is still to be read carries, with the shifts to come, <y, dR/dy>."""
    for site, local in located(case, _moments(case)):
        if all(point in local.value for point in site.crossing):  # not what an operator gives as several at once
            yield _cut(case, site, local)


def _cut(case: Case, site: Moment, local: Local) -> Balances:
    out = local.flow(site.output)
    terms = [local.flow(p) for p in site.crossing] + [local.saliency(n) for n in site.shifts]
    into = torch.stack([total(t) for t in terms]).sum(0)
    size = torch.stack([total(t.abs()) for t in terms]).sum(0) + total(out.abs())
    return balanced(case, f"before {site.where}", into, total(out), size)


def _moments(case: Case) -> list[Moment]:
    """Some of the moments, at random where there are many."""
    count = len(case.graph.nodes)
    drawn = torch.randperm(count, generator=case.source(11))[:CUTS].sort().values
    return [_moment(case.graph, int(i)) for i in drawn]


def _moment(graph: Graph, at: int) -> Moment:
    """The moment before the node number `at`."""
    made = {INPUT, *(node.name for node in graph.nodes[:at])}
    to_come = graph.nodes[at:]
    crossing = [(n.name, i) for n in to_come for i, value in enumerate(n.values()) if value in made]
    later = {node.name for node in to_come}
    shifts = [s.name for s in graph.sources if s.node.name in later]
    return Moment(graph.nodes[at].where, crossing, graph.output, shifts)
