"""Graphs of single units, and the patterns their activations can have."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

Place = tuple[int, str]  # a sample and a vertex


@dataclass(frozen=True)
class Edge:
    """One connection; without a weight it passes on what it gets, as an identity skip or a pool's window does."""

    tail: str
    head: str
    weight: str | None

    @property
    def name(self) -> str:
        """Its name, and its weight's symbol where no other edge shares that."""
        return f"{self.tail}{'=' if self.weight is None else '>'}{self.head}"


@dataclass(frozen=True)
class Shape:
    """A directed acyclic graph of single units, in topological order.

    pools take the largest of what comes in; other hidden vertices apply gate * z^degree. slopes: gates
    are free symbols, not 0 or 1. bend: the activation is gate * z + z^3, which has no degree: for teeth.
    """

    title: str
    inputs: tuple[str, ...]
    hidden: tuple[str, ...]
    outputs: tuple[str, ...]
    edges: tuple[Edge, ...]
    biased: bool = False
    samples: int = 1
    pools: frozenset[str] = frozenset()
    degree: int = 1
    slopes: bool = False
    bend: bool = False

    def __str__(self) -> str:
        words = [self.title, *(["biased"] if self.biased else []), f"{self.samples} sample" + "s" * (self.samples > 1)]
        words += [f"activation of degree {self.degree}"] * (self.degree > 1) + ["any slopes"] * self.slopes
        return ", ".join(words)

    @property
    def gated(self) -> tuple[str, ...]:
        """The vertices with an activation."""
        return tuple(v for v in self.hidden if v not in self.pools)

    @property
    def biases(self) -> tuple[str, ...]:
        """The symbols of the biases: one per unit that is neither an input nor a pool."""
        return tuple(f"b>{v}" for v in (*self.gated, *self.outputs)) if self.biased else ()

    @property
    def weights(self) -> tuple[str, ...]:
        """The symbols of the weights; one that several edges share counts once."""
        return tuple(dict.fromkeys(e.weight for e in self.edges if e.weight))

    @property
    def is_tied(self) -> bool:
        """Whether several edges share a weight."""
        return len(self.weights) < sum(e.weight is not None for e in self.edges)

    @property
    def layers(self) -> dict[str, list[Edge]]:
        """The edges of a chain by the layer they enter: h0, h1, ..., y."""
        heads = dict.fromkeys(e.head[:-1] for e in self.edges)
        return {head: [e for e in self.edges if e.head[:-1] == head] for head in heads}

    def into(self, vertex: str) -> tuple[Edge, ...]:
        """The edges that enter a vertex."""
        return tuple(e for e in self.edges if e.head == vertex)


@dataclass(frozen=True)
class Pattern:
    """Which units are active and which edge wins each pool, per sample."""

    gates: Mapping[Place, int]
    winners: Mapping[Place, int]


def patterns(shape: Shape, *, active: bool = False) -> Iterator[Pattern]:
    """Every pattern of a shape, reachable or not; with `active` those that have all gates open."""
    samples = range(shape.samples)
    gated = [(s, v) for s in samples for v in shape.gated]
    pools = [(s, v) for s in samples for v in shape.hidden if v in shape.pools]
    open_gates = [(1,) * len(gated)] if active or shape.slopes else product((0, 1), repeat=len(gated))
    for gates in open_gates:
        for winners in product(*(range(len(shape.into(v))) for _, v in pools)):
            yield Pattern(dict(zip(gated, gates, strict=True)), dict(zip(pools, winners, strict=True)))
