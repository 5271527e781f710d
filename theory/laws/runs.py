"""Laws of a pruning run: budget, nesting, and maximal critical compression."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from pruning.answers import ScoreError
from pruning.engine import prune
from pruning.masks import Masks
from pruning.pruner import Claim
from pruning.pruners.synflow import synflow
from pruning.rounds import Trace
from pruning.schedule import exponential
from theory.case import Case, Plan
from theory.impostors.scores import only_unpruned, over_layer
from theory.impostors.selections import by_threshold, unpinned
from theory.law import Balances, Grade, Subject, counted, equal, law, none_of
from theory.networks.outside import square_chain
from theory.traits import Trait

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


@law(
    "M3",
    subject=Subject.TRACE,
    claim=Claim.MAXIMAL_CRITICAL,
    needs={Trait.HOMOGENEOUS, Trait.CHAIN, Trait.SMALL},
    source="Tanaka et al. 2020, Theorem 3, with a live path asked for; n >= 2 L ln(N/L) rounds suffice",
    impostor=over_layer,
    breaks_on=(synflow, square_chain),
    grades=EXACT,
)
def maximal_critical_compression(case: Case) -> Iterator[Balances]:
    """Pruned slowly enough, a chain ends with exactly one weight per layer, all on one live path."""
    layers, total = len(case.graph.edges), case.total
    if total < 2 * layers:
        return
    plan = Plan(layers, safe_rounds(total, layers))
    runs = [case.pruned(i, plan) for i in range(case.batch.size)]
    alive = torch.tensor([[_is_live(case, i, Masks.full(_weights(case, i)))] for i in range(case.batch.size)])
    ends = torch.tensor([[_is_live(case, i, run.masks)] for i, run in enumerate(runs)]).double()
    scale = torch.where(alive, 1.0, 0.0).double()  # a network that was dead from the start shows nothing
    yield equal(
        "live path",
        ends,
        torch.ones_like(ends),
        bound=counted(ends),
        scale=scale,
        label=lambda b, u: _death(case, b, runs[b]),
    )
    kept = torch.stack([run.kept[-1] for run in runs]).double()
    yield equal(
        "weights left in layer",
        kept,
        torch.ones_like(kept),
        bound=counted(kept),
        scale=scale.expand_as(kept),
        label=lambda b, u: f"layer {case.graph.edges[u].node.where} ends with {int(kept[b, u])} weights",
    )


def safe_rounds(total: int, layers: int) -> int:
    """Rounds after which an exponential schedule from N to L weights prunes at most n/2L at a time."""
    return max(1, math.ceil(2 * layers * math.log(total / layers)))


def _is_live(case: Case, index: int, masks: Masks) -> bool:
    """Whether a path of kept, non-zero weights joins input and output: 0/1 weights carry a flow."""
    network = case.network_of(index).neutralised()
    present = {n: ((w != 0) & masks[n]).to(w.dtype) for n, w in _weights(case, index).items()}
    return bool(network.forward(present, torch.ones_like(network.example[:1])).sum() > 0)


def _death(case: Case, index: int, run: Trace) -> str:
    last = next(r for r in range(1, run.rounds + 1) if not _is_live(case, index, run.masks_at(r)))
    counts = run.kept[last - 1].tolist()
    cut = float(run.cut[last - 1])
    against = "" if math.isnan(cut) else f" against a cut of {cut:.6g}"
    return (
        f"the last path died in round {last} of {run.rounds}, which left {sum(counts)} weights, by layer {counts}; "
        f"it pruned scores of {float(run.mass[last - 1]):.6g}{against}"
    )


def _weights(case: Case, index: int) -> dict[str, Tensor]:
    return {n: w[index] for n, w in case.batch.weights.items()}


def _rounds(case: Case, read: Callable[[Trace], Tensor]) -> Tensor:
    """One column per round of each plan: (batch, rounds)."""
    return torch.stack([torch.cat([read(run) for run in runs]) for runs in case.traces])


def _which(case: Case, column: int) -> str:
    names = [f"round {r} of {p.rounds} to {p.keep} weights" for p in case.plans for r in range(1, p.rounds + 1)]
    return names[column]
