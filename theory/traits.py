"""Traits: what a law may need of a network."""

from collections import Counter
from enum import StrEnum

import torch

from pruning.graph import Edge, Graph, Junction

MOST = 3_000  # weights of a network that is pruned over and over
MOST_IN_FRACTIONS = 400


class Trait(StrEnum):
    """What a law may need of a network."""

    HOMOGENEOUS = "every unit positively homogeneous of degree 1, no tied weight"
    OF_A_DEGREE = "every unit positively homogeneous, of degree 1 or another, no tied weight"
    CHAIN = "layers in sequence, each a cut between input and output"
    MONOTONE = "every operator monotone and convex on nonnegative values"
    MULTILINEAR = "no max between paths: R is a polynomial"
    GENERIC = "real-valued weights: no exact ties or cancellations"
    LINEAR = "two linear layers with nothing between them"
    SOFTMAX = "a linear layer last, its parameters its own, and its outputs compared by cross-entropy"
    SMALL = f"at most {MOST:,} weights: the law prunes slowly"
    TINY = f"at most {MOST_IN_FRACTIONS} weights: the law sums in exact fractions"
    WRITTEN = "a network of a family, written out for the oracle that sums over its paths"


LARGEST = {Trait.SMALL: MOST, Trait.TINY: MOST_IN_FRACTIONS}  # weights


def traits_of(graph: Graph) -> set[Trait]:
    """What a graph says of itself: homogeneous, of a degree, a chain, multilinear."""
    found = {
        Trait.HOMOGENEOUS: not graph.objections and not graph.transfers,
        Trait.OF_A_DEGREE: not graph.objections,
        Trait.CHAIN: graph.is_chain,
        Trait.MULTILINEAR: not any("max_pool" in node.kind for node in graph.nodes),
        Trait.LINEAR: bool(bottlenecks(graph)),
    }
    return {trait for trait, holds in found.items() if holds}


def bottlenecks(graph: Graph, activated: bool = False) -> list[Junction]:
    """Hidden units with one linear layer before and one behind them, and nothing between; `activated` lets it be."""
    return [j for j in graph.hidden if _is_between(j, j.incoming, j.outgoing) and (activated or not j.inner)]


def _is_between(junction: Junction, before: tuple[Edge, ...], behind: tuple[Edge, ...]) -> bool:
    units = torch.arange(junction.first, junction.first + junction.units)
    sides = [e.heads for e in before] + [e.tails for e in behind]
    plain = all(e.groups == 1 and len(e.shape) == 2 for e in (*before, *behind))
    return len(before) == len(behind) == 1 and plain and all(torch.equal(side, units) for side in sides)


def last_layer(graph: Graph) -> Edge | None:
    """The linear layer whose outputs are the network's, one per class along the last axis; None if there is none.

    Nor is one that shares a parameter: a slope by that is of all its uses.
    """
    found = (e for e in graph.edges if e.node.name == graph.output and len(e.shape) == 2)
    uses = Counter(name for node in graph.nodes for name in node.parameters())
    return next((e for e in found if all(uses[p] == 1 for p in e.node.parameters())), None)
