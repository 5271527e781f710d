"""The engine: rounds of scoring and selecting, as Algorithm 1 has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial

import torch
from torch import Tensor

from pruning.answers import (
    ScoreError,
    call_choice,
    call_objective,
    call_scorer_with_cut,
    check_asked,
    check_kinds,
    check_scores,
)
from pruning.masks import Masks, Tensors, global_top_k
from pruning.network import Network, Together, check_finite
from pruning.problem import Probe, Problem
from pruning.pruner import Entrywise, Pruner, Saliency, State
from pruning.rounds import MAX_ROUNDS, Log, Standing, Trace, died_before, told_later
from pruning.schedule import Alive, Schedule, asked, check_schedule


def prune(
    problem: Problem,
    pruner: Pruner,
    schedule: Schedule,
    on_round: Callable[[int, int], None] | None = None,
    on_standing: Callable[[Standing], None] | None = None,
    since: Standing | None = None,
) -> Trace:
    """Score and select until the schedule ends (Tanaka et al. 2020, Algorithm 1).

    Works in the dtype and on the device of the problem's network, and on copies of the problem's
    tensors: not even a scorer that writes into them changes it. `on_round` is told each round and
    the number of weights kept, `on_standing` what it takes to go on from there; `since`: go on from there, as one run
    would have; the trace then tells of the rounds behind it. Where each process has parts of the network's weights, all
    prune together, by pruners of `global_top_k` alone, and `died` holds DTensors. Raises ScoreError where the scores
    can't be used, ValueError for weights that are not finite, TypeError for what is no problem, pruner or schedule.
    """
    problem = _checked(problem, pruner, schedule)
    network, probe, together = problem.network, Probe(problem), problem.network.together
    died = died_before(network, since)
    if since is not None:
        network = replace(network, initial=since.masks)
    log, first = Log(network, pruner), 1 if since is None else since.round + 1
    probe.calls.update({} if since is None else since.calls)
    for round_, masks in enumerate(_rounds(network, pruner, schedule, probe, log, first), first):
        died = {n: _fate(died[n], masks[n], round_) for n in died}
        if on_round:
            on_round(round_, log.kept)
        if on_standing:
            on_standing(log.standing(round_, died, probe.calls))
    if together:
        died = together.wrapped({n: d.int() for n, d in died.items()})  # gloo gathers no int16
    return log.trace(died, dict(probe.calls), first - 1)


def masks_by_round(problem: Problem, pruner: Pruner, schedule: Schedule, log: Log) -> Iterator[Masks]:
    """The masks after each round of what `prune` does, one after the other, also where weights are revived.

    `log`, of the same network and pruner, holds the rounds so far. Raises as `prune` does: for scores that can't be
    used in the round that they are of, or in the next where work is queued.
    """
    problem = _checked(problem, pruner, schedule)
    return _rounds(problem.network, pruner, schedule, Probe(problem), log)


def _checked(problem: Problem, pruner: Pruner, schedule: Schedule) -> Problem:
    """A copy of what can be run."""
    check_asked(pruner, problem)
    check_schedule(schedule)
    check_finite(problem.network.weights, problem.network.together)
    return _copied(problem)


def _rounds(
    network: Network, pruner: Pruner, schedule: Schedule, probe: Probe, log: Log, first: int = 1
) -> Iterator[Masks]:
    masks, pruner = network.initial, _selecting(pruner, network.together)
    for round_ in range(first, MAX_ROUNDS + 1):
        # a schedule that has ended needs no scores
        scoring = cache(partial(_score, pruner, network, _standing(network, masks), probe))
        target = asked(schedule, round_, log.kept, _alive(pruner, network, scoring, masks, probe))
        if target is None:
            log.settle()
            return
        scores, cut = scoring()
        after = call_choice(pruner, network, _standing(network, masks), scores, target, probe)
        if cut is None:
            cut = _cut(network, pruner, State(network.weights, masks), probe)
        log.add(scores, masks, after, target, cut)
        masks = after
        yield masks
    raise ValueError(f"the schedule did not end within {MAX_ROUNDS} rounds")


def _selecting(pruner: Pruner, together: Together | None) -> Pruner:
    """The pruner whose masks are chosen over the parts of all processes. Raises ValueError where they can't be."""
    if together is None:
        return pruner
    if pruner.score is None or pruner.choose is not None or pruner.select is not global_top_k:
        raise ValueError(
            f"{pruner.name!r} does not keep the highest scores of all layers; parts are pruned by that alone"
        )
    if not isinstance(pruner.score, (Saliency, Entrywise)):
        raise ValueError(
            f"what {pruner.name!r} scores of a part need not be a part of its scores; wanted prunelaws.saliency of an "
            "objective, or prunelaws.Entrywise of a function that looks at each weight by itself"
        )
    return replace(pruner, select=together.top_k)


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


Scored = tuple[dict[str, Tensor] | None, Tensor | None]  # the scores, and R where scoring gives that too


def _score(pruner: Pruner, network: Network, state: State, probe: Probe) -> Scored:
    if pruner.score is None:
        return None, None
    if network.together is None:
        return _scored(pruner, network, state, probe)
    scored: Scored = None, None
    told = ""
    try:
        scored = _scored(pruner, network, state, probe)
    except ScoreError as error:
        told = str(error)
    if told := network.together.failure(told):  # or the others would wait for this one
        raise ScoreError(told)
    return scored


def _scored(pruner: Pruner, network: Network, state: State, probe: Probe) -> Scored:
    scores, cut = call_scorer_with_cut(pruner, network, state, probe)
    (check_kinds if told_later(network) else check_scores)(pruner.name, network.weights, scores)
    return scores, cut


def _cut(network: Network, pruner: Pruner, state: State, probe: Probe) -> Tensor | None:
    if pruner.objective is None:
        return None
    with torch.no_grad():
        return call_objective(pruner, network, state.effective, probe).detach()


def _alive(pruner: Pruner, network: Network, scoring: Callable[[], Scored], masks: Masks, probe: Probe) -> Alive:
    def scores() -> Tensor:
        if network.together:
            raise ValueError(
                "this schedule goes by all scores, which no process has of a sharded network; wanted one by counts"
            )
        found, _ = scoring()
        if found is None:
            raise ValueError(
                f"this schedule goes by scores, and {pruner.name!r} gives masks alone; wanted one by counts"
            )
        return torch.cat([found[n][masks[n]] for n in masks]).sort().values

    def shares() -> Tensor:
        ascending, (_, cut) = scores(), scoring()
        cut = _cut(network, pruner, State(network.weights, masks), probe) if cut is None else cut
        if cut is None:
            raise ValueError(f"this schedule goes by shares of R, and {pruner.name!r} has no objective")
        return ascending.double() / cut.double()

    return Alive(scores, shares)


def _fate(died: Tensor, kept: Tensor, round_: int) -> Tensor:
    fallen = torch.where(~kept & (died == 0), torch.full_like(died, round_), died)
    return torch.where(kept, torch.zeros_like(died), fallen)
