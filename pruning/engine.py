"""The engine: rounds of scoring and selecting, and the trace they leave."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial

import torch
from torch import Tensor

from pruning.errors import retold
from pruning.masks import Masks, Tensors, check_against
from pruning.network import Network, check_finite
from pruning.problem import Probe, Problem
from pruning.pruner import Pruner, State
from pruning.schedule import Schedule
from pruning.surroundings import as_they_were

MAX_ROUNDS = torch.iinfo(torch.int16).max


class ScoreError(ValueError):
    """A scorer raised, or gave what can't be selected from: it broke the contract that binds every pruner."""


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
    weights that are not finite.
    """
    check_finite(problem.network.weights)
    problem = _copied(problem)
    network, probe = problem.network, Probe(problem)
    masks = network.initial
    died = {n: torch.where(m, 0, -1).to(torch.int16) for n, m in masks.items()}
    log = _Log()
    for round_ in range(1, MAX_ROUNDS + 1):
        own = Masks({n: m.clone() for n, m in masks.items()})  # the scorer's: writing into them revives nothing
        state = State(network.weights, own)
        scoring = cache(partial(_score, pruner, network, state, probe))  # a schedule that has ended needs no scores
        kept = log.last_kept if log.kept else masks.kept
        target = schedule(round_, kept, lambda s=scoring, m=masks: _alive(pruner, s(), m))  # type: ignore[misc]
        if target is None:
            break
        scores = scoring()
        after = _select(pruner, network, state, scores, masks, target, probe)
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


def _score(pruner: Pruner, network: Network, state: State, probe: Probe) -> dict[str, Tensor] | None:
    if pruner.score is None:
        return None
    scores = call_scorer(pruner, network, state, probe)
    check_scores(pruner.name, network.weights, scores)
    return scores


@contextmanager
def _held_to_answer(who: str) -> Iterator[None]:
    """Whatever a user's function raises is its failure to answer, be it SystemExit; an interrupt is the user's own."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise ScoreError(f"{who} raised {retold(error)}") from error


def call_scorer(pruner: Pruner, network: Network, state: State, probe: Probe) -> dict[str, Tensor]:
    """The pruner's scores, one tensor per weight, with torch's modes and random states left as they were.

    Raises ScoreError where it raised or gave something else.
    """
    with as_they_were():
        return ask_scorer(pruner, network, state, probe)


def ask_scorer(pruner: Pruner, network: Network, state: State, probe: Probe) -> dict[str, Tensor]:
    """The same, with whatever the scorer does to torch's modes and random states."""
    who = f"the scorer of {pruner.name!r}"
    assert pruner.score is not None
    with _held_to_answer(who):
        scores = pruner.score(network, state, probe)
    if not isinstance(scores, Mapping):
        raise ScoreError(f"{who} returned {type(scores).__name__}, wanted a mapping from weight name to tensor")
    for name, score in scores.items():
        if not isinstance(score, Tensor):
            raise ScoreError(f"{who} returned {type(score).__name__} for {name!r}, wanted a tensor")
        if score.layout is not torch.strided:
            raise ScoreError(f"{who} returned a tensor of {score.layout} for {name!r}, wanted a dense one")
    try:
        check_against(network.weights, scores, "score")
    except ValueError as error:
        raise ScoreError(f"{who} returned scores that don't fit: {error}") from None
    return {name: scores[name].detach() for name in network.weights}


def check_scores(name: str, weights: Tensors, scores: Tensors) -> None:
    """Raise ScoreError unless the scores are finite and of the weights' dtype and device."""
    who = f"the scorer of {name!r}"
    for layer, weight in weights.items():
        score = scores[layer]
        if score.dtype != weight.dtype or score.device != weight.device:
            raise ScoreError(
                f"{who} returned {score.dtype} on {score.device} for {layer!r}, "
                f"wanted the weights' {weight.dtype} on {weight.device}"
            )
        if not torch.isfinite(score).all():
            raise ScoreError(
                f"{who} returned {int(score.isnan().sum())} NaN and {int(score.isinf().sum())} infinite scores "
                f"of {score.numel()} for {layer!r}; with finite weights the usual causes are overflow (products "
                f"of weights along a path leave the range of {score.dtype}), a division by a zero total, "
                "and biases, statistics or data that are not finite"
            )


def _select(
    pruner: Pruner, network: Network, state: State, scores: Tensors | None, masks: Masks, target: int, probe: Probe
) -> Masks:
    who = f"the selection of {pruner.name!r}"
    with _held_to_answer(who):
        if pruner.choose is None:
            assert scores is not None
            after: object = pruner.select(scores, masks, target)
        else:
            with as_they_were():
                after = pruner.choose(network, state, target, probe)
    if not isinstance(after, Masks if pruner.choose is None else Mapping):
        raise ScoreError(f"{who} returned {type(after).__name__}, wanted Masks")
    try:
        found = after if isinstance(after, Masks) else Masks(dict(after))
        check_against(masks, found, "mask")
    except (TypeError, ValueError) as error:
        raise ScoreError(f"{who} returned masks that don't fit: {error}") from None
    return Masks({n: found[n] for n in masks})


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


def call_objective(pruner: Pruner, network: Network, weights: Tensors, probe: Probe) -> Tensor:
    """The pruner's objective R as a tensor of no dimensions. Raises ScoreError where it raised or gave no number."""
    who = f"the objective of {pruner.name!r}"
    assert pruner.objective is not None
    with _held_to_answer(who):
        value = pruner.objective(network, weights, probe)
    if not isinstance(value, Tensor) or value.numel() != 1:
        got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ScoreError(f"{who} returned {got}, wanted a tensor of one number")
    return value.reshape(())
