"""Laws of training steps, exact at any step size and for every R of each step."""

from collections.abc import Callable, Iterator
from itertools import product

from theory.proofs.shapes import bypassed, chain, linear
from theory.proofs.statement import Identity, networks, states
from theory.proofs.symbolic import Network, Poly, total

Vector = dict[str, Poly]
SHAPES = (
    chain(1, 1, 1, biased=True, samples=2),
    chain(2, 2, 1, biased=True),
    chain(1, 2, 1, biased=True, samples=2),
    chain(1, 2, 2, 1, biased=True),
    chain(1, 2, 1, 1, slopes=True),
    bypassed(1, 2, 1, biased=True),
)
BENT = {"z + z^3 instead of relu": {"shapes": (chain(1, 1, 1, biased=True, bend=True),)}}


def excess(net: Network, a: Vector, b: Vector, unit: str) -> Poly:
    """<a, b> over a unit's inputs, its bias included, less k times the same over its outputs; k is the degree."""
    products = {p: a[p] * b[p] for p in a}
    return net.into(unit, products) - net.shape.degree * net.out_of(unit, products)


def theta(net: Network) -> Vector:
    """The parameters."""
    return {p: net.symbol[p] for p in net.parameters}


def gradient_step(net: Network) -> Vector:
    """theta - eta (g + lam theta)."""
    return {p: t - net.symbol["eta"] * d for (p, t), d in zip(theta(net).items(), decayed(net).values(), strict=True)}


def decayed(net: Network) -> Vector:
    """g + lam theta: the gradient with weight decay."""
    return {p: g + net.symbol["lam"] * net.symbol[p] for p, g in net.gradient.items()}


def momentum_step(net: Network) -> Vector:
    """The gradient step plus a velocity from before."""
    return {p: t + net.symbol[f"v.{p}"] for p, t in gradient_step(net).items()}


def sign_step(net: Network) -> Vector:
    """theta - eta, as sign descent and Adam's first step do where every gradient is positive."""
    return {p: t - net.symbol["eta"] for p, t in theta(net).items()}


@states(
    "C9",
    source="Du, Hu, Lee 2018 for the gradient flow; exact for a step, derived",
    shapes=(*SHAPES, chain(1, 2, 1, biased=True, degree=2), chain(1, 1, 1, samples=2, degree=3)),
    build=networks(constants=("eta", "lam"), copies=("v",)),
    wrong={
        "momentum": {"step": momentum_step},
        "sign descent": {"step": sign_step},
        "no term of second order in eta": {"second": 0},
        **BENT,
    },
)
def balancedness(
    net: Network, step: Callable[[Network], Vector] = gradient_step, second: int = 1
) -> Iterator[Identity]:
    """A gradient step takes D = |in|^2 - k |out|^2 to (1 - eta lam)^2 D + eta^2 (|g_in|^2 - k |g_out|^2)."""
    eta, lam, before, after, g = net.symbol["eta"], net.symbol["lam"], theta(net), step(net), net.gradient
    for unit in net.shape.hidden:
        kept = (1 - eta * lam) ** 2 * excess(net, before, before, unit)
        grown = second * eta**2 * excess(net, g, g, unit)
        yield Identity(f"unit {unit}", excess(net, after, after, unit), kept + grown)


Moved = tuple[Vector, Vector, Vector]  # parameters and velocity after the step, and what eta multiplied


def heavy_ball(net: Network) -> Moved:
    """A step of torch.optim.SGD: v' = mu v + g + lam theta, theta' = theta - eta v'."""
    at = net.symbol
    velocity = {p: at["mu"] * at[f"v.{p}"] + d for p, d in decayed(net).items()}
    return {p: at[p] - at["eta"] * v for p, v in velocity.items()}, velocity, velocity


def nesterov(net: Network) -> Moved:
    """The same with nesterov=True: theta' = theta - eta u with u = g + lam theta + mu v'."""
    at, (_, velocity, _) = net.symbol, heavy_ball(net)
    moved = {p: d + at["mu"] * velocity[p] for p, d in decayed(net).items()}
    return {p: at[p] - at["eta"] * u for p, u in moved.items()}, velocity, moved


