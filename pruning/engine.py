"""The engine: rounds of scoring and selecting, as Algorithm 1 has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial

import torch
from torch import Tensor

from pruning.answers import call_choice, call_scorer, check_asked, check_scores
from pruning.masks import Masks, Tensors
from pruning.network import Network, check_finite
from pruning.problem import Probe, Problem
from pruning.pruner import Pruner, State
from pruning.rounds import MAX_ROUNDS, Log, Trace
from pruning.schedule import Schedule


def prune(
    problem: Problem,
    pruner: Pruner,
    schedule: Schedule,
    on_round: Callable[[int, int], None] | None = None,
) -> Trace:
    """Score and select until the schedule ends (Tanaka et al. 2020, Algorithm 1).

    Works in the dtype and on the device of the problem's network, and on copies of the problem's
    tensors: not even a scorer that writes into them changes it. `on_round` is told each round and
    the number of weights kept. Raises ScoreError where the scores can't be used, ValueError for
    weights that are not finite, TypeError for what is no problem, pruner or schedule.
    """
    problem, log = _checked(problem, pruner, schedule), Log()
    network, probe = problem.network, Probe(problem)
    died = {n: torch.where(m, 0, -1).to(torch.int16) for n, m in network.initial.items()}
    for round_, masks in enumerate(_rounds(network, pruner, schedule, probe, log), 1):
        died = {n: _fate(died[n], masks[n], round_) for n in died}
        if on_round:
            on_round(round_, log.last_kept)
    return log.trace(network, died, dict(probe.calls))


def masks_by_round(problem: Problem, pruner: Pruner, schedule: Schedule, log: Log) -> Iterator[Masks]:
    """The masks after each round of what `prune` does, one after the other, also where weights are revived.

    `log` holds the rounds so far. Raises as `prune` does: for scores that can't be used in the round that they are of.
    """
    problem = _checked(problem, pruner, schedule)
    return _rounds(problem.network, pruner, schedule, Probe(problem), log)


def _checked(problem: Problem, pruner: Pruner, schedule: Schedule) -> Problem:
    """A copy of what can be run."""
    check_asked(pruner, problem)
    if not callable(schedule):
        raise TypeError(f"the schedule is {schedule!r}; wanted such as prunelaws.exponential(total, keep, rounds)")
    check_finite(problem.network.weights)
    return _copied(problem)


def _rounds(network: Network, pruner: Pruner, schedule: Schedule, probe: Probe, log: Log) -> Iterator[Masks]:
    masks = network.initial
    for round_ in range(1, MAX_ROUNDS + 1):
        # a schedule that has ended needs no scores
        scoring = cache(partial(_score, pruner, network, _standing(network, masks), probe))
        kept = log.last_kept if log.kept else masks.kept
        target = schedule(round_, kept, partial(_alive, pruner, scoring, masks))
        if target is None:
            return
        scores = scoring()
        after = call_choice(pruner, network, _standing(network, masks), scores, target, probe)
        log.add(network, pruner, State(network.weights, masks), scores, after, target, probe)
        masks = after
        yield masks
    raise ValueError(f"the schedule did not end within {MAX_ROUNDS} rounds")


def _copied(problem: Problem) -> Problem:
    network = problem.network

    def copies(tensors: Tensors) -> dict[str, Tensor]:
        return {n: t.clone() for n, t in tensors.items()}

    own = replace(
        network,
        weights=copies(network.weights),
        fixed=copies(network.fixed),
        neutral=copies(network.neutral),
        example=network.example.clone(),
        initial=Masks(copies(network.initial)),
    )
    batch = (problem.batch[0].clone(), problem.batch[1].clone()) if problem.batch else None
    return replace(problem, network=own, batch=batch)


def _standing(network: Network, masks: Masks) -> State:
    """What a pruner is told, with masks of its own: writing into them revives nothing."""
    return State(network.weights, Masks({n: m.clone() for n, m in masks.items()}))


def _score(pruner: Pruner, network: Network, state: State, probe: Probe) -> dict[str, Tensor] | None:
    if pruner.score is None:
        return None
    scores = call_scorer(pruner, network, state, probe)
    check_scores(pruner.name, network.weights, scores)
    return scores


def _alive(pruner: Pruner, scoring: Callable[[], Tensors | None], masks: Masks) -> Tensor:
    scores = scoring()
    if scores is None:
        raise ValueError(f"this schedule goes by scores, and {pruner.name!r} gives masks alone; wanted one by counts")
    return torch.cat([scores[n][masks[n]] for n in masks]).sort().values


def _fate(died: Tensor, kept: Tensor, round_: int) -> Tensor:
    fallen = torch.where(~kept & (died == 0), torch.full_like(died, round_), died)
    return torch.where(kept, torch.zeros_like(died), fallen)
