"""Laws of objectives that sum over paths with nonnegative terms, as SynFlow's does."""

from collections.abc import Iterator

import torch
from torch import Tensor

from pruning.engine import Trace
from pruning.pruner import Claim
from pruning.pruners.synflow import synflow
from theory.case import Case
from theory.impostors.scores import biased_flow, halved
from theory.law import Balances, Grade, Subject, at_most, counted, equal, law
from theory.networks.outside import max_net, tanh_net
from theory.numerics import Bound, gamma, safe_from_underflow
from theory.traits import Trait

PATH_SUM = {Claim.DATA_FREE, Claim.POSITIVE}
SAMPLES = 12  # weights taken out one by one, per network


@law(
    "B3",
    subject=Subject.SCORES,
    claim=Claim.LEAVE_ONE_OUT,
    needs={Trait.HOMOGENEOUS, Trait.MULTILINEAR},
    given=PATH_SUM,
    needs_objective=True,
    source="R is affine in each weight; path norm of Neyshabur et al. 2015",
    impostor=halved,
    breaks_on=(synflow, max_net),
    grades=(Grade.EXACT, Grade.ROUNDED),
)
def leave_one_out(case: Case) -> Iterator[Balances]:
    """A weight's score is what the objective loses when just that weight is set to zero."""
    for name, index, score, loss, bound in _taken_out(case):
        yield equal(
            f"weight {name}[{index}]",
            loss,
            score,
            bound=bound,
            label=lambda b, u, n=name, i=index, s=score, d=loss: (  # type: ignore[misc]
                f"weight {n}[{i}]: score {float(s[b, u]):.6g}, without it R falls by {float(d[b, u]):.6g}"
            ),
        )


@law(
    "B3'",
    subject=Subject.SCORES,
    claim=Claim.LEAVE_ONE_OUT,
    needs={Trait.HOMOGENEOUS},
    given=PATH_SUM,
    needs_objective=True,
    source="R is convex in each weight where paths meet in a max-pool",
    impostor=halved,
    breaks_on=(synflow, tanh_net),
    grades=(Grade.EXACT, Grade.ROUNDED),
)
def leave_one_out_bound(case: Case) -> Iterator[Balances]:
    """The objective never loses more than a weight's score when just that weight is set to zero."""
    for name, index, score, loss, bound in _taken_out(case):
        yield at_most(f"weight {name}[{index}]", loss, score, bound=bound)


def _taken_out(case: Case) -> Iterator[tuple[str, int, Tensor, Tensor, Bound | None]]:
    """Sampled weights: name, index, score, loss of R, and the rounding of both.

    Nothing cancels in R, R' and S, so each is within gamma_K of its true value, and gamma_2K of the
    computed ones bounds that; the difference adds one rounding.
    """
    whole = case.values(case.batch.weights)
    source = case.source(1)
    k = case.path_roundings
    names = list(case.batch.weights)
    for draw in range(SAMPLES):
        name = names[draw % len(names)]
        weight = case.batch.weights[name]
        index = int(torch.randint(weight[0].numel(), (1,), generator=source))
        without = weight.clone()
        without.flatten(1)[:, index] = 0
        rest = case.values({**case.batch.weights, name: without})
        score = case.scores[name].flatten(1)[:, index]
        size = (whole.abs() + rest.abs() + score.abs()).unsqueeze(1)
        bound = None if k is None else case.bounded(gamma(2 * k + 2, case.dtype) * size)
        yield name, index, score.unsqueeze(1), (whole - rest).unsqueeze(1), bound


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
    "B6",
    subject=Subject.TRACE,
    claim=Claim.UNION_BOUND,
    needs={Trait.HOMOGENEOUS},
    given=PATH_SUM,
    needs_objective=True,
    source="each path that dies holds a pruned weight, and the scores count it at least once",
    impostor=halved,
    breaks_on=(synflow, tanh_net),
    grades=(Grade.ROUNDED,),
)
def union_bound(case: Case) -> Iterator[Balances]:
    """In each round the objective falls by at most the scores that were pruned."""
    rows = [torch.cat([_round_balance(case, i, run) for run in runs]) for i, runs in enumerate(case.traces)]
    before, mass, after = torch.stack(rows).unbind(-1)
    k, n = case.path_roundings, case.total
    bound = None
    if k is not None:
        size = gamma(2 * k + 1, case.dtype) * (before + after) + gamma(2 * k + n, case.dtype) * mass
        bound = Bound(size, torch.zeros(len(size), dtype=torch.bool))
    says_something = (mass > 0) & (mass < before)  # otherwise the right side is not even positive
    rounds = [(plan, r) for plan in case.plans for r in range(1, plan.rounds + 1)]
    yield at_most(
        "round",
        before - mass,
        after,
        bound=bound,
        scale=torch.where(says_something, before, 0),
        label=lambda b, u: (
            f"round {rounds[u][1]} of {rounds[u][0].rounds} to {rounds[u][0].keep} weights: R {float(before[b, u]):.6g}"
            f" - pruned {float(mass[b, u]):.6g} > {float(after[b, u]):.6g} left"
        ),
    )


def _round_balance(case: Case, index: int, run: Trace) -> Tensor:
    """(rounds, 3): R before, scores pruned, R after."""
    single = case.only(index)
    masked = {n: w * run.masks[n] for n, w in single.batch.weights.items()}
    end = single.values(masked).double().cpu()
    return torch.stack([run.cut, run.mass, torch.cat([run.cut[1:], end])], dim=1)
