"""ProsPr: the saliency of a loss that is taken after T steps of training, corrected to be conserved."""

from collections.abc import Iterator

from theory.proofs.second_order import SHAPES
from theory.proofs.shapes import chain
from theory.proofs.statement import Identity, networks, states
from theory.proofs.symbolic import Network, Poly

Vector = dict[str, Poly]


def objectives(net: Network) -> list[Poly]:
    """One objective per sample, each with its own data and derivatives: g y + Q y^2, which is R of that step."""
    y = [net.value[s, v] for s in range(net.shape.samples) for v in net.shape.outputs]
    names = [f"@{s}{v}" for s in range(net.shape.samples) for v in net.shape.outputs]
    return [net.symbol[f"g{n}"] * p + net.symbol.get(f"Q{n}{n}", 0) * p**2 for n, p in zip(names, y, strict=True)]


def moved(net: Network, poly: Poly, objective: Poly) -> Poly:
    """The polynomial of theta - eta * dR/dtheta."""
    at, eta = net.symbol, net.symbol["eta"]
    return poly.compose([(at[p], at[p] - eta * objective.diff(at[p])) for p in net.parameters]) if poly else poly


def prospr(net: Network, weight: int = 2) -> Vector:
    """theta * dL_T/dtheta_0 - 2 eta sum over t of g_t * lambda_(t+1), lambda_t = dL_T/dtheta_t."""
    *inner, last = objectives(net)
    later = [last]
    for objective in reversed(inner):
        later.insert(0, moved(net, later[0], objective))
    scores = {p: net.symbol[p] * later[0].diff(net.symbol[p]) for p in net.parameters}
    for t, objective in enumerate(inner):
        for p in net.parameters:
            adjoint = moved(net, later[t + 1].diff(net.symbol[p]), objective)
            term = objective.diff(net.symbol[p]) * adjoint
            for earlier in reversed(inner[:t]):
                term = moved(net, term, earlier)
            scores[p] -= weight * net.symbol["eta"] * term
    return scores


@states(
    "ProsPr",
    source="derived; Alizadeh et al. 2022 for the score",
    shapes=(chain(1, 1, 1, biased=True, samples=2), chain(1, 2, 1, samples=2), chain(1, 1, 1, samples=3)),
    build=networks(constants=("eta",), quadratic=True),
    wrong={"uncorrected": {"weight": 0}, "the correction once": {"weight": 1}},
)
def lookahead(net: Network, weight: int = 2) -> Iterator[Identity]:
    """After T = 1 or 2 steps theta * dL_T/dtheta_0 - 2 eta sum_t g_t * lambda_(t+1) is conserved.

    Sample t is the batch of step t. The objective of a step is met at one point, so g and Q cover every one.
    """
    scores = prospr(net, weight)
    for unit in net.shape.hidden:
        yield Identity(f"unit {unit}", net.into(unit, scores), net.out_of(unit, scores))


@states(
    "ProsPr'",
    source="derived: C2 at v = lambda_(t+1); with A1 at step T the sum telescopes",
    shapes=SHAPES,
    build=networks(constants=("eta",), copies=("lambda",), quadratic=True),
    wrong={"uncorrected": {"weight": 0}, "the correction once": {"weight": 1}},
)
def lookahead_step(net: Network, weight: int = 2) -> Iterator[Identity]:
    """theta_t * lambda_t - theta_(t+1) * lambda_(t+1) - 2 eta g_t * lambda_(t+1) is conserved; so T may be any number.

    lambda_(t+1) is a free vector, and lambda_t = lambda_(t+1) - eta H lambda_(t+1) is what the step makes of it.
    """
    at, eta, g = net.symbol, net.symbol["eta"], net.gradient
    after = {p: at[f"lambda.{p}"] for p in net.parameters}
    before = {p: after[p] - eta * h for p, h in net.times_hessian(after).items()}
    scores = {
        p: at[p] * before[p] - (at[p] - eta * g[p]) * after[p] - weight * eta * g[p] * after[p] for p in net.parameters
    }
    for unit in net.shape.hidden:
        yield Identity(f"unit {unit}", net.into(unit, scores), net.out_of(unit, scores))
