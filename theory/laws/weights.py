"""Laws of the weights of linear and convolution operators, for any objective: of each operator, and of tied ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pruning.graph import Edge, Graph, Node
from theory.case import Case
from theory.impostors import modules as impostors
from theory.law import Balances, Grade, Subject, folklore, law
from theory.networks import smallest
from theory.nodes.heads import bias_of
from theory.nodes.local import Point, balanced, located
from theory.nodes.ways import axis_of, map_of
from theory.subjects import the_loss


@dataclass(frozen=True, eq=False)
class Weighted:
    """A weighted operator."""

    edge: Edge

    @property
    def node(self) -> Node:
        """The operator."""
        return self.edge.node

    @property
    def points(self) -> list[Point]:
        """What it reads and makes."""
        return [(self.node.name, 0), self.node.name]

    @property
    def parameters(self) -> list[str | None]:
        """Weight and bias."""
        return [self.edge.weight, bias_of(self.edge)]


def weighted_in(graph: Graph) -> list[Weighted]:
    """The operators whose weight and bias nobody else reads."""
    reads = map_of(graph).reads
    sites = [Weighted(edge) for edge in graph.edges if len(edge.node.values()) == 1]
    return [s for s in sites if all(reads[p] == 1 for p in s.parameters if p)]


def into_channels(edge: Edge, terms: Tensor) -> Tensor:
    """(problems, *weight) summed to (problems, output channels)."""
    count = len(edge.heads)
    return replace(edge, heads=torch.arange(count)).into(terms, count)


def out_of_channels(edge: Edge, terms: Tensor) -> Tensor:
    """(problems, *weight) summed to (problems, input channels)."""
    count = len(edge.tails)
    return replace(edge, tails=torch.arange(count)).out_of(terms, count)


def by_channel(edge: Edge, terms: Tensor) -> Tensor:
    """(problems, *value) summed to (problems, channels)."""
    return terms.movedim(2 if axis_of(edge) == 1 else -1, 1).flatten(2).sum(2)


@folklore(the_loss, smallest.biased_net)
def bias_forgotten(case: Case) -> Iterator[Balances]:
    """The saliency of a layer's weights equals the saliency that leaves the layer, bias or no bias."""
    yield from _at_weights(case, counted=0)


@law(
    "A8",
    subject=Subject.MODULE,
    claim=None,
    source="Tanaka et al. 2020, Theorem 1, at one linear or convolution operator",
    impostor=impostors.quantised,
    grades=(Grade.EXACT, Grade.ORDER),
    corrects=(bias_forgotten,),
)
def weighted_operators(case: Case) -> Iterator[Balances]:
    """Channel by channel, a layer's weights have the saliency that leaves it less its bias's, and that enters it."""
    yield from _at_weights(case)


def _at_weights(case: Case, counted: int = 1) -> Iterator[Balances]:
    for site, local in located(case, weighted_in(case.graph)):
        edge, where = site.edge, f"{site.node.where}: {site.node.kind}"
        s, b = local.saliency(edge.weight), counted * local.saliency(bias_of(edge)).flatten(1)
        x, y = (local.flow(p) for p in site.points)
        into, size = into_channels(edge, s), into_channels(edge, s.abs()) + b.abs() + by_channel(edge, y.abs())
        yield balanced(case, f"{where}, weights and bias", into + b, by_channel(edge, y), size, certified=True)
        size = out_of_channels(edge, s.abs()) + by_channel(edge, x.abs())
        yield balanced(case, f"{where}, weights", out_of_channels(edge, s), by_channel(edge, x), size, certified=True)


@dataclass(frozen=True, eq=False)
class Tied:
    """A weight and all the operators that read it."""

    weight: str
    edges: tuple[Edge, ...]

    @property
    def points(self) -> list[Point]:
        """What they make."""
        return [edge.node.name for edge in self.edges]

    @property
    def biases(self) -> list[str]:
        """Their biases, each once."""
        return list(dict.fromkeys(b for edge in self.edges if (b := bias_of(edge))))

    @property
    def parameters(self) -> list[str | None]:
        """The weight and the biases."""
        return [self.weight, *self.biases]


def _tied(case: Case) -> Iterator[Tied]:
    reads = map_of(case.graph).reads
    for weight in case.graph.weights:
        site = Tied(weight, tuple(edge for edge in case.graph.edges if edge.weight == weight))
        shared = all(reads[b] == sum(bias_of(e) == b for e in site.edges) for b in site.biases)
        alike = len({edge.transposed for edge in site.edges}) == 1
        if len(site.edges) == reads[weight] > 1 and shared and alike:
            yield site


@folklore(the_loss, smallest.tied_net)
def once(case: Case) -> Iterator[Balances]:
    """A tied weight has the saliency that leaves the last of its uses, as a layer of its own would."""
    yield from _over_uses(case, first=-1)


@law(
    "A11",
    subject=Subject.MODULE,
    claim=None,
    source="derived: the product rule",
    impostor=impostors.second_use_still,
    grades=(Grade.ORDER,),
    corrects=(once,),
)
def tied_weights(case: Case) -> Iterator[Balances]:
    """A tied weight has, channel by channel, the saliency that leaves all its uses together less their biases'."""
    yield from _over_uses(case)


def _over_uses(case: Case, first: int = 0) -> Iterator[Balances]:
    for site, local in located(case, _tied(case)):
        s = local.saliency(site.weight)
        uses, biases = site.edges[first:], site.biases[first:]
        terms = [by_channel(e, local.flow(e.node.name)) for e in uses] + [-local.saliency(b) for b in biases]
        parts = [by_channel(e, local.flow(e.node.name).abs()) for e in site.edges]
        size = torch.stack([into_channels(site.edges[0], s.abs()), *parts]).sum(0)
        left = into_channels(site.edges[0], s)
        yield balanced(case, f"{site.edges[0].node.where}: tied weight", left, torch.stack(terms).sum(0), size)
