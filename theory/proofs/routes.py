"""Routes through a shape: its paths, and the sets of edges that each path crosses exactly once."""

from collections.abc import Iterator
from functools import cache
from itertools import product
from math import prod

from theory.proofs.graph import Edge, Shape
from theory.proofs.symbolic import Network, Poly

Path = tuple[str, ...]  # edges from a source to an output; a bias is the first edge of its own paths


@cache
def paths(shape: Shape) -> tuple[Path, ...]:
    """Every path from an input or a bias to an output."""
    starts = [*(((), v) for v in shape.inputs), *(((b,), b[2:]) for b in shape.biases)]
    return tuple(path for taken, vertex in starts for path in _onwards(shape, taken, vertex))


def _onwards(shape: Shape, taken: Path, vertex: str) -> Iterator[Path]:
    if vertex in shape.outputs:
        yield taken
    for edge in shape.edges:
        if edge.tail == vertex:
            yield from _onwards(shape, (*taken, edge.name), edge.head)


def worth(net: Network) -> dict[Path, Poly]:
    """Every path's value for one sample: its input, its weights or bias, and its output's cotangent, multiplied."""
    heads = {e.name: (e.head, net.symbol.get(e.weight or "", 1)) for e in net.shape.edges}
    heads |= {b: (b[2:], net.symbol[b]) for b in net.shape.biases}
    start = {e.name: net.symbol[f"x@0{e.tail}"] for e in net.shape.edges if e.tail in net.shape.inputs}
    return {
        p: start.get(p[0], 1) * prod(heads[e][1] for e in p) * net.symbol[f"g@0{heads[p[-1]][0]}"]
        for p in paths(net.shape)
    }


@cache
def exact_cuts(shape: Shape) -> tuple[frozenset[str], ...]:
    """Every set of edges and biases that each path crosses exactly once."""
    names = [*(e.name for e in shape.edges), *shape.biases]
    routes = [sum(1 << names.index(e) for e in path) for path in paths(shape)]
    sets = (s for s in range(1 << len(names)) if all((s & r).bit_count() == 1 for r in routes))
    return tuple(frozenset(n for i, n in enumerate(names) if s >> i & 1) for s in sets)


def sides(shape: Shape) -> Iterator[frozenset[str]]:
    """Every set of vertices with the inputs and without the outputs."""
    for flags in product((True, False), repeat=len(shape.hidden)):
        yield frozenset(shape.inputs) | {v for v, flag in zip(shape.hidden, flags, strict=True) if flag}


def crossing(shape: Shape, side: frozenset[str]) -> tuple[list[Edge], list[Edge]]:
    """The edges that leave a set of vertices, and those that return to it."""
    over = [e for e in shape.edges if e.tail in side and e.head not in side]
    return over, [e for e in shape.edges if e.tail not in side and e.head in side]
