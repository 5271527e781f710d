"""The diagonal of the Hessian, and why it says nothing of objectives that are sums over paths."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from pruning.masks import Masks
from pruning.problem import Problem
from pruning.pruner import Claim
from pruning.pruners.synflow import synflow
from theory.calculus import objective_of
from theory.case import Case
from theory.impostors.objectives import squared_flow
from theory.law import Balances, Grade, Subject, counted, equal, law
from theory.networks.outside import square_chain
from theory.traits import Trait

SAMPLES = 3  # weights of each layer that are looked at one by one


@law(
    "C7",
    subject=Subject.SCORES,
    claim=Claim.LEAVE_ONE_OUT,
    needs={Trait.HOMOGENEOUS},
    given={Claim.DATA_FREE, Claim.POSITIVE},
    needs_objective=True,
    source="a sum over paths is affine in each weight, so optimal brain damage (LeCun et al. 1990) scores it 0",
    impostor=squared_flow,
    breaks_on=(synflow, square_chain),
    grades=(Grade.EXACT,),
)
def vacuous_obd(case: Case) -> Iterator[Balances]:
    """The objective has no second derivative by any single weight: a diagonal of curvatures knows nothing of it."""
    picks = {n: _some(w[0].numel(), case.sampled(SAMPLES), case.source(14)) for n, w in case.batch.weights.items()}
    found = case.each(lambda problem, masks: _diagonal(case, problem, masks, picks))
    places = [f"weight {n}[{int(i)}]" for n, chosen in picks.items() for i in chosen]
    bend, slope = found["bend"], found["slope"]
    # every term of the second derivative has a factor that is 0, so nothing is rounded
    yield equal(
        "second derivatives",
        bend,
        torch.zeros_like(bend),
        bound=counted(bend),
        scale=slope.abs(),
        label=lambda b, u: f"{places[u]}: w^2 d2R/dw2 is {float(bend[b, u]):.6g}, not 0",
    )


def _some(count: int, most: int, source: torch.Generator) -> Tensor:
    picked: Tensor = torch.unique(torch.randint(count, (most,), generator=source))
    return picked


def _diagonal(case: Case, problem: Problem, masks: Masks, picks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """w^2 d2R/dw2 and w dR/dw of some weights, by what each is multiplied by."""
    value, at = objective_of(case, problem, masks)
    ends = [len(chosen) for chosen in picks.values()]

    def scaled(factors: Tensor) -> Tensor:
        moved = dict(at)
        for (name, chosen), own in zip(picks.items(), torch.split(factors, ends), strict=True):
            flat, where = at[name].flatten(), (chosen.to(factors.device),)
            moved[name] = flat.index_put(where, flat[where] * own).view(at[name].shape)
        return value(moved)

    ones = torch.ones(sum(ends), dtype=case.dtype, device=case.units.device)
    slopes, back, *_ = torch.func.vjp(torch.func.grad(scaled), ones)  # reverse over reverse: one slope at a kink
    bend = case.in_turn(lambda axis: back(axis)[0], torch.diag(ones))
    return {"bend": bend.diagonal(), "slope": slopes}
