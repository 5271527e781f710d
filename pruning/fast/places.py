"""Places: the positions of a value in classes that hold the same numbers, where the input is all ones.

Two positions of a convolution's output hold the same numbers if each tap sees the same class of positions there; for
an input of ones that leaves few classes, those near the borders and one for the rest. The network on classes is the
same function of the weights, and what slopes add up to over a class is its slope: the scores are the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
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

    def seen(self, windows: Windows) -> tuple[Indices, Indices]:
        """Classes of windows, (taps, new classes) in classes of this, and the new grid; padding is class `classes`."""
        padded = np.pad(self.grid, [(p, p) for p in windows.padding], constant_values=self.classes)
        return classes_of(np.stack([padded[cut] for cut in windows.cuts(self.grid.shape)]))

    def bins(self, bins: Bins) -> tuple[list[Indices], Indices]:
        """Classes of the bins: of each the classes that it covers; and the new grid."""
        covered = [np.sort(self.grid[cut].ravel()) for cut in bins.cuts(self.grid.shape)]
        numbers: dict[bytes, int] = {}
        grid = np.array([numbers.setdefault(bin_.tobytes(), len(numbers)) for bin_ in covered], dtype=np.intp)
        first = [covered[int(np.flatnonzero(grid == i)[0])] for i in range(len(numbers))]
        return first, grid.reshape(tuple(bins.sizes))


@dataclass(frozen=True)
class Windows:
    """What each position of a convolution or a pool sees of its input; a number for each axis."""

    kernel: Sequence[int]
    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]

    @property
    def taps(self) -> int:
        """Positions that a window sees."""
        return math.prod(self.kernel)

    def cuts(self, shape: Sequence[int]) -> Iterator[tuple[slice, ...]]:
        """Per tap the positions that the windows see by it, of an input of a shape with its padding around it."""
        spans = [d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]
        sizes = [(n + 2 * p - e) // s + 1 for n, p, e, s in zip(shape, self.padding, spans, self.stride, strict=True)]
        for offsets in product(*map(range, self.kernel)):
            starts = [o * d for o, d in zip(offsets, self.dilation, strict=True)]
            yield tuple(slice(a, a + s * (n - 1) + 1, s) for a, s, n in zip(starts, self.stride, sizes, strict=True))

    def seers(self, grid: Indices, nobody: int, shape: Sequence[int]) -> Indices:
        """Per tap and position of the input the class of the window that sees it, or `nobody`: (taps, *shape).

        grid: the class of each window.
        """
        found = np.full((self.taps, *(n + 2 * p for n, p in zip(shape, self.padding, strict=True))), nobody)
        for tap, cut in enumerate(self.cuts(shape)):
            found[tap, ...][cut] = grid
        return found[(slice(None), *(slice(p, p + n) for n, p in zip(shape, self.padding, strict=True)))]


@dataclass(frozen=True)
class Bins:
    """What adaptive pooling averages: so many bins by each axis."""

    sizes: Sequence[int]

    def cuts(self, shape: Sequence[int]) -> Iterator[tuple[slice, ...]]:
        """Per bin the positions that it covers."""
        return product(
            *(
                [slice(n * i // size, -(-n * (i + 1) // size)) for i in range(size)]
                for n, size in zip(shape, self.sizes, strict=True)
            )
        )

    def seers(self, grid: Indices, nobody: int, shape: Sequence[int]) -> Indices:
        """Per bin and position its class where it is covered, or `nobody`: (bins, *shape)."""
        found = np.full((grid.size, *shape), nobody)
        for i, (cut, bin_) in enumerate(zip(self.cuts(shape), grid.ravel(), strict=True)):
            found[i, ...][cut] = bin_
        return found


def beside(one: Places, other: Places) -> tuple[Indices, Indices]:
    """Classes of pairs: (2, new classes) of positions that lie over one another, and the new grid."""
    return classes_of(np.stack([one.grid, other.grid]))


def classes_of(seen: Indices) -> tuple[Indices, Indices]:
    """(n, *positions) as (n, classes), each column once in the order of its first position; and the class of each."""
    flat = seen.reshape(len(seen), -1)
    _, first, inverse = np.unique(flat, axis=1, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return flat[:, first[order]], rank[inverse.ravel()].reshape(seen.shape[1:])
