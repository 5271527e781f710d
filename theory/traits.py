"""Traits: what a law may need of a network."""

from enum import StrEnum

from pruning.graph import Graph


class Trait(StrEnum):
    """What a law may need of a network."""

    HOMOGENEOUS = "every unit positively homogeneous of degree 1, no tied weight"
    CHAIN = "layers in sequence, each a cut between input and output"
    MULTILINEAR = "no max between paths: R is a polynomial"
    GENERIC = "real-valued weights: no exact ties or cancellations"
    SMALL = "small enough for the law's own pruning run"


def traits_of(graph: Graph) -> set[Trait]:
    """What a graph says of itself: homogeneous, a chain, multilinear."""
    found = {
        Trait.HOMOGENEOUS: not graph.objections and not graph.transfers,
        Trait.CHAIN: graph.is_chain,
        Trait.MULTILINEAR: not any("max_pool" in node.kind for node in graph.nodes),
    }
    return {trait for trait, holds in found.items() if holds}
