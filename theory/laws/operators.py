"""Kirchhoff's law at single operators, for any objective: what flows in flows out, for factors, forks and weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from pruning.graph import INPUT, Graph, Node
from theory.case import Case
from theory.impostors import modules as impostors
from theory.law import Balances, Grade, Subject, folklore, law
from theory.networks import smallest
from theory.networks.outside import tanh_net
from theory.nodes.local import Local, Point, balanced, located, total
from theory.nodes.ways import added, map_of, passes
from theory.subjects import the_loss

LEMMA = "Euler's identity, operator by operator"


@dataclass(frozen=True, eq=False)
class Operator:
    """One node: all that it reads and what it makes."""

    node: Node

    @property
    def uses(self) -> list[Point]:
        """The values as it reads them."""
        return [(self.node.name, i) for i in range(len(self.node.values()))]

    @property
    def points(self) -> list[Point]:
        """Those, and what it makes."""
        return [*self.uses, self.node.name]

    @property
    def parameters(self) -> Sequence[str | None]:
        """What it adds."""
        return added(self.node)


def _kept(local: Local, site: Operator) -> int:
    """How many axes are not summed: a pool keeps samples and channels apart."""
    return 3 if "_pool" in site.node.kind and local.value[site.node.name].dim() == 5 else 1


def _through(case: Case, site: Operator, local: Local, times: float = 1.0) -> Iterator[Balances]:
    if site.node.name not in local.value:
        return  # it makes no numbers that a slope could be taken by
    kept, out = _kept(local, site), local.flow(site.node.name)
    terms = [local.flow(p) for p in site.uses if p in local.value] + [local.saliency(n) for n in site.parameters]
    into = torch.stack([total(t, kept) for t in terms]).sum(0)
    size = torch.stack([total(t.abs(), kept) for t in terms]).sum(0) + total(out.abs(), kept)
    yield balanced(case, f"{site.node.where}: {site.node.kind}", times * into, total(out, kept), size, certified=True)


@folklore(the_loss, smallest.overlapping_net)
def overlap_multiplies(case: Case) -> Iterator[Balances]:
    """Pools whose windows overlap break conservation: what goes in counts once for each window that reads it."""
    for site, local in located(case, [Operator(n) for n in case.graph.nodes if "_pool" in n.kind]):
        sides = [torch.as_tensor(site.node.args[i]).prod() for i in (1, 2)]
        yield from _through(case, site, local, float(sides[1] / sides[0]))


@law(
    "1b.degree_one",
    subject=Subject.MODULE,
    claim=None,
    source=f"{LEMMA}; pools, padding, sums, moves, activations of degree 1",
    impostor=impostors.unsplit_max,
    breaks_on=(the_loss, tanh_net),
    grades=(Grade.EXACT, Grade.ORDER),
    corrects=(overlap_multiplies,),
)
def degree_one_operators(case: Case) -> Iterator[Balances]:
    """At an operator of degree 1 all that flows in flows out: pools of any kind, sums, moves, ReLU and its kin."""
    known = map_of(case.graph)
    weighted = known.edges
    every = (n for n in case.graph.nodes if n.values() and n.name not in weighted)
    found = [n for n in every if passes(n) or (case.outside and len(n.args) == 1)]
    sites = [Operator(n) for n in found if all(known.reads[p] == 1 for p in added(n))]
    for site, local in located(case, sites):
        yield from _through(case, site, local)


@dataclass(frozen=True, eq=False)
class Fork:
    """A value and all its uses."""

    value: str
    uses: tuple[tuple[str, int], ...]

    @property
    def points(self) -> list[Point]:
        """All of them."""
        return [self.value, *self.uses]

    @property
    def parameters(self) -> list[str | None]:
        """None."""
        return []


def _forks(graph: Graph) -> Iterator[Fork]:
    known = map_of(graph)
    for value in (INPUT, *known.maker):
        readers = {n.name: n for n in known.readers[value]}
        uses = [(n, i) for n, node in readers.items() for i, name in enumerate(node.values()) if name == value]
        if value != graph.output and len(uses) > 1:
            yield Fork(value, tuple(uses))


@folklore(the_loss, smallest.skip_net)
def weights_alone(case: Case) -> Iterator[Balances]:
    """What a value carries leaves it through weights, beside a skip connection as well."""
    known = map_of(case.graph)
    for site, local in located(case, _forks(case.graph)):
        uses = [u for u in site.uses if u[0] in known.edges]
        out = torch.stack([total(local.flow(u)) for u in uses]).sum(0)
        yield balanced(case, f"{site.value}", total(local.flow(site.value)), out, total(local.flow(site.value).abs()))


@law(
    "1b.fork",
    subject=Subject.MODULE,
    claim=None,
    source="the chain rule",
    impostor=impostors.activity,
    grades=(Grade.EXACT, Grade.ORDER),
    corrects=(weights_alone,),
)
def forks(case: Case) -> Iterator[Balances]:
    """What a value carries is the sum of what each of its uses takes, a skip connection's included."""
    for site, local in located(case, _forks(case.graph)):
        if site.value not in local.value:
            continue
        flows = [local.flow(p) for p in site.uses]
        size = torch.stack([total(f.abs()) for f in flows]).sum(0)
        uses = torch.stack([total(f) for f in flows]).sum(0)
        yield balanced(case, site.value, total(local.flow(site.value)), uses, size, certified=True)


@folklore(the_loss, smallest.product_net)
def factors_share(case: Case) -> Iterator[Balances]:
    """The factors of a product share what leaves it: what flows in flows out."""
    yield from _at_products(case, alone=False)


@law(
    "1b.product",
    subject=Subject.MODULE,
    claim=None,
    source=f"{LEMMA}: degree 1 in each factor",
    impostor=impostors.still_factor,
    grades=(Grade.ORDER,),
    corrects=(factors_share,),
)
def products(case: Case) -> Iterator[Balances]:
    """Each factor of a product carries all that leaves it: what flows in is twice what flows out."""
    yield from _at_products(case)


def _at_products(case: Case, alone: bool = True) -> Iterator[Balances]:
    found = (n for n in case.graph.nodes if n.kind in ("mul", "matmul", "bmm") and len(n.values()) == 2)
    for site, local in located(case, [Operator(n) for n in found if not n.parameters()]):
        out, flows = local.flow(site.node.name), [local.flow(p) for p in site.uses]
        for flow in flows if alone else [flows[0].flatten(1).sum(1) + flows[1].flatten(1).sum(1)]:
            size = total(flow.abs()) + total(out.abs())
            yield balanced(case, f"{site.node.where}: {site.node.kind}", total(flow), total(out), size)
