"""Conservation beyond plain chains: degrees, channels, gates of units, tied weights, linear networks."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from theory.proofs.conservation import BENT, CHAINS, DEPTH, GRAPHS, IMPOSTORS
from theory.proofs.scores import Score, of_weights, saliency, untouched
from theory.proofs.shapes import autoencoder, chain, convolved, linear
from theory.proofs.statement import Identity, networks, states
from theory.proofs.symbolic import Network, total


@states(
    "A7",
    source="Euler's identity for activations z^k where z > 0",
    shapes=(
        chain(2, 2, 1, biased=True, degree=2),
        chain(1, 2, 1, biased=True, samples=2, degree=3),
        chain(1, 1, 1, 1, degree=2),
        chain(1, 2, 1, 1, degree=3),
    ),
    build=networks(),
    wrong={"the law of degree 1": {"degree": 1}, **DEPTH},
)
def degree_k(net: Network, score: Score = saliency, degree: int | None = None) -> Iterator[Identity]:
    """With relu(z)^k what enters a unit is k times what leaves it; layer masses grow by k per activation after them."""
    k, amounts = degree or net.shape.degree, score(net)
    for unit in net.shape.hidden:
        yield Identity(f"unit {unit}", net.into(unit, amounts), k * net.out_of(unit, amounts))
    for after, edges in enumerate([] if net.shape.biased else reversed(net.shape.layers.values())):
        name = f"layer {after} before the last"
        yield Identity(name, total(amounts[e.name] for e in edges), net.boundary * k**after)


@states(
    "A8",
    source="Tanaka et al. 2020, Theorem 1, per channel",
    shapes=(convolved(), convolved(pool=True), convolved(samples=2)),
    build=networks(),
    wrong={
        "w, not w * dR/dw": {"score": untouched},
        "z + z^3 instead of relu": {"shapes": (replace(convolved(), bend=True),)},
    },
)
def channel_conservation(net: Network, score: Score = of_weights) -> Iterator[Identity]:
    """The saliency of a channel's kernel equals the saliency that leaves the channel at all its positions."""
    amounts = score(net)
    for channel in ("0", "1"):
        kernels = [w for w in net.shape.weights if w.startswith(f"kernel{channel}")]
        leaving = [v for v in net.shape.hidden if v.startswith((f"c{channel}", f"m{channel}"))]
        out = total(net.flows[e.name] for e in net.shape.edges if e.tail in leaving and e.head not in leaving)
        yield Identity(f"channel {channel}", total(amounts[k] for k in kernels), out)


@states(
    "A10",
    source="Mozer and Smolensky 1989, Skeletonization; from A1",
    shapes=(*CHAINS, *GRAPHS),
    build=networks(gates=True),
    wrong={**BENT, "|w * dR/dw|": IMPOSTORS["|w * dR/dw|"]},
)
def gate_gradient(net: Network, score: Score = saliency) -> Iterator[Identity]:
    """The derivative by a gate behind a unit is the saliency that enters the unit, and that leaves it."""
    amounts = score(net)
    for unit in net.shape.hidden:
        flow = net.settled(net.objective.diff(net.symbol[f"gate:{unit}"]))
        yield Identity(f"into {unit}", flow, net.into(unit, amounts))
        yield Identity(f"out of {unit}", flow, net.out_of(unit, amounts))


@states(
    "A11",
    source="each use of a tied weight is a cut of its own; derived",
    shapes=(autoencoder(2, 1), autoencoder(2, 2), autoencoder(1, 2, samples=2)),
    build=networks(),
    wrong={"the tied weights carry R once": {"cuts": 1}},
)
def tied_weights(net: Network, cuts: int = 2) -> Iterator[Identity]:
    """A matrix used in two cuts has the saliency 2 <y, dR/dy>; use by use each unit is conserved."""
    yield Identity("all weights", total(of_weights(net).values()), cuts * net.settled(net.boundary))
    for unit in net.shape.hidden:
        yield Identity(f"unit {unit}, use by use", net.into(unit, net.flows), net.out_of(unit, net.flows))


@states(
    "A12",
    source="Du, Hu, Lee 2018 (balancedness of linear networks)",
    shapes=(linear(2, 2, 2), linear(1, 3, 2, samples=2), linear(2, 2, 2, 1)),
    build=networks(active=True),
    wrong={"relu off the diagonal": {"build": networks(), "shapes": (chain(2, 2, 1),)}},
)
def matrix_law(net: Network) -> Iterator[Identity]:
    """In a linear chain G_l W_l^T = W_(l+1)^T G_(l+1), off the diagonal too."""
    g, w = net.gradient, net.symbol
    for level in list(net.shape.layers)[:-1]:
        units = [v for v in net.shape.hidden if v.startswith(level)]
        for i, j in product(units, units):
            into = total(g[e.name] * w[f"{e.tail}>{j}"] for e in net.shape.into(i))
            out = total(w[e.name] * g[f"{j}>{e.head}"] for e in net.shape.edges if e.tail == i)
            yield Identity(f"units {i}, {j}", into, out)
