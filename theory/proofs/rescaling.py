"""Finite laws: what scaling a unit's inputs or its outputs, a layer or the data does, on every pattern."""

from collections.abc import Iterator

from theory.proofs.scores import Score, gradient, of_weights, saliency, untouched
from theory.proofs.second_order import corrected_grasp, curvature
from theory.proofs.shapes import bypassed, chain, concatenated, residual
from theory.proofs.statement import Identity, networks, states
from theory.proofs.symbolic import Network, Poly

SHAPES = (
    chain(2, 2, 1, biased=True),
    chain(1, 2, 1, biased=True, samples=2),
    chain(2, 2, 2, 1, biased=True),
    chain(1, 2, 2, 2, biased=True, samples=2, slopes=True),
    bypassed(2, 2, 1, biased=True),
    concatenated(1, 2, 2, 1, biased=True),
)
BENT = {"z + z^3 instead of relu": {"shapes": (chain(1, 1, 1, biased=True, bend=True),)}}


def sides_of(net: Network, unit: str) -> tuple[dict[str, Poly], dict[str, Poly]]:
    """What multiplies all inputs of a unit, its bias included, by alpha; and what multiplies all its outputs."""
    alpha, shape = net.symbol["alpha"], net.shape
    into = {e.weight or f"use:{e.name}": alpha for e in shape.into(unit)}
    out = {e.weight or f"use:{e.name}": alpha for e in shape.edges if e.tail == unit}
    return into | ({f"b>{unit}": alpha} if shape.biased else {}), out


@states(
    "C1",
    source="positive homogeneity, in finite form; derived",
    shapes=(*SHAPES, residual(2, 2, 2, 1, biased=True)),
    build=networks(constants=("alpha",)),
    wrong={"the bias left as it is": {"with_bias": False}, **BENT},
)
def finite_law(net: Network, with_bias: bool = True) -> Iterator[Identity]:
    """For alpha >= 0 a unit's inputs times alpha do to all other units and outputs what its outputs times alpha do.

    No gate changes: the unit's own pre-activation is multiplied by alpha, and no other's differs.
    """
    for unit in net.shape.hidden:
        into, out = sides_of(net, unit)
        inside = {n: a for n, a in into.items() if with_bias or n[0] != "b"}
        for (sample, v), before in net.before.items():
            left, right = net.settled(net.scaled(inside, before)), net.settled(net.scaled(out, before))
            yield Identity(f"{unit}, seen at {v} @{sample}", left, right * (net.symbol["alpha"] if v == unit else 1))


@states(
    "B12a",
    source="positive homogeneity; Neyshabur et al. 2015",
    shapes=SHAPES,
    build=networks(constants=("alpha",)),
    wrong={"|w|": {"score": untouched}, "dR/dw": {"score": gradient}, **BENT},
)
def neuron_rescaling(net: Network, score: Score = saliency) -> Iterator[Identity]:
    """Inputs of a unit times alpha > 0 and outputs divided by alpha leave every saliency as it is.

    Shown for the outputs alpha * w before and w after, which is the same for alpha > 0 and a polynomial.
    """
    amounts = score(net)
    for unit in net.shape.hidden:
        into, out = sides_of(net, unit)
        for name, amount in amounts.items():
            yield Identity(f"{name} when {unit} is rescaled", net.scaled(into, amount), net.scaled(out, amount))


@states(
    "C4'",
    source="from C1",
    shapes=(chain(1, 1, 1, biased=True, samples=2), chain(2, 2, 1, biased=True), bypassed(1, 2, 1)),
    build=networks(constants=("alpha",), quadratic=True),
    wrong={"GraSP with its correction": {"score": corrected_grasp}, **BENT},
)
def curvature_rescaling(net: Network, score: Score = curvature) -> Iterator[Identity]:
    """Rescaling a unit leaves theta * (H theta) as it is."""
    yield from neuron_rescaling.measure(net, score)


@states(
    "B12",
    source="R is of degree 1 in each layer of a bias-free chain, and in the data",
    shapes=(chain(2, 2, 1), chain(1, 2, 2, 2), chain(1, 2, 1, samples=2)),
    build=networks(constants=("alpha",)),
    wrong={"a layer with a skip around it": {"shapes": (bypassed(1, 1, 1),)}, **BENT},
)
def layer_scaling(net: Network, score: Score = of_weights) -> Iterator[Identity]:
    """A bias-free chain's layer, its inputs or R times alpha > 0 multiply every saliency by alpha."""
    alpha = net.symbol["alpha"]
    groups = {level: [e.name for e in edges] for level, edges in net.shape.layers.items()}
    groups |= {"inputs": [n for n in net.symbol if n[0] == "x" and "@" in n]}
    for name, amount in score(net).items():
        for what, names in groups.items():
            left = net.scaled(dict.fromkeys(names, alpha), amount)
            yield Identity(f"{name} when {what} is scaled", left, alpha * amount)
