"""Links: which classes of places are summed into which columns, and slopes the other way round."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pruning.fast.places import Indices
from pruning.fast.store import Array


@dataclass
class Links:
    """Pairs of a class and a column: column = sum of the classes that are linked to it.

    sources, targets: of each pair the class and the column.
    """

    sources: Indices
    targets: Indices
    classes: int
    columns: int
    taps: int = 1
    _onto: Sums = field(init=False)
    _back: Sums = field(init=False)

    def __post_init__(self) -> None:
        self._onto = Sums(self.sources, self.targets, self.classes, self.columns)
        self._back = Sums(self.targets, self.sources, self.columns, self.classes)

    @classmethod
    def seen(cls, table: Indices, classes: int) -> Links:
        """Column (tap, c) is the class that it sees: table, (taps, columns of a tap); `classes` is none."""
        sources = table.ravel()
        there = sources < classes
        return cls(sources[there], np.flatnonzero(there), classes, table.size, len(table))

    @classmethod
    def shed(cls, table: Indices, made: int) -> Links:
        """Column (tap, c) is the sum of the classes that c sees by a tap: table, (taps, classes); `made` is nobody."""
        taps, classes = table.shape
        there = table.ravel() < made
        targets = (table + made * np.arange(taps)[:, None]).ravel()
        return cls((np.arange(table.size) % classes)[there], targets[there], classes, taps * made, taps)

    def forward(self, value: Array) -> Array:
        """(n, classes) -> (n, columns)."""
        return self._onto(value)

    def backward(self, slope: Array) -> Array:
        """(n, columns) -> (n, classes)."""
        return self._back(slope)


class Sums:
    """Sums of `given` columns, of those that are linked to each of `count` new ones."""

    def __init__(self, taken: Indices, goal: Indices, given: int, count: int) -> None:
        order = np.argsort(goal, kind="stable")
        self.taken, goal, self.count = taken[order], goal[order], count
        first = np.ones(len(goal), dtype=bool)
        first[1:] = goal[1:] != goal[:-1]
        self.starts = np.flatnonzero(first)
        self.goal = goal[self.starts]
        self.whole = len(self.goal) == count
        self.alone = len(self.goal) == len(goal)
        self.same = given == count == len(taken) and bool((self.taken == np.arange(count)).all())

    def __call__(self, value: Array) -> Array:
        """(n, given) -> (n, count)."""
        if self.same:
            return value
        taken = value[:, self.taken]
        summed: Array = taken if self.alone else np.add.reduceat(taken, self.starts, axis=1)
        if self.whole:
            return summed
        found = np.zeros((len(value), self.count))
        found[:, self.goal] = summed
        return found
