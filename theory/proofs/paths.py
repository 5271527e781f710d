"""Equalities for objectives that sum over paths with nonnegative terms, as SynFlow's does.

Weights (their absolute values), inputs and cotangents are nonnegative symbols, so every gate is open
(B1 shows it); SynFlow is the point x = 1, g = 1.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product

from theory.proofs.routes import Path, crossing, exact_cuts, paths, sides, worth
from theory.proofs.scores import Score, blind, by_depth, of_weights, saliency, untouched
from theory.proofs.shapes import autoencoder, bypassed, chain, concatenated, convolved, pooled, residual
from theory.proofs.statement import Identity, networks, states
from theory.proofs.symbolic import Network, Poly, total

CHAINS = (chain(2, 2, 1), chain(1, 2, 2, 1), chain(2, 2, 2))
GRAPHS = (bypassed(2, 2, 1), residual(1, 2, 2, 1), concatenated(1, 1, 1, 1))
POSITIVE = networks(active=True)
BENT = {"z + z^3 instead of relu": {"shapes": (replace(chain(1, 1, 1), bend=True),)}}
BLIND = {"one weight overlooked": {"score": blind}}
MAX = {"with a max-pool": {"shapes": (pooled(1, 2, 1),), "build": networks(active=True, slack=True)}}
OTHERS = {
    "with a weight in two cuts": {"shapes": (autoencoder(1, 1),)},
    "with relu^2": {"shapes": (chain(1, 1, 1, degree=2),)},
}


def open_gates(net: Network) -> Iterator[Identity]:
    """No pre-activation is negative: the pattern with every gate open is the one these networks have."""
    for (_, unit), before in net.before.items():
        yield Identity(f"gate of {unit}", 0, net.without((), before), at_most=True)


@states(
    "A5",
    source="a path counts once per crossing; derived",
    shapes=(chain(2, 2, 1), chain(1, 2, 2, 1), *GRAPHS),
    build=POSITIVE,
    wrong={"any set of edges carries R": {"multiple": False}, **BENT},
)
def crossing_multiplicity(net: Network, multiple: bool = True) -> Iterator[Identity]:
    """The scores of any set of edges add up to the paths' values, each times how often its path meets the set."""
    values = worth(net)
    for flags in product((True, False), repeat=len(net.shape.edges)):
        edges = {e.name for e, flag in zip(net.shape.edges, flags, strict=True) if flag}
        crossed = (v * len(edges.intersection(p)) if multiple else v for p, v in values.items())
        yield Identity(f"edges {sorted(edges)}", total(net.flows[e] for e in edges), total(crossed))


@states(
    "B1",
    source="path norm of Neyshabur et al. 2015",
    shapes=(*CHAINS, *GRAPHS),
    build=POSITIVE,
    wrong={**MAX, **BENT},
)
def path_sum(net: Network) -> Iterator[Identity]:
    """R is the sum over paths of the product of their weights; no pre-activation is negative, so all gates are open."""
    yield from open_gates(net)
    yield Identity("R", net.settled(net.objective), total(worth(net).values()))


@states(
    "B2",
    source="Tanaka et al. 2020, section 5; from B1",
    shapes=(*CHAINS, *GRAPHS),
    build=POSITIVE,
    wrong={"w, not w * dR/dw": {"score": untouched}, **BENT},
)
def path_mass(net: Network, score: Score = saliency) -> Iterator[Identity]:
    """An edge's score is the sum of the values of the paths through it."""
    values, amounts = worth(net), score(net)
    for edge in net.shape.edges:
        if edge.name in amounts:
            yield Identity(edge.name, amounts[edge.name], total(v for p, v in values.items() if edge.name in p))


@states(
    "B3",
    source="R is affine in each weight; path norm of Neyshabur et al. 2015",
    shapes=(*CHAINS, *GRAPHS, convolved()),
    build=POSITIVE,
    wrong={**BLIND, **MAX, **OTHERS, **BENT},
)
def leave_one_out(net: Network, score: Score = of_weights) -> Iterator[Identity]:
    """A weight's score is what R loses when just that weight is set to zero."""
    yield from open_gates(net)
    amounts, whole = score(net), net.settled(net.objective)
    for w in net.shape.weights:
        yield Identity(w, whole - net.without({w}, net.objective), amounts[w])


