"""Contracts and plain promises of a choice of masks: pure, repeatable, data-free. Those of a score are in contracts."""

import math
from collections.abc import Iterator
from dataclasses import replace

import torch

from pruning.answers import ask_choice, call_scorer
from pruning.masks import Masks
from pruning.network import Network
from pruning.problem import Probe
from pruning.pruner import Claim, State
from theory.case import Case
from theory.impostors.selections import data_reading, unseeded_choice, writing_choice
from theory.law import Balances, Grade, Subject, law, none_of
from theory.laws.masked import random_masks
from theory.untouched import changed_by, elsewhere

EXACT = (Grade.EXACT,)


@law(
    "M7",
    subject=Subject.TRACE,
    claim=None,
    source="contract: choosing masks must not touch what it chooses from",
    impostor=writing_choice,
    grades=EXACT,
)
def pure_choice(case: Case) -> Iterator[Balances]:
    """Choosing masks leaves weights, constants, scores, masks, data, random states and torch's modes as they were."""
    if case.run is not None:
        return
    masks = random_masks(case)
    changed = [_changed_by_choice(case, i, Masks({n: m[i] for n, m in masks.items()})) for i in range(case.batch.size)]
    count = torch.tensor([[float(len(names))] for names in changed])
    yield none_of("tensors changed", count, lambda b, u: f"choosing changed {', '.join(changed[b])}")


def _changed_by_choice(case: Case, index: int, masks: Masks) -> list[str]:
    problem, pruner = case.batch.problem(index), case.pruner
    scores = None
    if pruner.score is not None:
        copies = {n: w.clone() for n, w in problem.network.weights.items()}  # a scorer may not be pure
        network = replace(problem.network, weights=copies)
        scores = call_scorer(pruner, network, State(copies, masks), Probe(problem))

    def choose(network: Network, state: State, probe: Probe) -> None:
        ask_choice(pruner, network, state, scores, math.ceil(masks.kept / 3), probe)

    return changed_by(choose, problem, masks, {f"score of {n}": s for n, s in (scores or {}).items()})


@law(
    "M8",
    subject=Subject.TRACE,
    claim=Claim.DETERMINISTIC,
    source="same problem, same seed, same masks",
    impostor=unseeded_choice,
    grades=EXACT,
)
def repeated_runs(case: Case) -> Iterator[Balances]:
    """The same problem pruned twice keeps the same weights."""
    if case.run is not None:
        return
    plan = case.plans[-1]
    first = [runs[-1].masks for runs in case.traces]
    with elsewhere():  # who draws from torch's own state draws something else now
        again = [case.pruned(i, plan).masks for i in range(case.batch.size)]
    differ = [sum(int((a[n] != m).sum()) for n, m in one.items()) for one, a in zip(first, again, strict=True)]
    count = torch.tensor(differ, dtype=torch.float64).unsqueeze(1)
    yield none_of(
        "weights",
        count,
        lambda b, u: f"pruned twice to {plan.keep} in {plan.rounds} rounds: {int(count[b, u])} weights change",
        looked=torch.tensor([[plan.keep < case.total]]),
    )


@law(
    "M9",
    subject=Subject.TRACE,
    claim=Claim.DATA_FREE,
    source="Tanaka et al. 2020, section 5",
    impostor=data_reading,
    grades=EXACT,
)
def data_free_runs(case: Case) -> Iterator[Balances]:
    """A pruning run asks for no data and no labels."""
    calls = torch.tensor([[run.calls.get("batch", 0) for run in runs] for runs in case.traces], dtype=torch.float64)
    yield none_of("uses of the batch", calls, lambda b, u: f"a run asked for the batch {int(calls[b, u])} times")
