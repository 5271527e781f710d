"""Laws of a pruning run: that it ends, budget, nesting, idempotence."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from pruning.answers import ScoreError
from pruning.engine import prune
from pruning.pruner import Claim
from pruning.rounds import Trace
from pruning.schedule import exponential
from theory.case import Case
from theory.impostors.scores import only_unpruned
from theory.impostors.selections import by_threshold, unpinned
from theory.law import Balances, Grade, Subject, counted, equal, law, none_of

EXACT = (Grade.EXACT,)


@law(
    "M0",
    subject=Subject.TRACE,
    claim=None,
    source="contract: scores must be usable on every network that pruning leads to",
    impostor=only_unpruned,
    grades=EXACT,
)
def usable_runs(case: Case) -> Iterator[Balances]:
    """A pruning run ends, to any number of weights, without a fault of the scorer or the selection."""
    try:
        fault = "" if case.traces else "no runs"
    except ScoreError as error:
        fault = str(error)
    count = torch.full((case.batch.size, 1), float(bool(fault)))
    yield none_of("fault", count, lambda b, u: fault)


@law(
    "M1",
    subject=Subject.TRACE,
    claim=Claim.EXACT_BUDGET,
    source="Synaptic-Flow issue 12: a threshold over-prunes ties",
    impostor=by_threshold,
    grades=EXACT,
)
def exact_budget(case: Case) -> Iterator[Balances]:
    """After every round exactly as many weights are kept as were asked for."""
    kept = _rounds(case, lambda run: run.kept.sum(1).double())
    asked = _rounds(case, lambda run: torch.tensor(run.targets, dtype=torch.float64))
    yield equal(
        "round",
        kept,
        asked,
        bound=counted(kept),
        scale=torch.ones_like(kept),
        label=lambda b, u: f"{_which(case, u)}: {int(kept[b, u])} kept, {int(asked[b, u])} asked for",
    )


@law(
    "M2",
    subject=Subject.TRACE,
    claim=Claim.NESTED_MASKS,
    source="Tanaka et al. 2020, Algorithm 1; public iterative SNIP, GraSP and random revive weights",
    impostor=unpinned,
    grades=EXACT,
)
def nested_masks(case: Case) -> Iterator[Balances]:
    """A pruned weight never comes back."""
    revived = _rounds(case, lambda run: torch.tensor(run.revived, dtype=torch.float64))
    yield none_of("round", revived, lambda b, u: f"{_which(case, u)}: {int(revived[b, u])} pruned weights came back")


@law(
    "M4",
    subject=Subject.TRACE,
    claim=Claim.IDEMPOTENT,
    source="public code prunes again what it kept, where a kept weight scores zero",
    impostor=unpinned,
    grades=EXACT,
)
def idempotence(case: Case) -> Iterator[Balances]:
    """Pruned again to as many weights as are left, a network stays as it is."""
    changed = [[_again(case, i, run) for run in runs] for i, runs in enumerate(case.traces)]
    count = torch.tensor(changed, dtype=torch.float64)
    left = torch.tensor([[run.masks.kept for run in runs] for runs in case.traces])
    yield none_of(
        "run",
        count,
        lambda b, u: f"pruned again to {int(left[b, u])}: {int(count[b, u])} weights change",
        looked=(left > 0).double(),
    )


def _again(case: Case, index: int, run: Trace) -> float:
    """Weights that a further round to the same number changes."""
    if not run.masks.kept:  # which breaks other laws
        return 0.0
    problem = case.batch.problem(index)
    problem = replace(problem, network=replace(problem.network, initial=run.masks))
    again = prune(problem, case.pruner, exponential(run.masks.kept, run.masks.kept, 1))
    return float(sum((again.masks[n] != m).sum() for n, m in run.masks.items()))


def _rounds(case: Case, read: Callable[[Trace], Tensor]) -> Tensor:
    """One column per round of each plan: (batch, rounds)."""
    return torch.stack([torch.cat([read(run) for run in runs]) for runs in case.traces])


def _which(case: Case, column: int) -> str:
    names = [f"round {r} of {p.rounds} to {p.keep} weights" for p in case.plans for r in range(1, p.rounds + 1)]
    return names[column]
