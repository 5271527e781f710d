"""Store: what a layer still holds of its weights; products with these, and their scores beside a bracket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pruning.fast.places import Indices

Array = NDArray[np.float64]

ROOM = 2**17  # scores at a time, such as a cache holds: measured from 2**15 to 2**20


class Judged(NamedTuple):
    """A layer's scores beside a bracket: how many are positive, and how many above it; where the others are.

    below: of weights that are left; mass: the sum of their scores. within: with their scores. Both ascend.
    """

    positive: int
    above: int
    mass: float
    below: Indices
    within: Indices
    scores: Array


class Store:
    """Weights (groups, outputs, inputs * taps), none negative, pruned ones 0; of live channels once some are dropped.

    columns: of the layer's input, (groups, inputs * taps, classes). slopes: of its output, (groups, outputs, classes).
    where: places in the array, which ascend as the layer's own do.
    index: the place in the layer of each place in the array, None while all are there.
    """

    def __init__(self, weights: Array) -> None:
        self.weights = weights
        self.index: NDArray[np.int32] | Indices | None = None
        self.left = int(np.count_nonzero(weights))

    @property
    def width(self) -> int:
        """Inputs times taps."""
        return int(self.weights.shape[2])

    @property
    def cells(self) -> int:
        """Entries of the array."""
        return self.weights.size

    def forward(self, columns: Array) -> Array:
        """Weights times columns: (groups, outputs, classes)."""
        made: Array = np.matmul(self.weights, columns)
        return made

    def backward(self, slopes: Array) -> Array:
        """Weights, the other way round, times slopes: (groups, inputs * taps, classes)."""
        made: Array = np.matmul(self.weights.transpose(0, 2, 1), slopes)
        return made

    def judge(self, columns: Array, slopes: Array, floor: float, ceiling: float) -> Judged:
        """The scores, weights times slopes times columns, beside a bracket whose floor is positive; in blocks."""
        beside, mass, silent = 0, 0.0, 0
        below, within, inner = [np.zeros(0, np.intp)], [np.zeros(0, np.intp)], [np.zeros(0)]
        for start, weights, scores in self._blocks(columns, slopes):
            here = scores <= ceiling
            here &= weights != 0
            (where,) = here.nonzero()  # few, where the bracket is one
            found = scores[where]
            low = found < floor
            fallen = found[low]
            where += start
            beside += len(where)
            silent += len(fallen) - int(np.count_nonzero(fallen))
            mass += float(fallen.sum())
            below.append(where[low])
            within.append(where[~low])
            inner.append(found[~low])
        where, among, scored = np.concatenate(below), np.concatenate(within), np.concatenate(inner)
        return Judged(self.left - silent, self.left - beside, mass, where, among, scored)

    def _blocks(self, columns: Array, slopes: Array) -> Iterator[tuple[int, Array, Array]]:
        """Of whole rows: where each begins, its weights and their scores, flat; the scores last until the next."""
        groups, outputs, width = self.weights.shape
        columns = columns.transpose(0, 2, 1)
        room = np.empty(max(ROOM, width))
        some = max(1, len(room) // (outputs * width))  # groups at a time; rows of one, where it is longer than the room
        rows = min(outputs, len(room) // width)
        for group in range(0, groups, some):
            which = slice(group, group + some)
            for top in range(0, outputs, rows):
                weights = self.weights[which, top : top + rows]
                scores = room[: weights.size].reshape(weights.shape)
                np.matmul(slopes[which, top : top + rows], columns[which], out=scores)
                scores *= weights
                yield (group * outputs + top) * width, weights.reshape(-1), scores.reshape(-1)

    def sample(self, columns: Array, slopes: Array, step: int) -> Array:
        """About one of `step` scores of the weights that are left."""
        _, outputs, width = self.weights.shape
        weights = self.weights.reshape(-1)[::step]
        (which,) = weights.nonzero()
        row, column = np.divmod(which * step, width)
        group = row // outputs
        found: Array = np.einsum("ip,ip->i", slopes[group, row % outputs], columns[group, column])
        found *= weights[which]
        return found

    def prune(self, where: Indices) -> Indices:
        """Prune weights; returns their flat indices in the layer."""
        self.weights.reshape(-1)[where] = 0
        self.left -= len(where)
        return self.places(where)

    def places(self, where: Indices) -> Indices:
        """The flat indices in the layer."""
        return where if self.index is None else self.index.reshape(-1)[where].astype(np.intp)

    def alive(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """The rows and the columns that have a weight."""
        there = self.weights != 0
        return there.any(2).reshape(-1), there.any((0, 1))

    def keep(self, rows: Indices, columns: Indices) -> None:
        """Forget all others, of a layer without groups."""
        if self.index is None:
            height, width = self.weights.shape[1:]
            kind = np.int32 if height * width < 2**31 else np.intp
            self.index = np.arange(height * width, dtype=kind).reshape(1, height, width)
        self.weights = self.weights[:, rows].take(columns, 2)
        self.index = self.index[:, rows].take(columns, 2)
