"""Points: rational values of a network's symbols at which its units really have the pattern it was expanded on."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import islice
from math import prod
from random import Random

from theory.proofs.graph import Place
from theory.proofs.symbolic import Network, Poly

Point = Mapping[str, Fraction]
DRAWS = 5_000


def points(net: Network, *, positive: bool = False) -> Iterator[Point]:
    """Random points of the network's pattern, off every kink and tie; none where DRAWS draws find none."""
    source = Random(0)
    units = range(1, 4) if positive else (-3, -2, -1, 1, 2, 3)
    for _ in range(DRAWS):
        point = {n: Fraction(source.choice(units), source.choice((1, 2))) for n in net.symbol}
        point |= {n: Fraction(1) for n in net.symbol if n.startswith(("use:", "gate:"))}
        if all(_is_open(point, net, place) == bool(gate) for place, gate in net.pattern.gates.items()) and all(
            _winner(point, net, place) == winner for place, winner in net.pattern.winners.items()
        ):
            yield point


def a_point(net: Network) -> Point:
    """The first of `points`. Raises ValueError where there is none."""
    for point in islice(points(net), 1):
        return point
    raise ValueError(f"{net.shape}: found no weights with the pattern {net.pattern}")


def at(point: Point, net: Network, poly: Poly) -> Fraction:
    """The value of a polynomial of the network's ring."""
    if not hasattr(poly, "terms"):
        return Fraction(poly)
    values = [point[n] for n in net.symbol]
    return sum(
        (int(c) * prod((v**e for v, e in zip(values, powers, strict=True) if e), start=Fraction(1)))
        for powers, c in poly.terms()
    ) + Fraction(0)


def _is_open(point: Point, net: Network, place: Place) -> bool | None:
    """Whether a unit is active; None on its kink."""
    before = at(point, net, net.before[place])
    return None if before == 0 else before > 0


def _winner(point: Point, net: Network, place: Place) -> int | None:
    """Which edge brings a pool the largest value; None on a tie."""
    sample, pool = place
    values = [at(point, net, net.value[sample, e.tail]) for e in net.shape.into(pool)]
    return None if values.count(max(values)) > 1 else values.index(max(values))