def rushed(net: Network) -> Moved:
    """The heavy-ball step with the gradient counted twice."""
    at = net.symbol
    velocity = {p: at["mu"] * at[f"v.{p}"] + 2 * d for p, d in decayed(net).items()}
    return {p: at[p] - at["eta"] * v for p, v in velocity.items()}, velocity, velocity


MOMENTUM = networks(constants=("eta", "lam", "mu"), copies=("v",))


@states(
    "C10",
    source="derived: A1 and the step",
    shapes=SHAPES,
    build=MOMENTUM,
    wrong={"as if mu were 0": {"mu": 0}, "Nesterov": {"step": nesterov}, "twice the decay": {"step": rushed}, **BENT},
)
def heavy_ball_law(net: Network, step: Callable[[Network], Moved] = heavy_ball, mu: int = 1) -> Iterator[Identity]:
    """Heavy ball: D' = D - 2 eta (mu P + lam D) + eta^2 V', P' = mu P + lam D - eta V'; P = <theta, v>, V = |v|^2."""
    for unit in net.shape.hidden:
        yield from _moments(net, step(net), unit, lambda drift, d: mu * drift + (1 - mu) * net.symbol["lam"] * d)


@states(
    "C10n",
    source="derived; the heavy ball's formula does not hold for Nesterov's momentum",
    shapes=SHAPES,
    build=MOMENTUM,
    wrong={"the heavy-ball formula": {"ahead": 0}, **BENT},
)
def nesterov_law(net: Network, ahead: int = 1) -> Iterator[Identity]:
    """Nesterov: D' = D - 2 eta (lam D + mu Z) + eta^2 |u|^2 and P' = Z - eta <u, v'>, where Z = mu P + lam D."""
    at = net.symbol
    for unit in net.shape.hidden:
        yield from _moments(net, nesterov(net), unit, lambda z, d: at["lam"] * d + at["mu"] * z if ahead else z)


def _moments(net: Network, step: Moved, unit: str, drift: Callable[[Poly, Poly], Poly]) -> Iterator[Identity]:
    """D' = D - 2 eta drift(Z, D) + eta^2 |u|^2 and P' = Z - eta <u, v'> with Z = mu P + lam D."""
    at, before, (after, velocity, u) = net.symbol, theta(net), step
    d = excess(net, before, before, unit)
    z = at["mu"] * excess(net, before, {p: at[f"v.{p}"] for p in before}, unit) + at["lam"] * d
    square = at["eta"] ** 2 * excess(net, u, u, unit)
    yield Identity(f"D at {unit}", excess(net, after, after, unit), d - 2 * at["eta"] * drift(z, d) + square)
    product_after = z - at["eta"] * excess(net, u, velocity, unit)
    yield Identity(f"P at {unit}", excess(net, after, velocity, unit), product_after)


@states(
    "C10'",
    source="derived: rotations of the hidden layer leave a linear bottleneck as it is",
    shapes=(linear(2, 2, 2), linear(1, 3, 1, samples=2)),
    build=networks(active=True, constants=("eta", "lam", "mu"), copies=("v",)),
    wrong={"one factor alone": {"out": 0}, "relu": {"build": MOMENTUM}, "Nesterov": {"step": nesterov}},
)
def angular_momentum(net: Network, out: int = 1, step: Callable[[Network], Moved] = heavy_ball) -> Iterator[Identity]:
    """In a linear bottleneck W v^T - v W^T, summed over both factors, is multiplied by mu in each heavy-ball step."""
    before, (after, velocity, _) = theta(net), step(net)
    v = {p: net.symbol[f"v.{p}"] for p in before}
    for i, j in product(net.shape.hidden, repeat=2):
        old, new = _turning(net, before, v, i, j, out), _turning(net, after, velocity, i, j, out)
        yield Identity(f"units {i}, {j}", new, net.symbol["mu"] * old)


def _turning(net: Network, w: Vector, v: Vector, i: str, j: str, out: int) -> Poly:
    into = [(1, f"{e.tail}>{i}", f"{e.tail}>{j}") for e in net.shape.into(i)]
    onwards = [(out, e.name, f"{j}>{e.head}") for e in net.shape.edges if e.tail == i]
    return total(sign * (w[a] * v[b] - v[a] * w[b]) for sign, a, b in into + onwards)