@states(
    "B5",
    source="Euler's identity",
    shapes=(*CHAINS, *GRAPHS),
    build=networks(active=True, constants=("scale",)),
    wrong={
        "degree L for all weights, with a skip": {"shapes": (bypassed(1, 1, 1),), "of_length": lambda path: 2},
        **BENT,
    },
)
def euler_degree(net: Network, of_length: Callable[[Path], int] = len) -> Iterator[Identity]:
    """Weights times s: paths times s^length, a chain's R times s per layer; the scores sum to length times value."""
    s, lengths = net.symbol["scale"], {p: of_length(tuple(e for e in p if ">" in e)) for p in paths(net.shape)}
    whole, values = net.settled(net.objective), worth(net)
    scaled = net.settled(net.scaled(dict.fromkeys(net.shape.weights, s), net.objective))
    yield Identity("all weights", scaled, total(v * s ** lengths[p] for p, v in values.items()))
    yield Identity("all scores", total(of_weights(net).values()), total(v * lengths[p] for p, v in values.items()))
    for level, edges in net.shape.layers.items() if len(set(lengths.values())) == 1 else ():
        one = net.scaled({e.name: s for e in edges}, whole)
        yield Identity(f"layer into {level}", one, s * whole)


@states(
    "B9",
    source="a polynomial with nonnegative coefficients is 0 at positive weights only if it has no terms",
    shapes=(chain(2, 2, 1), chain(1, 2, 1, 1), *GRAPHS),
    build=POSITIVE,
    wrong={"a score is 0 only where the weight is": {"by_paths": False}},
)
def zero_scores(net: Network, by_paths: bool = True) -> Iterator[Identity]:
    """A score is 0 just where the weight is 0 or on no live path; pruning all such weights changes nothing."""
    weights, amounts = set(net.shape.weights), of_weights(net)
    for flags in product((True, False), repeat=len(weights)):
        pruned = {w for w, flag in zip(net.shape.weights, flags, strict=True) if flag}
        live = set().union(*(p for p in paths(net.shape) if not pruned.intersection(p)))
        scored = {w for w in weights - pruned if net.without(pruned, amounts[w])}
        for w in weights - pruned:
            yield Identity(f"{w} without {sorted(pruned)}", int(w in scored), int(w in live or not by_paths))
        rest = net.without(pruned, net.objective)
        yield Identity(f"all zeros off, {sorted(pruned)}", net.without(weights - scored, net.objective), rest)


@states(
    "B10",
    source="Ford and Fulkerson; the scores are a flow of value R within the capacities S",
    shapes=(*CHAINS, *GRAPHS),
    build=POSITIVE,
    wrong={"another constant per layer": {"score": by_depth}, "any bipartition is a minimal cut": {"downward": False}},
)
def maximal_flow(net: Network, score: Score = saliency, downward: bool = True) -> Iterator[Identity]:
    """Within capacities S the maximal flow is R, and every set of units that no edge returns to is a minimal cut."""
    amounts, whole = score(net), net.settled(net.objective)
    for unit in net.shape.hidden:
        yield Identity(f"flow through {unit}", net.into(unit, amounts), net.out_of(unit, amounts))
    for side in sides(net.shape):
        over, returned = crossing(net.shape, side)
        if not (returned and downward):
            yield Identity(f"capacity of {sorted(side)}", total(amounts[e.name] for e in over), whole)


@states(
    "B11",
    source="R is a sum of exponentials in log w, so log R is convex there",
    shapes=(chain(2, 2, 1), bypassed(2, 1, 1), chain(1, 2, 1, 1)),
    build=networks(active=True, copies=("v",)),
    wrong={**BENT, "without the diagonal": {"diagonal": 0}},
)
def log_convexity(net: Network, diagonal: int = 1) -> Iterator[Identity]:
    """R^2 d2 log R / dlog w dlog w is a covariance over pairs of paths: positive, with rows of sum 0 over cuts."""
    values, weights = worth(net), net.shape.weights
    rows = {i: {j: _curvature(net, i, j, diagonal) for j in weights} for i in weights}
    pairs = [(p, q, a * b) for (p, a), (q, b) in product(values.items(), repeat=2)]
    for i, j in product(weights, weights):
        covariance = total(v * ((j in p) - (j in q)) for p, q, v in pairs if i in p)
        yield Identity(f"{i}, {j}", rows[i][j], covariance)
    v = {w: net.symbol[f"v.{w}"] for w in weights}
    form = total(v[i] * v[j] * rows[i][j] for i, j in product(weights, weights))
    squares = total(a * (total(v[e] for e in p) - total(v[e] for e in q)) ** 2 for p, q, a in pairs)
    yield Identity("a sum of squares", 2 * form, squares)
    for i, cut in product(weights, exact_cuts(net.shape)):
        yield Identity(f"row {i} over {sorted(cut)}", total(rows[i][j] for j in cut), 0)


def _curvature(net: Network, i: str, j: str, diagonal: int) -> Poly:
    """R^2 times the second derivative of log R by log w_i and log w_j."""
    first = net.symbol[i] * net.gradient[i]
    mixed = first.diff(net.symbol[j]) if diagonal else net.symbol[i] * net.gradient[i].diff(net.symbol[j])
    return net.symbol[j] * (net.objective * mixed - first * net.gradient[j])
