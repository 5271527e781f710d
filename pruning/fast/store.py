"""Store: what a layer still holds of its weights; products with these, and the lowest of their scores."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pruning.fast.places import Indices

Array = NDArray[np.float64]

ROOM = 2**18  # scores at a time: measured from 2**14 to 2**20, over one to 64 classes


class Store:
    """Weights (groups, outputs, inputs * taps), none negative, pruned ones 0; of live channels once some are dropped.

    columns: of the layer's input, (groups, inputs * taps, classes). slopes: of its output, (groups, outputs, classes).
    where: places in the array, which ascend as the layer's own do.
    there: which weights are left; given where what is 0 does not tell. index: the place in the layer of each place in
    the array, None while all are there.
    """

    def __init__(self, weights: Array, there: NDArray[np.bool_] | None = None) -> None:
        self.weights = weights
        self.there: NDArray[np.bool_] = weights != 0 if there is None else there
        self.index: NDArray[np.int32] | Indices | None = None
        self.left = int(np.count_nonzero(self.there))

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

    def lowest(self, columns: Array, slopes: Array, ceiling: float) -> tuple[Indices, Array]:
        """Where the scores, weights times slopes times columns, are up to a ceiling, of what is left; and these."""
        places, found = [np.zeros(0, np.intp)], [np.zeros(0)]
        for start, there, scores in self._blocks(columns, slopes):
            low = scores <= ceiling
            low &= there
            (where,) = low.nonzero()
            found.append(scores[where])
            where += start
            places.append(where)
        return np.concatenate(places), np.concatenate(found)

    def _blocks(self, columns: Array, slopes: Array) -> Iterator[tuple[int, NDArray[np.bool_], Array]]:
        """Of whole rows: where each begins, what is left in it, and the scores, flat; these last until the next."""
        groups, outputs, width = self.weights.shape
        columns = columns.transpose(0, 2, 1)
        room = np.empty(max(ROOM, width))
        some = max(1, len(room) // (outputs * width))  # groups at a time; rows of one, where it is longer than the room
        rows = min(outputs, len(room) // width)
        for group in range(0, groups, some):
            which = slice(group, group + some)
            for top in range(0, outputs, rows):
                here = which, slice(top, top + rows)
                weights = self.weights[here]
                scores = room[: weights.size].reshape(weights.shape)
                product = np.multiply if len(columns[0]) == 1 else np.matmul  # of one class it is far the faster
                product(slopes[here], columns[which], out=scores)
                scores *= weights
                yield (group * outputs + top) * width, self.there[here].reshape(-1), scores.reshape(-1)

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
        self.there.reshape(-1)[where] = False
        self.left -= len(where)
        return self.places(where)

    def places(self, where: Indices) -> Indices:
        """The flat indices in the layer."""
        return where if self.index is None else self.index.reshape(-1)[where].astype(np.intp)

    def where(self, places: Indices) -> Indices:
        """The other way round: where in the array such flat indices are."""
        return places if self.index is None else np.searchsorted(self.index.reshape(-1), places)

    def alive(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """The rows and the columns that have a weight."""
        return np.logical_or.reduce(self.there, 2).reshape(-1), np.logical_or.reduce(self.there, (0, 1))

    def keep(self, rows: Indices, columns: Indices) -> None:
        """Forget all others, of a layer without groups."""
        _, height, width = self.weights.shape
        if len(rows) == height and len(columns) == width:
            return
        if self.index is None:
            kind = np.int32 if height * width < 2**31 else np.intp
            self.index = np.arange(height * width, dtype=kind).reshape(1, height, width)
        self.weights = self.weights[:, rows].take(columns, 2)
        self.there = self.there[:, rows].take(columns, 2)
        self.index = self.index[:, rows].take(columns, 2)

    def forget(self) -> None:
        """Forget all that is not left, of a layer (1, 1, weights)."""
        (where,) = self.there.reshape(-1).nonzero()
        self.index = self.places(where).reshape(1, 1, -1)
        self.weights = self.weights.reshape(-1)[where].reshape(1, 1, -1)
        self.there = np.ones(self.weights.shape, dtype=bool)

    def refill(self, weights: Array) -> None:
        """Other numbers for what is left; weights: of the whole layer."""
        self.weights = weights if self.index is None else weights.reshape(-1)[self.index]
