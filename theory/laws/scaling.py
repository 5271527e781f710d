"""How an objective answers to scaling: its degree, and the curvature of its logarithm."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from pruning.answers import call_objective
from pruning.masks import Masks
from pruning.problem import Probe, Problem
from pruning.pruner import Claim
from pruning.pruners.synflow import synflow
from theory.case import Case
from theory.impostors.scores import biased_flow, raw_gradient
from theory.law import Balances, Grade, Subject, at_most, counted, equal, law
from theory.laws.paths import PATH_SUM
from theory.networks.outside import tanh_net
from theory.numerics import safe_from_underflow
from theory.traits import Trait


@law(
    "B5",
    subject=Subject.SCORES,
    claim=Claim.DEGREE_ONE,
    needs={Trait.HOMOGENEOUS, Trait.CHAIN},
    given=PATH_SUM,
    needs_objective=True,
    source="Euler's identity; a factor 2 rounds nothing, so the bits must agree",
    impostor=biased_flow,
    breaks_on=(synflow, tanh_net),
    grades=(Grade.EXACT,),
)
def euler_degree(case: Case) -> Iterator[Balances]:
    """Doubling one layer doubles the objective of a chain; doubling all L layers multiplies it by 2^L."""
    weights = case.batch.weights
    whole = case.values(weights)
    for name, weight in weights.items():
        doubled = case.values({**weights, name: 2 * weight})
        yield _same_bits(f"layer {name} doubled", doubled, 2 * whole)
    everything = case.values({n: 2 * w for n, w in weights.items()})
    yield _same_bits("all layers doubled", everything, 2.0 ** len(weights) * whole)


def _same_bits(name: str, left: Tensor, right: Tensor) -> Balances:
    a, b = left.unsqueeze(1), right.unsqueeze(1)
    return equal(name, a, b, bound=counted(a), scale=torch.where(safe_from_underflow(b), b.abs(), 0))


@law(
    "B12d",
    subject=Subject.SCORES,
    claim=Claim.DEGREE_ONE,
    needs={Trait.HOMOGENEOUS, Trait.CHAIN},
    given=PATH_SUM,
    source="degree one in each layer; powers of two round nothing, so the bits must agree",
    impostor=raw_gradient,
    breaks_on=(synflow, tanh_net),
    grades=(Grade.EXACT,),
)
def layer_scaling(case: Case) -> Iterator[Balances]:
    """Multiplying each layer of a chain by a number multiplies every score by all of them: the order stays."""
    source = case.source(9)
    # of both signs, so that the product of many layers neither overflows nor underflows; it is not 1
    powers = [int(torch.randint(1, 3, (), generator=source)) * (-1) ** i for i, _ in enumerate(case.batch.weights)]
    powers[0] += sum(powers) == 0
    factors = dict(zip(case.batch.weights, (2.0**power for power in powers), strict=True))
    scaled = case.moved({n: factors[n] * w for n, w in case.batch.weights.items()}).scores
    for name, score in scaled.items():
        a, b = score.flatten(1), 2.0 ** sum(powers) * case.scores[name].flatten(1)
        yield equal(f"weight of {name}", a, b, bound=counted(a), scale=torch.where(_large(a, b), b.abs(), 0))


def _large(a: Tensor, b: Tensor) -> Tensor:
    return safe_from_underflow(torch.maximum(a.abs(), b.abs()))


@law(
    "B11",
    subject=Subject.SCORES,
    claim=Claim.PATH_SUM,
    needs={Trait.HOMOGENEOUS, Trait.MULTILINEAR, Trait.CHAIN},
    given=PATH_SUM,
    needs_objective=True,
    source="the second derivative of log R by log |w| is the covariance of the paths' use of two weights",
    impostor=biased_flow,
    breaks_on=(synflow, tanh_net),
    grades=(Grade.ORDER,),
)
def log_convexity(case: Case) -> Iterator[Balances]:
    """log R is convex in the logarithms of the weights, and flat along scalings of whole layers."""
    whole = case.values(case.batch.weights)
    share = {n: s.flatten(1).abs() / whole.unsqueeze(1) for n, s in case.scores.items()}
    live = whole > 0
    rates = {name: float(i) for i, name in enumerate(case.batch.weights, 1)}  # all layers at once, each by its own
    curved = _curvature(case, lambda n, w: torch.full_like(w, rates[n]))
    for name, row in curved.items():
        flat = row.flatten(1)
        size = _where(live, 2 * sum(rates.values()) * share[name], flat)
        yield equal(f"{name} along layers", flat, torch.zeros_like(flat), scale=size)
    source = case.source(10)
    drawn = {n: torch.randn(w.shape[1:], generator=source).to(w) for n, w in case.batch.weights.items()}
    curved = _curvature(case, lambda n, w: drawn[n].to(w))
    terms = torch.cat([(curved[n] * drawn[n]).flatten(1) for n in curved], 1)
    size = torch.cat([2 * share[n] * drawn[n].flatten().square() for n in curved], 1).sum(1, keepdim=True)
    bent = terms.sum(1, keepdim=True)
    yield at_most("curvature", -bent, torch.zeros_like(bent), scale=_where(live, size, bent))


def _where(live: Tensor, size: Tensor, like: Tensor) -> Tensor:
    return torch.where(live.unsqueeze(1) & torch.isfinite(like), size, 0)


def _curvature(case: Case, direction: Callable[[str, Tensor], Tensor]) -> dict[str, Tensor]:
    """The second derivative of log R by the logarithms of the weights times a direction: (batch, *shape) each."""

    def one(problem: Problem, masks: Masks) -> dict[str, Tensor]:
        network, weights = problem.network, masks.apply(problem.network.weights)

        def value(u: dict[str, Tensor]) -> Tensor:
            scaled = {n: w * u[n].exp() for n, w in weights.items()}
            return call_objective(case.pruner, network, scaled, Probe(problem)).log()

        def slope(u: dict[str, Tensor]) -> Tensor:
            gradient = torch.func.grad(value)(u)
            return torch.stack([(gradient[n] * direction(n, weights[n])).sum() for n in gradient]).sum()

        found: dict[str, Tensor] = torch.func.grad(slope)({n: torch.zeros_like(w) for n, w in weights.items()})
        return found

    return case.each(one)
