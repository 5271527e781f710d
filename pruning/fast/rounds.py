"""Rounds on the fast path: scores and selections of survivors, and the trace that the textbook loop leaves of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from pruning.answers import ScoreError
from pruning.fast.store import Array
from pruning.fast.survivors import Survivors
from pruning.network import Network
from pruning.rounds import MAX_ROUNDS, Standing, Trace
from pruning.schedule import Alive, Schedule, asked


class Scoring(Protocol):
    """What gives survivors their scores."""

    survivors: Survivors

    @property
    def calls(self) -> Mapping[str, int]:
        """What the probe was asked for, and how often."""

    def score(self) -> tuple[float, int]:
        """Make the scores of a round; returns R, NaN without one, and the power of two that it and they are times."""

    def shrink(self) -> None:
        """Forget what has fallen, where that pays."""


@dataclass(frozen=True)
class Watch:
    """Who is told of rounds, and where a run goes on from: as `prune` has these."""

    on_round: Callable[[int, int], None] | None = None
    on_standing: Callable[[Standing], None] | None = None
    since: Standing | None = None

    @property
    def first(self) -> int:
        """The first round."""
        return 1 if self.since is None else self.since.round + 1


ALONE = Watch()


def run_rounds(name: str, network: Network, scoring: Scoring, schedule: Schedule, watch: Watch) -> Trace:
    """Rounds until the schedule ends.

    A run that goes on first lets fall what fell, round by round, so that each sum is rounded as it would have been.
    Raises ScoreError where it asks for more than is left, as the textbook loop.
    """
    targets, kept, flat = list[int](), list[list[int]](), list[int]()
    masses, cuts, logs = list[float](), list[float](), list[float]()
    if watch.since is not None:
        for round_ in range(1, watch.first):
            scoring.survivors.fell([d.cpu().numpy().ravel() for d in watch.since.died.values()], round_)
            scoring.shrink()
    left = sum(scoring.survivors.kept())
    for round_ in range(watch.first, MAX_ROUNDS + 1):
        made = _Once(scoring)
        target = asked(schedule, round_, left, _alive(name, made))
        if target is None:
            break
        if not 0 <= target <= left:
            raise ScoreError(
                f"the selection of {name!r} was asked to keep {target} weights, wanted 0 to {left}: "
                "a pruned weight never returns"
            )
        total, power = made()
        mass, silent = scoring.survivors.keep(target, round_)
        if silent:
            flat.append(round_)
        masses.append(float(_times_power(mass, power)))
        cuts.append(float(_times_power(total, power)))
        logs.append(-math.inf if total == 0 else math.log(total) + power * math.log(2))
        targets.append(target)
        kept.append(scoring.survivors.kept())
        left = sum(kept[-1])
        scoring.shrink()
        if watch.on_round:
            watch.on_round(round_, left)
        if watch.on_standing:
            died = {n: fell.clone() for n, fell in _died(network, scoring.survivors).items()}
            done = tuple(kept[-1]), masses[-1], cuts[-1], logs[-1]
            watch.on_standing(Standing(round_, died, dict(scoring.calls), *done))
    else:
        raise ValueError(f"the schedule did not end within {MAX_ROUNDS} rounds")
    return Trace(
        layers=tuple(network.weights),
        targets=tuple(targets),
        kept=torch.tensor(kept, dtype=torch.int64).reshape(len(kept), len(network.weights)),
        mass=torch.tensor(masses, dtype=torch.float64),
        cut=torch.tensor(cuts, dtype=torch.float64),
        log_cut=torch.tensor(logs, dtype=torch.float64),
        revived=(0,) * len(targets),
        flat=tuple(flat),
        died=_died(network, scoring.survivors),
        calls=dict(scoring.calls),
        before=watch.first - 1,
    )


def _died(network: Network, survivors: Survivors) -> dict[str, Tensor]:
    return {
        n: torch.from_numpy(died).view(w.shape).to(w.device)
        for (n, w), died in zip(network.weights.items(), survivors.died, strict=True)
    }


class _Once:
    """A round's scores, made when they are first asked for: a schedule that has ended needs none."""

    def __init__(self, scoring: Scoring) -> None:
        self.scoring = scoring
        self.found: tuple[float, int] | None = None

    def __call__(self) -> tuple[float, int]:
        self.found = self.found or self.scoring.score()
        return self.found


def _alive(name: str, made: _Once) -> Alive:
    def scores() -> Tensor:
        _, power = made()
        return torch.from_numpy(_times_power(made.scoring.survivors.scores(), power))

    def shares() -> Tensor:
        total, _ = made()
        if math.isnan(total):
            raise ValueError(f"this schedule goes by shares of R, and {name!r} has no objective")
        with np.errstate(divide="ignore", invalid="ignore"):  # of a network through which nothing flows
            return torch.from_numpy(made.scoring.survivors.scores() / total)

    return Alive(scores, shares)


def _times_power(numbers: float | Array, power: int) -> Array:
    """numbers * 2**power; infinite where float64 ends."""
    with np.errstate(over="ignore"):
        return np.ldexp(numbers, power)
