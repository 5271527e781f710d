"""The engine: rounds of scoring and selecting, and the trace they leave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial

import torch
from torch import Tensor

from pruning.answers import call_choice, call_objective, call_scorer, check_asked, check_scores
from pruning.masks import Masks, Tensors
from pruning.network import Network, check_finite
from pruning.problem import Probe, Problem
from pruning.pruner import Pruner, State
from pruning.schedule import Schedule

MAX_ROUNDS = torch.iinfo(torch.int16).max


@dataclass(frozen=True)
class Trace:
    """What a pruning run did, round by round (rounds count from 1).

    targets: weights to keep; kept: (rounds, layers) weights kept; mass: scores removed, NaN without scores; cut:
    the objective's R before the round, NaN without an objective; revived: pruned weights that came back;
    flat: rounds in which every alive score was 0, so that only the index decided.
    died: per weight the round of its removal, 0 for a survivor, -1 if it was masked from the start.
    """

    layers: tuple[str, ...]
    targets: tuple[int, ...]
    kept: Tensor
    mass: Tensor
    cut: Tensor
    revived: tuple[int, ...]
    flat: tuple[int, ...]
    died: Tensors
    calls: dict[str, int]

    @property
    def rounds(self) -> int:
        """Number of rounds."""
        return len(self.targets)

    def masks_at(self, round_: int) -> Masks:
        """The masks after a round; 0 is before the first. Exact when nothing was revived."""
        if not 0 <= round_ <= self.rounds:
            raise ValueError(f"round {round_} of a run of {self.rounds} rounds")
        return Masks({n: (died == 0) | (died > round_) for n, died in self.died.items()})

    @property
    def masks(self) -> Masks:
        """The masks at the end."""
        return self.masks_at(self.rounds)


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
    check_asked(pruner, problem)
    if not callable(schedule):
        raise TypeError(f"the schedule is {schedule!r}; wanted such as prunelaws.exponential(total, keep, rounds)")
    check_finite(problem.network.weights)
    problem = _copied(problem)
    network, probe = problem.network, Probe(problem)
    masks = network.initial
    died = {n: torch.where(m, 0, -1).to(torch.int16) for n, m in masks.items()}
    log = _Log()
    for round_ in range(1, MAX_ROUNDS + 1):
        # a schedule that has ended needs no scores
        scoring = cache(partial(_score, pruner, network, _standing(network, masks), probe))
        kept = log.last_kept if log.kept else masks.kept
        target = schedule(round_, kept, lambda s=scoring, m=masks: _alive(pruner, s(), m))  # type: ignore[misc]
        if target is None:
            break
        scores = scoring()
        after = call_choice(pruner, network, _standing(network, masks), scores, target, probe)
        log.add(network, pruner, State(network.weights, masks), scores, after, target, probe)
        died = {n: _fate(died[n], after[n], round_) for n in died}
        masks = after
        if on_round:
            on_round(round_, log.last_kept)
    else:
        raise ValueError(f"the schedule did not end within {MAX_ROUNDS} rounds")
    return log.trace(network, died, dict(probe.calls))


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


def _alive(pruner: Pruner, scores: Tensors | None, masks: Masks) -> Tensor:
    if scores is None:
        raise ValueError(f"this schedule goes by scores, and {pruner.name!r} gives masks alone; wanted one by counts")
    return torch.cat([scores[n][masks[n]] for n in masks]).sort().values


def _fate(died: Tensor, kept: Tensor, round_: int) -> Tensor:
    fallen = torch.where(~kept & (died == 0), torch.full_like(died, round_), died)
    return torch.where(kept, torch.zeros_like(died), fallen)


class _Log:
    def __init__(self) -> None:
        self.targets: list[int] = []
        self.kept: list[Tensor] = []
        self.mass: list[Tensor] = []
        self.cut: list[Tensor] = []
        self.revived: list[Tensor] = []
        self.flat: list[Tensor] = []
        self.last_kept = 0

    def add(
        self,
        network: Network,
        pruner: Pruner,
        state: State,
        scores: Tensors | None,
        after: Masks,
        target: int,
        probe: Probe,
    ) -> None:
        before = state.masks
        self.targets.append(target)
        self.kept.append(torch.stack([after[n].sum() for n in before]).cpu())
        self.mass.append(_mass(scores, before, after))
        self.cut.append(_cut(network, pruner, state, probe))
        self.revived.append(torch.stack([(after[n] & ~before[n]).sum() for n in before]).sum().cpu())
        self.flat.append(_is_flat(scores, before))
        self.last_kept = int(self.kept[-1].sum())

    def trace(self, network: Network, died: Tensors, calls: dict[str, int]) -> Trace:
        return Trace(
            layers=tuple(network.weights),
            targets=tuple(self.targets),
            kept=torch.stack(self.kept) if self.kept else torch.empty(0, len(network.weights), dtype=torch.int64),
            mass=torch.stack(self.mass).double() if self.mass else torch.empty(0, dtype=torch.float64),
            cut=torch.stack(self.cut).double() if self.cut else torch.empty(0, dtype=torch.float64),
            revived=tuple(int(r) for r in self.revived),
            flat=tuple(i + 1 for i, f in enumerate(self.flat) if f),
            died=died,
            calls=calls,
        )


def _mass(scores: Tensors | None, before: Masks, after: Masks) -> Tensor:
    """The scores that are removed; NaN where there are none."""
    if scores is None:
        return torch.tensor(torch.nan, dtype=torch.float64)
    removed = [scores[n].masked_fill(~before[n] | after[n], 0).sum() for n in before]
    return torch.stack(removed).sum().cpu()


def _is_flat(scores: Tensors | None, before: Masks) -> Tensor:
    """Whether every alive score is 0."""
    if scores is None:
        return torch.tensor(False)
    alive = [(scores[n].masked_fill(~before[n], 0) != 0).any() for n in before]
    return ~torch.stack(alive).any().cpu()


def _cut(network: Network, pruner: Pruner, state: State, probe: Probe) -> Tensor:
    if pruner.objective is None:
        return torch.tensor(torch.nan, dtype=torch.float64)
    with torch.no_grad():
        return call_objective(pruner, network, state.effective, probe).detach().cpu()
