"""Laws of theta * dR/dtheta that hold for every objective R: dR/dy is a free symbol per output and sample."""

from collections.abc import Iterator

from theory.proofs.routes import crossing, exact_cuts, sides
from theory.proofs.scores import Score, by_depth, magnitude, saliency, snip, taylor
from theory.proofs.shapes import bypassed, chain, concatenated, convolved, pooled, residual
from theory.proofs.statement import Identity, networks, states
from theory.proofs.symbolic import Network, total

CHAINS = (
    chain(1, 1, 1, biased=True),
    chain(2, 2, 1, biased=True),
    chain(1, 2, 1, biased=True, samples=2),
    chain(2, 2, 2, 1, biased=True),
    chain(1, 2, 2, 2, biased=True, samples=2, slopes=True),
)
GRAPHS = (
    bypassed(2, 2, 1, biased=True),
    residual(2, 2, 2, 1, biased=True),
    concatenated(1, 2, 2, 1, biased=True),
    pooled(2, 4, 1, biased=True),
)
BENT = {"z + z^3 instead of relu": {"shapes": (chain(1, 1, 1, biased=True, bend=True),)}}
DEPTH = {"another constant per layer": {"score": by_depth}}
IMPOSTORS = {"|w|": {"score": magnitude}, "|w * dR/dw|": {"score": snip}, "(w * dR/dw)^2": {"score": taylor}, **DEPTH}


@states(
    "A1",
    source="Tanaka et al. 2020, Theorem 1",
    shapes=(*CHAINS, *GRAPHS, convolved(pool=True)),
    build=networks(),
    wrong={**IMPOSTORS, **BENT},
)
def neuron_conservation(net: Network, score: Score = saliency) -> Iterator[Identity]:
    """The saliency that enters a hidden unit, its bias's included, equals the saliency that leaves it."""
    amounts = score(net)
    for unit in net.shape.hidden:
        yield Identity(f"unit {unit}", net.into(unit, amounts), net.out_of(unit, amounts))


@states(
    "A1'",
    source="Tanaka et al. 2020, Theorem 2, corrected by the bias flow",
    shapes=(*CHAINS, *GRAPHS),
    build=networks(),
    wrong={**BENT, "Theorem 2 without the biases": {"with_biases": False}},
)
def boundary_conservation(net: Network, with_biases: bool = True) -> Iterator[Identity]:
    """<y, dR/dy> = <x, dR/dx> + the saliency of every bias."""
    inputs = [net.symbol[f"x@{s}{v}"] for s in range(net.shape.samples) for v in net.shape.inputs]
    start = total(x * net.settled(net.objective.diff(x)) for x in inputs)
    biases = total(net.flows[b] for b in net.shape.biases) if with_biases else 0
    yield Identity("boundary", start + biases, net.settled(net.boundary))


@states(
    "A2",
    source="Tanaka et al. 2020, Theorem 2, corrected by the bias flow",
    shapes=CHAINS,
    build=networks(),
    wrong={**IMPOSTORS, **BENT, "Theorem 2 without the biases": {"with_biases": False}},
)
def layer_conservation(net: Network, score: Score = saliency, with_biases: bool = True) -> Iterator[Identity]:
    """Every layer of a chain carries <y, dR/dy>, once the biases that enter from there on are added."""
    amounts, later = score(net), 0
    for level, edges in reversed(net.shape.layers.items()):
        if with_biases:
            later += total(s for p, s in amounts.items() if p.startswith(f"b>{level}"))
        yield Identity(f"layer into {level}", total(amounts[e.name] for e in edges) + later, net.boundary)


@states(
    "A3",
    source="Tanaka et al. 2020, Theorem 2, for every cut of a graph",
    shapes=(
        chain(2, 2, 2, 1, biased=True),
        bypassed(2, 2, 1, biased=True),
        residual(1, 2, 2, 1),
        concatenated(1, 1, 1, 1, biased=True),
        convolved(pool=True),
    ),
    build=networks(),
    wrong={**DEPTH, "a cut that forgets the biases": {"with_biases": False}},
)
def cut_conservation(net: Network, score: Score = saliency, with_biases: bool = True) -> Iterator[Identity]:
    """Any set of edges and biases that every path crosses exactly once carries <y, dR/dy>."""
    amounts = score(net)
    for cut in exact_cuts(net.shape):
        crossed = (amounts[p] for p in cut if with_biases or not p.startswith("b>"))
        yield Identity(f"cut {sorted(cut)}", total(crossed), net.settled(net.boundary))


@states(
    "A4",
    source="Tanaka et al. 2020, Theorem 2, for any set of units",
    shapes=(*CHAINS, *GRAPHS),
    build=networks(),
    wrong={**IMPOSTORS, **BENT, "backward edges added, not subtracted": {"back": 1}},
)
def bipartition_conservation(net: Network, score: Score = saliency, back: int = -1) -> Iterator[Identity]:
    """Any set of units with the inputs and without the outputs passes <y, dR/dy> on, net of what comes back."""
    amounts, end = score(net), net.settled(net.boundary)
    for side in sides(net.shape):
        over, returned = (total(amounts[e.name] for e in edges) for edges in crossing(net.shape, side))
        biases = total(amounts[b] for b in net.shape.biases if b[2:] not in side)
        yield Identity(f"units {sorted(side)}", over + biases + back * returned, end)


@states(
    "A6",
    source="Tanaka et al. 2020, section 4; from A2",
    shapes=(chain(2, 2, 1), chain(1, 2, 3, 1), chain(2, 1, 2, samples=2)),
    build=networks(),
    wrong={**DEPTH, "with biases": {"shapes": CHAINS[:1]}, "the same mean in every layer": {"sized": False}},
)
def layer_mean(net: Network, score: Score = saliency, sized: bool = True) -> Iterator[Identity]:
    """Without biases the mean saliency of a chain's layer is <y, dR/dy> over the layer's size."""
    amounts, groups = score(net), net.shape.layers
    first = len(next(iter(groups.values())))
    for level, edges in groups.items():
        mass = total(amounts[e.name] for e in edges)
        yield Identity(f"layer into {level}", first * mass, (first if sized else len(edges)) * net.boundary)
