"""Survivors: the weights that are left, layer by layer, and which of them a round keeps: as many as are asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pruning.fast.steps import Array, Weighted

MANY = 2**18  # scores from which on a sample brackets the threshold first
SAMPLE = 2**15
SPREAD = 6.0  # standard deviations of the sample's rank that a bracket spans


@dataclass
class Survivors:
    """Layers with their weights and scores, and the round in which each weight fell.

    died: per layer, flat: 0 for what is left, -1 for what was masked from the start. mute: per layer the flat indices
    of weights that are kept and are 0 themselves: the arrays can't tell them from pruned ones.
    """

    layers: Sequence[Weighted]
    died: Sequence[NDArray[np.int16]]
    mute: list[NDArray[np.intp]]

    def __post_init__(self) -> None:
        self._left = [int(np.count_nonzero(layer.weights)) for layer in self.layers]

    def kept(self) -> list[int]:
        """Weights left in each layer."""
        return [left + len(mute) for left, mute in zip(self._left, self.mute, strict=True)]

    def scores(self) -> Array:
        """The scores of all that is left, ascending."""
        alive = [la.scores[la.weights != 0] for la in self.layers]
        silent = np.zeros(sum(map(len, self.mute)))
        return np.sort(np.concatenate([silent, *alive]))

    def keep(self, k: int, round_: int) -> float:
        """Keep the k highest scores, of equal ones the earlier; returns the sum of the scores that fall."""
        positive = sum(int(np.count_nonzero(la.scores)) for la in self.layers)
        if k >= positive:
            return self._keep_all_that_score(k - positive, round_)
        threshold, ties = _threshold([la.scores for la in self.layers], k, positive) if k else (math.inf, 0)
        fallen = 0.0
        for i, layer in enumerate(self.layers):
            below = layer.scores < threshold
            ties -= self._among_ties(layer, below, threshold, ties)
            below &= layer.weights != 0
            fallen += self._fell(i, np.flatnonzero(below), round_)
        for died, mute in zip(self.died, self.mute, strict=True):
            died[mute] = round_
        self.mute = [m[:0] for m in self.mute]
        return fallen

    def _among_ties(self, layer: Weighted, below: NDArray[np.bool_], threshold: float, room: int) -> int:
        """Mark what is tied and comes too late; returns how many of the layer's ties are kept."""
        tied = np.flatnonzero(layer.scores == threshold)
        below.ravel()[tied[room:]] = True
        return min(len(tied), room)

    def _fell(self, i: int, where: NDArray[np.intp], round_: int) -> float:
        """Prune the entries `where` of a layer; returns the sum of their scores."""
        layer = self.layers[i]
        self.died[i][where if layer.index is None else layer.index.ravel()[where]] = round_
        layer.weights.ravel()[where] = 0
        self._left[i] -= len(where)
        return float(layer.scores.ravel()[where].sum())

    def _keep_all_that_score(self, room: int, round_: int) -> float:
        """And as many more, the earliest of those that score nothing."""
        for i, (layer, died) in enumerate(zip(self.layers, self.died, strict=True)):
            silent = np.flatnonzero((layer.scores == 0) & (layer.weights != 0))
            places = silent if layer.index is None else layer.index.ravel()[silent].astype(np.intp)
            order = np.argsort(np.concatenate([places, self.mute[i]]), kind="stable")
            stays = np.zeros(len(order), dtype=bool)
            stays[order[:room]] = True
            room -= int(stays.sum())
            self._fell(i, silent[~stays[: len(silent)]], round_)
            died[self.mute[i][~stays[len(silent) :]]] = round_
            self.mute[i] = self.mute[i][stays[len(silent) :]]
        return 0.0


def _threshold(scores: Sequence[Array], k: int, positive: int) -> tuple[float, int]:
    """The k-th highest of all positive scores, and how many of those equal to it are among the k highest."""
    found = _bracketed(scores, k, positive) if positive > MANY else None
    above, among = found or (0, np.concatenate([s[s > 0] for s in scores]))
    rank = len(among) - (k - above)
    among.partition(rank)
    threshold = float(among[rank])
    return threshold, k - above - int(np.count_nonzero(among[rank + 1 :] > threshold))


def _bracketed(scores: Sequence[Array], k: int, positive: int) -> tuple[int, Array] | None:
    """How many scores lie above a bracket, and those within, where the k-th highest is within it; else None."""
    step = max(1, positive // SAMPLE) | 1
    sample = np.concatenate([s.ravel()[::step] for s in scores])
    sample = np.sort(sample[sample > 0])
    if not len(sample):
        return None  # the step misses all that score
    share = 1 - k / positive
    width = SPREAD * math.sqrt(len(sample) * share * (1 - share)) + SPREAD
    low, high = (min(max(int(share * len(sample) + sign * width), 0), len(sample) - 1) for sign in (-1, 1))
    least = np.nextafter(0.0, 1.0)  # what scores nothing is below any bracket
    floor, ceiling = (sample[low] if low else least), (sample[high] if high < len(sample) - 1 else math.inf)
    above = sum(int(np.count_nonzero(s > ceiling)) for s in scores)
    among = np.concatenate([s[(s >= floor) & (s <= ceiling)] for s in scores])
    return (above, among) if above < k <= above + len(among) else None
