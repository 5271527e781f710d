"""Scores that no flow is needed for, on the fast path: the weights' sizes, and noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from pruning.fast.places import Indices
from pruning.fast.rounds import ALONE, Watch, run_rounds
from pruning.fast.store import ROOM, Array, Store
from pruning.fast.survivors import Survivors
from pruning.masks import Tensors
from pruning.network import Network, check_finite
from pruning.problem import Probe, Problem
from pruning.rounds import Trace
from pruning.schedule import Schedule

SPENT = 0.5  # of a layer's entries: once fewer are left, the others are forgotten


def run_magnitude(problem: Problem, schedule: Schedule, watch: Watch = ALONE) -> Trace:
    """Global magnitude's rounds, in float64 on the CPU, as the textbook loop's there.

    Raises ValueError for weights that are not finite.
    """
    sizes = {n: w.abs() for n, w in problem.network.weights.items()}
    return run_rounds("magnitude", problem.network, Given(problem.network, sizes), schedule, watch)


def run_random(problem: Problem, schedule: Schedule, watch: Watch = ALONE) -> Trace:
    """Rounds of noise, in float64 on the CPU, as the textbook loop's there.

    Raises ValueError for weights that are not finite.
    """
    return run_rounds("random", problem.network, Noise(problem, watch), schedule, watch)


@dataclass
class Numbers:
    """A layer whose scores are there: the entries of its store, (1, 1, weights)."""

    store: Store

    def lowest(self, ceiling: float) -> tuple[Indices, Array]:
        """Where the scores of what is left are up to a ceiling, and these; where ascends."""
        scores, there = self.store.weights.reshape(-1), self.store.there.reshape(-1)
        places, found = [np.zeros(0, np.intp)], [np.zeros(0)]
        for start in range(0, len(scores), ROOM):
            block = scores[start : start + ROOM]
            low = block <= ceiling
            low &= there[start : start + ROOM]
            (where,) = low.nonzero()
            found.append(block[where])
            where += start
            places.append(where)
        return np.concatenate(places), np.concatenate(found)

    def sample(self, step: int) -> Array:
        """About one of `step` scores of what is left."""
        found: Array = self.store.weights.reshape(-1)[::step][self.store.there.reshape(-1)[::step]]
        return found


class Given:
    """Scores that stay what they are from round to round."""

    def __init__(self, network: Network, scores: Tensors) -> None:
        check_finite(network.weights)
        masks = {n: m.cpu().numpy().reshape(-1) for n, m in network.initial.items()}
        self.layers = [Numbers(Store(_flat(scores[n]), masks[n].reshape(1, 1, -1).copy())) for n in masks]
        died = [m - np.int16(1) for m in masks.values()]
        self.survivors = Survivors(self.layers, died, [np.zeros(0, np.intp) for _ in masks])
        self.calls: dict[str, int] = {}

    def score(self) -> tuple[float, int]:
        """They are there; an R is not."""
        return math.nan, 0

    def shrink(self) -> None:
        """Forget what has fallen, of layers where that is most."""
        for layer in self.layers:
            if layer.store.left < SPENT * layer.store.cells:
                layer.store.forget()


class Noise:
    """Scores that are drawn anew in each round, of all weights: what a weight gets must not hang on what is left."""

    def __init__(self, problem: Problem, watch: Watch) -> None:
        self.probe, self.like = Probe(problem), problem.network.weights
        self.probe.calls.update({} if watch.since is None else watch.since.calls)
        self.given = Given(problem.network, self.like)
        self.survivors = self.given.survivors

    @property
    def calls(self) -> dict[str, int]:
        """How often numbers were drawn."""
        return dict(self.probe.calls)

    def score(self) -> tuple[float, int]:
        """Draw them."""
        drawn = self.probe.rand(self.like)
        for layer, noise in zip(self.given.layers, drawn.values(), strict=True):
            layer.store.refill(_flat(noise))
        return math.nan, 0

    def shrink(self) -> None:
        """As scores that stay do."""
        self.given.shrink()


def _flat(scores: Tensor) -> Array:
    found: Array = scores.detach().contiguous().numpy().reshape(1, 1, -1)
    return found
