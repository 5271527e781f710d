"""Scores as polynomials: the saliency, and impostors that no conservation law may be provable for."""

from collections.abc import Callable
from fractions import Fraction

from theory.proofs.points import a_point, at
from theory.proofs.symbolic import Network, Poly

Score = Callable[[Network], dict[str, Poly]]


def saliency(net: Network) -> dict[str, Poly]:
    """theta * dR/dtheta, for each use of each weight, and for each bias."""
    return net.flows


def of_weights(net: Network) -> dict[str, Poly]:
    """theta * dR/dtheta for each weight, all its uses together, as autograd gives it."""
    return {w: net.symbol[w] * net.gradient[w] for w in net.shape.weights}


def gradient(net: Network) -> dict[str, Poly]:
    """dR/dtheta, not multiplied by theta."""
    return net.gradient


def blind(net: Network) -> dict[str, Poly]:
    """The saliency of each weight, but 0 for the first."""
    return {w: 0 * s if w == net.shape.weights[0] else s for w, s in of_weights(net).items()}


def untouched(net: Network) -> dict[str, Poly]:
    """The weights themselves: the magnitude where they are positive."""
    return {w: net.symbol[w] for w in net.shape.weights}


def magnitude(net: Network) -> dict[str, Poly]:
    """|theta|, in the region of signs around a point that belongs to the pattern."""
    return _absolute(net, {p: net.symbol[p] for p in net.flows if p in net.symbol})


def snip(net: Network) -> dict[str, Poly]:
    """|theta * dR/dtheta|, in the region of signs around a point that belongs to the pattern."""
    return _absolute(net, net.flows)


def by_depth(net: Network) -> dict[str, Poly]:
    """The saliency, doubled in the layers after the first."""
    return {p: s if p.startswith(("x", "b>h0")) else 2 * s for p, s in net.flows.items()}


def taylor(net: Network) -> dict[str, Poly]:
    """(theta * dR/dtheta)^2."""
    return {p: s * s for p, s in net.flows.items()}


def _absolute(net: Network, amounts: dict[str, Poly]) -> dict[str, Poly]:
    point = a_point(net)
    signs: dict[str, Fraction] = {p: at(point, net, s) for p, s in amounts.items()}
    return {p: -s if signs[p] < 0 else s for p, s in amounts.items()}
