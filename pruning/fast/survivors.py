"""Survivors: the weights that are left, layer by layer, and which of them a round keeps: as many as are asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pruning.fast.places import Indices
from pruning.fast.steps import Weighted
from pruning.fast.store import Array, Judged

MANY = 2**18  # weights from which on a sample brackets the threshold first
SAMPLE = 2**14
SPREAD = 6.0  # standard deviations of the sample's rank that a bracket spans
LEAST = float(np.nextafter(0.0, 1.0))  # what scores nothing is below it


@dataclass
class Survivors:
    """Layers, and the round in which each weight fell.

    died: per layer, flat: 0 for what is left, -1 for what was masked from the start. mute: per layer the flat indices
    of weights that are kept and are 0 themselves: the stores can't tell them from pruned ones.
    """

    layers: Sequence[Weighted]
    died: Sequence[NDArray[np.int16]]
    mute: list[Indices]

    def kept(self) -> list[int]:
        """Weights left in each layer."""
        return [layer.store.left + len(mute) for layer, mute in zip(self.layers, self.mute, strict=True)]

    def scores(self) -> Array:
        """The scores of all that is left, ascending."""
        alive = np.concatenate([np.zeros(0), *(found.scores for found in self._judged(LEAST, math.inf))])
        return np.concatenate([np.zeros(sum(self.kept()) - len(alive)), np.sort(alive)])

    def keep(self, k: int, round_: int) -> tuple[float, bool]:
        """Keep the k highest scores, of equal ones the earlier.

        Returns the sum of the scores that fall, and whether all that is left scored nothing.
        """
        floor, ceiling = self._bracket(k)
        judged = self._judged(floor, ceiling)
        positive, above = sum(found.positive for found in judged), sum(found.above for found in judged)
        if k >= positive:
            if k < sum(self.kept()):
                silent = judged if floor == LEAST else self._judged(LEAST, LEAST)
                self._keep_all_that_score(k - positive, round_, [found.below for found in silent])
            return 0.0, positive == 0
        if not above <= k <= above + sum(len(found.within) for found in judged):
            above, judged = 0, self._judged(LEAST, math.inf)  # the sample deceived
        return self._keep_above(k - above, round_, judged), False

    def _judged(self, floor: float, ceiling: float) -> list[Judged]:
        return [layer.judge(floor, ceiling) for layer in self.layers]

    def _bracket(self, k: int) -> tuple[float, float]:
        """Two scores with the k-th highest between them, very likely: by a sample, where there are many."""
        left = sum(layer.store.left for layer in self.layers)
        if left <= MANY or k >= left:
            return LEAST, math.inf
        step = left // SAMPLE
        while any(math.gcd(step, layer.store.width) > 1 for layer in self.layers):
            step += 1  # else it sees the same taps and channels over and over
        sample = np.sort(np.concatenate([layer.sample(step) for layer in self.layers]))
        share = 1 - k / left
        width = SPREAD * math.sqrt(len(sample) * share * (1 - share)) + SPREAD
        low, high = (math.floor(share * len(sample) + sign * width) for sign in (-1, 1))
        floor = float(sample[low]) if 0 <= low < len(sample) else LEAST
        ceiling = float(sample[high]) if high < len(sample) else math.inf
        return max(floor, LEAST), max(ceiling, LEAST)

    def _keep_above(self, k: int, round_: int, judged: list[Judged]) -> float:
        """Of the scores within, keep the k highest; all that is below falls, and what is silent."""
        among = np.concatenate([found.scores for found in judged])
        rank = len(among) - k
        threshold = float(np.partition(among, rank)[rank]) if k else math.inf
        ties = k - int(np.count_nonzero(among > threshold))
        mass = 0.0
        for i, found in enumerate(judged):
            falls = found.scores < threshold
            tied = np.flatnonzero(found.scores == threshold)
            falls[tied[ties:]] = True
            ties -= min(len(tied), ties)
            mass += found.mass + float(found.scores[falls].sum())
            self._fell(i, found.below, round_)
            self._fell(i, found.within[falls], round_)
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
