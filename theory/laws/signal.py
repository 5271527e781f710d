"""The law of GraSP: a score is what the squared gradient norm owes to its weight."""

from collections.abc import Iterator

import torch
from torch import Tensor

from pruning.masks import Masks
from pruning.problem import Probe, Problem
from pruning.pruner import Claim
from pruning.pruners.grasp import TEMPERATURE
from theory.calculus import inner
from theory.case import Case
from theory.impostors.scores import lowering_flow
from theory.law import Balances, Grade, Subject, equal, law


@law(
    "S8",
    subject=Subject.SCORES,
    claim=Claim.GRADIENT_SIGNAL,
    given={Claim.GRADIENT_SIGNAL},  # other scores have other aims
    source="Wang et al. 2020, eq. 8: theta * Hg at temperature 200; its sign differs from one public code to another",
    impostor=lowering_flow,
    grades=(Grade.ORDER,),
)
def gradient_signal(case: Case) -> Iterator[Balances]:
    """Each score is its weight times the derivative of half the squared norm of the loss's gradient."""
    if case.batch.inputs is None:
        return
    wanted = case.each(lambda problem, masks: _owed(problem, masks))
    for name, score in case.scores.items():
        left, right = score.flatten(1), wanted[name].flatten(1)
        largest = torch.maximum(left.abs().amax(1, keepdim=True), right.abs().amax(1, keepdim=True))
        yield equal(f"weight of {name}", left, right, scale=largest.expand_as(left))


def _owed(problem: Problem, masks: Masks) -> dict[str, Tensor]:
    probe, weights = Probe(problem), masks.apply(problem.network.weights)

    def half_norm(at: dict[str, Tensor]) -> Tensor:
        slopes = probe.grad(problem.network, at, TEMPERATURE)
        return inner(slopes, slopes) / 2

    found = torch.func.grad(half_norm)(weights)
    return {n: weights[n] * found[n] for n in weights}
