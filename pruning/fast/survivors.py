"""Survivors: the weights that are left, layer by layer, and which of them a round keeps: as many as are asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pruning.fast.places import Indices
from pruning.fast.store import Array, Store

MANY = 2**18  # weights from which on a sample brackets the threshold first
SAMPLE = 2**14
SPREAD = 6.0  # standard deviations of the sample's rank that a bracket spans


class Layer(Protocol):
    """Weights that have scores."""

    store: Store

    def lowest(self, ceiling: float) -> tuple[Indices, Array]:
        """Where the scores of what is left are up to a ceiling, and these; where ascends."""

    def sample(self, step: int) -> Array:
        """About one of `step` scores."""


@dataclass
class Survivors:
    """Layers, and the round in which each weight fell.

    died: per layer, flat: 0 for what is left, -1 for what was masked from the start. mute: per layer the flat indices
    of weights that are kept and are 0 themselves: the stores can't tell them from pruned ones.
    """

    layers: Sequence[Layer]
    died: Sequence[NDArray[np.int16]]
    mute: list[Indices]

    def kept(self) -> list[int]:
        """Weights left in each layer."""
        return [layer.store.left + len(mute) for layer, mute in zip(self.layers, self.mute, strict=True)]

    def scores(self) -> Array:
        """The scores of all that is left, ascending."""
        alive = np.sort(np.concatenate([scores for _, scores in self._lowest(math.inf)]))
        return np.concatenate([np.zeros(sum(map(len, self.mute))), alive])

    def keep(self, k: int, round_: int) -> tuple[float, bool]:
        """Keep the k highest scores, of equal ones the earlier.

        Returns the sum of the scores that fall, and whether all that is left scored nothing.
        """
        left = sum(layer.store.left for layer in self.layers)
        floor, ceiling = self._bracket(k, left)
        lowest = self._lowest(ceiling)
        positive = left - sum(len(scores) - int(np.count_nonzero(scores)) for _, scores in lowest)
        if k >= positive:
            if k < sum(self.kept()):
                self._keep_all_that_score(k - positive, round_, [where[scores == 0] for where, scores in lowest])
            return 0.0, positive == 0
        if left - k > sum(len(scores) for _, scores in lowest):
            lowest = self._lowest(math.inf)  # the sample deceived
        return self._drop(left - k, round_, lowest, floor), False

    def fell(self, died: Sequence[NDArray[np.int16]], round_: int) -> None:
        """Let fall what fell in a round of another run."""
        for i, (fell, mute) in enumerate(zip(died, self.mute, strict=True)):
            gone = fell[mute] == round_
            self.died[i][mute[gone]] = round_
            self.mute[i] = mute[~gone]
            which = fell == round_
            which[mute] = False
            self._fell(i, self.layers[i].store.where(np.flatnonzero(which)), round_)

    def _lowest(self, ceiling: float) -> list[tuple[Indices, Array]]:
        return [layer.lowest(ceiling) for layer in self.layers]

    def _bracket(self, k: int, left: int) -> tuple[float, float]:
        """Two scores with the k-th highest between them, very likely: by a sample, where there are many."""
        if left <= MANY or k >= left:
            return 0.0, math.inf
        step = left // SAMPLE
        while any(math.gcd(step, layer.store.width) > 1 for layer in self.layers):
            step += 1  # else it sees the same taps and channels over and over
        sample = np.sort(np.concatenate([layer.sample(step) for layer in self.layers]))
        share = 1 - k / left
        width = SPREAD * math.sqrt(len(sample) * share * (1 - share)) + SPREAD
        low, high = (math.floor(share * len(sample) + sign * width) for sign in (-1, 1))
        floor = float(sample[low]) if 0 <= low < len(sample) else 0.0
        return floor, float(sample[high]) if high < len(sample) else math.inf

    def _drop(self, count: int, round_: int, lowest: list[tuple[Indices, Array]], floor: float) -> float:
        """Prune the `count` lowest of these, of equal ones the later, and what is silent; returns the sum of scores.

        floor: what the highest of them is not below, likely.
        """
        total = sum(len(scores) for _, scores in lowest)
        among = np.concatenate([scores[scores >= floor] for _, scores in lowest])
        if count < total - len(among):
            among = np.concatenate([scores for _, scores in lowest])
        rank = count - (total - len(among))  # so many of these fall
        threshold = float(np.partition(among, rank)[rank]) if rank < len(among) else math.inf
        ties = len(among) - rank - int(np.count_nonzero(among > threshold))  # so many of the equal ones stay
        mass = 0.0
        for i, (where, scores) in enumerate(lowest):
            falls = scores < threshold
            tied = np.flatnonzero(scores == threshold)
            falls[tied[ties:]] = True
            ties -= min(len(tied), ties)
            mass += float(scores[falls].sum())
            self._fell(i, where[falls], round_)
        for died, mute in zip(self.died, self.mute, strict=True):
            died[mute] = round_
        self.mute = [m[:0] for m in self.mute]
        return mass

    def _fell(self, i: int, where: Indices, round_: int) -> None:
        self.died[i][self.layers[i].store.prune(where)] = round_

    def _keep_all_that_score(self, room: int, round_: int, silent: list[Indices]) -> None:
        """And as many more, the earliest of those that score nothing: per layer where."""
        for i, (layer, died, quiet) in enumerate(zip(self.layers, self.died, silent, strict=True)):
            order = np.argsort(np.concatenate([layer.store.places(quiet), self.mute[i]]), kind="stable")
            stays = np.zeros(len(order), dtype=bool)
            stays[order[:room]] = True
            room -= int(stays.sum())
            self._fell(i, quiet[~stays[: len(quiet)]], round_)
            died[self.mute[i][~stays[len(quiet) :]]] = round_
            self.mute[i] = self.mute[i][stays[len(quiet) :]]
