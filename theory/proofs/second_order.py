"""Laws of second derivatives, for every twice differentiable R: its gradient and its Hessian in y are free symbols."""

from collections.abc import Callable, Iterator

from theory.proofs.shapes import bypassed, chain
from theory.proofs.statement import Identity, networks, states
from theory.proofs.symbolic import Network, Poly, total

Vector = dict[str, Poly]
SHAPES = (
    chain(1, 1, 1, biased=True, samples=2),
    chain(2, 2, 1, biased=True),
    chain(1, 2, 1, biased=True, samples=2),
    chain(1, 2, 1, samples=2, slopes=True),
    chain(2, 2, 2),
    chain(1, 2, 2, 1),
    bypassed(1, 2, 1, biased=True),
)
QUADRATIC = networks(quadratic=True)
BENT = {"z + z^3 instead of relu": {"shapes": (chain(1, 1, 1, bend=True),)}}


def theta(net: Network) -> Vector:
    """The parameters."""
    return {p: net.symbol[p] for p in net.parameters}


def times(a: Vector, b: Vector) -> Vector:
    """The elementwise product."""
    return {p: a[p] * b[p] for p in a}


def grasp(net: Network) -> Vector:
    """theta * H g: GraSP, up to its sign."""
    return times(theta(net), net.times_hessian(net.gradient))


def corrected_grasp(net: Network) -> Vector:
    """theta * H g + g * g."""
    return {p: s + net.gradient[p] ** 2 for p, s in grasp(net).items()}


def curvature(net: Network) -> Vector:
    """theta * (H theta)."""
    return times(theta(net), net.times_hessian(theta(net)))


def obd(net: Network) -> Vector:
    """theta^2 * H_ii: optimal brain damage, up to a factor 2."""
    return {p: net.symbol[p] ** 2 * g.diff(net.symbol[p]) for p, g in net.gradient.items()}


def tangent(net: Network) -> Vector:
    """v * g + theta * (H v) for a free vector v: the derivative of the saliency along v."""
    v = {p: net.symbol[f"v.{p}"] for p in net.parameters}
    h = net.times_hessian(v)
    return {p: v[p] * g + net.symbol[p] * h[p] for p, g in net.gradient.items()}


def hessian_vector(net: Network) -> Vector:
    """theta * (H v) for a free vector v: the tangent law without its first term."""
    return times(theta(net), net.times_hessian({p: net.symbol[f"v.{p}"] for p in net.parameters}))


def conserved(net: Network, amounts: Vector) -> Iterator[Identity]:
    """What enters a hidden unit leaves it; without biases all layers of a chain carry the same."""
    for unit in net.shape.hidden:
        yield Identity(f"unit {unit}", net.into(unit, amounts), net.out_of(unit, amounts))
    layers = [] if net.shape.biased else [total(amounts[e.name] for e in edges) for edges in net.shape.layers.values()]
    for mass in layers[1:]:
        yield Identity("layers", layers[0], mass)


@states(
    "C2",
    source="the derivative of A1 along v",
    shapes=SHAPES,
    build=networks(quadratic=True, copies=("v",)),
    wrong={"theta * (H v) alone": {"score": hessian_vector}, **BENT},
)
def tangent_law(net: Network, score: Callable[[Network], Vector] = tangent) -> Iterator[Identity]:
    """For any direction v, v * g + theta * (H v) is conserved at units and layers."""
    yield from conserved(net, score(net))


@states(
    "C3",
    source="C2 at v = g; corrects the conservation of GraSP in Tanaka et al. 2020",
    shapes=SHAPES,
    build=QUADRATIC,
    wrong={"GraSP without the correction": {"score": grasp}, **BENT},
)
def grasp_defect(net: Network, score: Callable[[Network], Vector] = corrected_grasp) -> Iterator[Identity]:
    """theta * H g + g * g is conserved; GraSP alone is off by |g_in|^2 - |g_out|^2."""
    yield from conserved(net, score(net))
    raw, squares = grasp(net), {p: g * g for p, g in net.gradient.items()}
    for unit in net.shape.hidden:
        defect = net.into(unit, squares) - net.out_of(unit, squares)
        yield Identity(f"defect at {unit}", net.out_of(unit, raw) - net.into(unit, raw), defect)


@states("C4", source="C2 at v = theta, less A1", shapes=SHAPES, build=QUADRATIC, wrong={"OBD": {"score": obd}, **BENT})
def curvature_law(net: Network, score: Callable[[Network], Vector] = curvature) -> Iterator[Identity]:
    """theta * (H theta) is conserved at units and layers."""
    yield from conserved(net, score(net))


@states(
    "C5",
    source="second derivative of C1 by the scale; derived",
    shapes=SHAPES,
    build=QUADRATIC,
    wrong={"the diagonal of H alone": {"diagonal": True}, **BENT},
)
def block_curvature(net: Network, diagonal: bool = False) -> Iterator[Identity]:
    """theta' H theta is the same over a unit's inputs and outputs; over a bias-free layer it is y' d2R/dy2 y."""
    for unit in net.shape.hidden:
        inward = [p for p in net.parameters if p.endswith(f">{unit}")]
        outward = [p for p in net.parameters if p.startswith(f"{unit}>")]
        yield Identity(f"unit {unit}", _form(net, inward, diagonal), _form(net, outward, diagonal))
    y = {n[1:]: p for n, p in zip(_names(net), net.outputs, strict=True)}
    form = 2 * total(net.symbol[f"Q{n}{m}"] * y[n[1:]] * y[m[1:]] for n in _names(net) for m in _names(net) if n <= m)
    for edges in [] if net.shape.biased else net.shape.layers.values():
        yield Identity(f"layer into {edges[0].head[:-1]}", _form(net, [e.name for e in edges], diagonal), form)


@states(
    "C6",
    source="Kunin et al. 2021 (Neural Mechanics): the gradient of A1",
    shapes=SHAPES,
    build=QUADRATIC,
    wrong={"0 everywhere": {"sign": 0}, "the other sign": {"sign": -1}, **BENT},
)
def hessian_constraint(net: Network, sign: int = 1) -> Iterator[Identity]:
    """H (theta_in - theta_out) is -g on a unit's inputs, +g on its outputs, and 0 elsewhere."""
    for unit in net.shape.hidden:
        side = {p: p.startswith(f"{unit}>") - p.endswith(f">{unit}") for p in net.parameters}
        moved = net.times_hessian({p: -s * net.symbol[p] for p, s in side.items()})
        for p in net.parameters:
            yield Identity(f"{p} around {unit}", moved[p], sign * side[p] * net.gradient[p])


@states(
    "C7",
    source="R is affine in each weight; derived",
    shapes=SHAPES,
    build=networks(),
    wrong={"R of second order in y": {"build": QUADRATIC}, **BENT},
)
def vacuous_obd(net: Network) -> Iterator[Identity]:
    """Where R is linear in the outputs, optimal brain damage scores every parameter 0, whatever its saliency."""
    for p, score in obd(net).items():
        yield Identity(p, net.symbol[p] * net.gradient[p] + score, net.symbol[p] * net.gradient[p])


def _form(net: Network, parameters: list[str], diagonal: bool) -> Poly:
    """theta' H theta over a block of parameters."""
    at, g = net.symbol, net.gradient
    pairs = ((p, q) for p in parameters for q in parameters if p == q or not diagonal)
    return total(at[p] * g[p].diff(at[q]) * at[q] for p, q in pairs)


def _names(net: Network) -> list[str]:
    return [f"@{s}{v}" for s in range(net.shape.samples) for v in net.shape.outputs]
