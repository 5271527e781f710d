"""Inequalities for objectives that sum over paths with nonnegative terms, max-pools and ties included.

An inequality is proved when the difference of its sides has no negative coefficient: weights, inputs,
cotangents and slacks are nonnegative. The winners of the pools are fixed at one point, where their slack
is 0; at any other the true maximum is the winner's value plus a nonnegative slack, a free symbol.
"""

from collections.abc import Iterable, Iterator
from itertools import combinations

from theory.proofs.paths import BLIND, CHAINS, GRAPHS, OTHERS, open_gates
from theory.proofs.scores import Score, of_weights
from theory.proofs.shapes import autoencoder, bypassed, chain, convolved, pooled, residual
from theory.proofs.statement import Identity, networks, states
from theory.proofs.symbolic import Network, Poly

POOLS = (pooled(2, 2, 1), pooled(1, 2, 2, 1), convolved(pool=True))
CONVEX = (autoencoder(1, 1), autoencoder(2, 2), chain(1, 2, 1, degree=2), chain(1, 1, 1, degree=3))
LOOSE = networks(active=True, slack=True)


@states(
    "B3'",
    source="R is convex in each weight: the winners at theta stay below the maximum elsewhere",
    shapes=(*POOLS, *CONVEX),
    build=LOOSE,
    wrong={**BLIND, "min-pools": {"largest": -1}},
)
def leave_one_out_bound(net: Network, score: Score = of_weights, largest: int = 1) -> Iterator[Identity]:
    """R never loses more than a weight's score when just that weight is set to zero."""
    amounts = score(net)
    for w in net.shape.weights:
        yield Identity(w, net.settled(net.objective), amounts[w] + _left(net, {w}, largest), at_most=True)


@states(
    "B4",
    source="Tanaka et al. 2020, section 5; from B2",
    shapes=(*CHAINS, *GRAPHS, *POOLS),
    build=LOOSE,
    wrong=OTHERS,
)
def score_range(net: Network, score: Score = of_weights) -> Iterator[Identity]:
    """No score is negative or above R."""
    for w, amount in score(net).items():
        yield Identity(f"{w}, above 0", 0, amount, at_most=True)
        yield Identity(f"{w}, below R", amount, net.settled(net.objective), at_most=True)


@states(
    "B6",
    source="each path that dies holds a pruned weight, and the scores count it at least once",
    shapes=(*CHAINS, *GRAPHS, *POOLS, *CONVEX, chain(1, 2, 1, biased=True)),
    build=LOOSE,
    wrong={**BLIND, "min-pools": {"largest": -1, "shapes": (pooled(1, 2, 1),)}},
)
def union_bound(net: Network, score: Score = of_weights, largest: int = 1) -> Iterator[Identity]:
    """Whatever set of weights is pruned, R falls by at most the sum of their scores."""
    yield from open_gates(net)
    amounts, whole = score(net), net.settled(net.objective)
    for pruned in subsets(net.shape.weights):
        mass = sum(amounts[w] for w in pruned)
        yield Identity(f"without {sorted(pruned)}", whole, mass + _left(net, pruned, largest), at_most=True)


@states(
    "B7",
    source="a weight's score does not fall when others are kept; derived",
    shapes=(chain(2, 2, 1), chain(1, 2, 1, 1), bypassed(1, 2, 1), residual(1, 2, 2, 1), chain(1, 2, 1, degree=2)),
    build=LOOSE,
    wrong={"submodular": {"sign": -1}},
)
def supermodularity(net: Network, sign: int = 1) -> Iterator[Identity]:
    """R(A or B) + R(A and B) >= R(A) + R(B) for any two sets A, B of kept weights."""
    weights = frozenset(net.shape.weights)
    kept = {weights - pruned: net.without(pruned, net.objective) for pruned in (frozenset(), *subsets(weights))}
    for a, b in combinations(kept, 2):
        name = f"{sorted(a)} and {sorted(b)}"
        yield Identity(name, sign * (kept[a] + kept[b]), sign * (kept[a | b] + kept[a & b]), at_most=True)


@states(
    "B8",
    source="a polynomial with nonnegative coefficients; maxima of such",
    shapes=(*CHAINS, *GRAPHS, *POOLS, *CONVEX),
    build=LOOSE,
    wrong={"a weight's share of R": {"share": True}, "min-pools": {"largest": -1, "shapes": (pooled(1, 2, 1),)}},
)
def monotonicity(net: Network, largest: int = 1, share: bool = False) -> Iterator[Identity]:
    """Pruning never raises R nor, without max-pools, any score."""
    whole, scores = net.settled(net.objective), {} if net.slacks else of_weights(net)
    for pruned in subsets(net.shape.weights):
        name = f"without {sorted(pruned)}"
        rest = net.settled(net.without(pruned, net.objective))  # the winners are those of the pruned network
        yield Identity(name, rest, _left(net, (), largest), at_most=True)
        for w, score in scores.items():
            before, after = (score * rest, whole) if share else (score, 1)
            yield Identity(f"{w} {name}", net.without(pruned, score) * after, before, at_most=True)


def subsets(weights: Iterable[str]) -> Iterator[frozenset[str]]:
    """Every set of weights but the empty one."""
    listed = sorted(weights)
    return (frozenset(some) for size in range(len(listed)) for some in combinations(listed, size + 1))


def _left(net: Network, pruned: Iterable[str], largest: int = 1) -> Poly:
    """R without some weights, where the pools may have new winners; largest = -1 takes minima for maxima."""
    rest = net.without(pruned, net.objective)
    return rest if largest == 1 or not rest else rest.compose([(slack, largest * slack) for slack, _ in net.slacks])
