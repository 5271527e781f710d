"""The diagonal of the Hessian, and why it says nothing of objectives that are sums over paths."""

from collections.abc import Iterator

import torch
from torch import Tensor

from pruning.masks import Masks
from pruning.problem import Problem
from pruning.pruner import Claim
from pruning.pruners.synflow import synflow
from theory.calculus import gradient, hessian_times, objective_of
from theory.case import Case
from theory.impostors.objectives import squared_flow
from theory.law import Balances, Grade, Subject, counted, equal, law
from theory.networks.outside import square_chain
from theory.traits import Trait

SAMPLES = 4  # weights of each layer that are looked at one by one


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
    for name, weight in case.batch.weights.items():
        picks = torch.randint(weight[0].numel(), (SAMPLES,), generator=case.source(14)).tolist()
        for index in sorted(set(picks)):
            found = case.each(lambda problem, masks, n=name, i=index: _diagonal(case, problem, masks, n, i))  # type: ignore[misc]
            bend, slope = found["bend"].unsqueeze(1), found["slope"].unsqueeze(1)
            # every term of the second derivative has a factor that is 0, so nothing is rounded
            yield equal(f"weight {name}[{index}]", bend, torch.zeros_like(bend), bound=counted(bend), scale=slope.abs())


def _diagonal(case: Case, problem: Problem, masks: Masks, name: str, index: int) -> dict[str, Tensor]:
    """theta^2 d2R/dtheta2 and theta dR/dtheta of one weight."""
    value, at = objective_of(case, problem, masks)
    one = torch.zeros(at[name].numel(), dtype=case.dtype, device=case.units.device)
    one[index] = 1
    axis = {n: one.view(t.shape) if n == name else torch.zeros_like(t) for n, t in at.items()}
    theta = at[name].flatten()[index]
    bend = hessian_times(value, at, axis)[name].flatten()[index]
    return {"bend": theta**2 * bend, "slope": theta * gradient(value, at)[name].flatten()[index]}
