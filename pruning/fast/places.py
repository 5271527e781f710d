"""Places: the positions of a value in classes that hold the same numbers, where the input is all ones.

Two positions of a convolution's output hold the same numbers if each tap sees the same class of positions there; for
an input of ones that leaves few classes, those near the borders and one for the rest. The network on classes is the
same function of the weights, and what slopes add up to over a class is its slope: the scores are the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Places:
    """Channels, and the class of each position: `grid` has an axis for each axis of positions, none for features."""

    channels: int
    grid: Indices
    classes: int

    @classmethod
    def alike(cls, channels: int, positions: Sequence[int]) -> Places:
        """Every position in one class."""
        return cls(channels, np.zeros(tuple(positions), dtype=np.intp), 1)

    def windows(
        self, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
    ) -> tuple[Indices, Indices]:
        """Classes of windows, (taps, new classes) in classes of this, and the new grid; padding is class `classes`."""
        padded = np.pad(self.grid, [(p, p) for p in padding], constant_values=self.classes)
        spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
        sizes = [(n - span) // s + 1 for n, span, s in zip(padded.shape, spans, stride, strict=True)]
        taps = []
        for offsets in product(*map(range, kernel)):
            starts = [o * d for o, d in zip(offsets, dilation, strict=True)]
            cuts = [slice(a, a + s * (n - 1) + 1, s) for a, s, n in zip(starts, stride, sizes, strict=True)]
            taps.append(padded[tuple(cuts)])
        return _classes(np.stack(taps))

    def bins(self, sizes: Sequence[int]) -> tuple[list[Indices], Indices]:
        """Classes of the bins that adaptive pooling averages: of each the classes it covers; and the new grid."""
        cuts = [
            [slice(n * i // size, -(-n * (i + 1) // size)) for i in range(size)]
            for n, size in zip(self.grid.shape, sizes, strict=True)
        ]
        covered = [np.sort(self.grid[where].ravel()) for where in product(*cuts)]
        numbers: dict[bytes, int] = {}
        grid = np.array([numbers.setdefault(bin_.tobytes(), len(numbers)) for bin_ in covered], dtype=np.intp)
        first = [covered[int(np.flatnonzero(grid == i)[0])] for i in range(len(numbers))]
        return first, grid.reshape(tuple(sizes))


def beside(one: Places, other: Places) -> tuple[Indices, Indices]:
    """Classes of pairs: (2, new classes) of positions that lie over one another, and the new grid."""
    return _classes(np.stack([one.grid, other.grid]))


def _classes(seen: Indices) -> tuple[Indices, Indices]:
    """(n, *positions) as (n, classes), each column once in the order of its first position; and the class of each."""
    flat = seen.reshape(len(seen), -1)
    _, first, inverse = np.unique(flat, axis=1, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return flat[:, first[order]], rank[inverse.ravel()].reshape(seen.shape[1:])


def collector(targets: Indices, classes: int) -> tuple[Indices, Indices, Indices]:
    """How to add columns up by class: an order of the columns, where each class begins in it, and which these are.

    targets: the class of each column; `classes` itself is nobody's.
    """
    order = np.argsort(targets, kind="stable")
    order = order[targets[order] < classes]
    ranked = targets[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]])) if len(order) else order
    return order, starts, ranked[starts]
