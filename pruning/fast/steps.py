"""Steps: what a network does to classes of places, forward and backward, on the channels that are still alive.

Values are (channels, classes) arrays of nonnegative numbers; a slope is the derivative of R by a value, summed over the
places of each class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pruning.fast.places import Indices, collector

Array = NDArray[np.float64]
Live = Mapping[str, Indices]  # per value, the channels that are kept of it


class Step(Protocol):
    """One operator."""

    name: str
    reads: tuple[str, ...]

    def forward(self, values: Mapping[str, Array]) -> Array:
        """The value that it makes."""

    def backward(self, slope: Array) -> tuple[Array, ...]:
        """The slopes of what it reads, from that of what it made."""

    def keep(self, live: Live) -> None:
        """Forget all other channels."""


@dataclass
class Weighted:
    """A linear or convolution layer: weights (groups, outputs, inputs * taps) against columns of its input.

    weights, scores: the layer's own arrays, of the live channels alone once some are dropped; index: where in the
    layer each of these weights lies, None while all are there. first: whether it reads the network's input, whose slope
    nobody asks for. table: (taps, classes).
    """

    name: str
    reads: tuple[str, ...]
    weights: Array
    scores: Array
    table: Indices
    classes: int
    first: bool
    index: Indices | None = None
    columns: Array = field(init=False)

    def __post_init__(self) -> None:
        taps, made = self.table.shape
        self._plain = taps == 1 and made == self.classes and bool((self.table[0] == np.arange(made)).all())
        self._order, self._starts, self._classes = collector(self.table.ravel(), self.classes)

    @property
    def groups(self) -> int:
        """How many parts of the channels are read apart."""
        return len(self.weights)

    def forward(self, values: Mapping[str, Array]) -> Array:
        """(inputs, classes) -> (outputs, classes)."""
        value = values[self.reads[0]]
        if not self._plain:
            bordered = np.concatenate([value, np.zeros((len(value), 1))], 1)
            value = bordered[:, self.table]
        self.columns = value.reshape(self.groups, -1, self.table.shape[1])
        made: Array = np.matmul(self.weights, self.columns)
        return made.reshape(-1, self.table.shape[1])

    def backward(self, slope: Array) -> tuple[Array, ...]:
        """Fills in the scores, and gives the slope of the input."""
        slopes = slope.reshape(self.groups, -1, slope.shape[1])
        np.matmul(slopes, self.columns.transpose(0, 2, 1), out=self.scores)
        self.scores *= self.weights
        if self.first:
            return (np.zeros((0, 0)),)
        by_column = np.matmul(self.weights.transpose(0, 2, 1), slopes)
        if self._plain:
            return (by_column.reshape(-1, slope.shape[1]),)
        taps, made = self.table.shape
        spread = by_column.reshape(-1, taps * made)[:, self._order]
        found = np.zeros((len(spread), self.classes))
        found[:, self._classes] = np.add.reduceat(spread, self._starts, axis=1)
        return (found,)

    def keep(self, live: Live) -> None:
        """The rows and columns of live channels; a grouped layer's channels are never dropped."""
        if self.groups > 1:
            return
        taps = len(self.table)
        rows, inputs = live[self.name], live[self.reads[0]]
        columns = (inputs[:, None] * taps + np.arange(taps)).ravel()
        if self.index is None:
            height, width = self.weights.shape[1:]
            self.index = np.arange(height * width, dtype=np.int32 if height * width < 2**31 else np.int64)[None]
            self.index = self.index.reshape(1, height, width)
        chosen = np.ix_(np.zeros(1, dtype=np.intp), rows, columns)
        self.weights, self.index = self.weights[chosen], self.index[chosen]
        self.scores = np.empty_like(self.weights)


@dataclass
class Scaled:
    """Each channel times a number: a norm without its statistics."""

    name: str
    reads: tuple[str, ...]
    factors: Array

    def forward(self, values: Mapping[str, Array]) -> Array:
        """The product."""
        return values[self.reads[0]] * self.factors

    def backward(self, slope: Array) -> tuple[Array, ...]:
        """The slope times the same numbers."""
        return (slope * self.factors,)

    def keep(self, live: Live) -> None:
        """The numbers of live channels."""
        if len(self.factors) > 1:
            self.factors = self.factors[live[self.name]]


@dataclass
class Highest:
    """The first of the highest of a window, whose slope it takes."""

    name: str
    reads: tuple[str, ...]
    table: Indices
    classes: int
    taken: Indices = field(init=False)

    def forward(self, values: Mapping[str, Array]) -> Array:
        """(channels, classes) -> (channels, new classes)."""
        value = values[self.reads[0]]
        seen = np.concatenate([value, np.zeros((len(value), 1))], 1)[:, self.table]
        first = seen.argmax(1)
        self.taken = self.table[first, np.arange(self.table.shape[1])]
        return np.take_along_axis(seen, first[:, None], 1)[:, 0]

    def backward(self, slope: Array) -> tuple[Array, ...]:
        """Each slope goes where its value came from."""
        width = self.classes + 1
        at = (np.arange(len(slope))[:, None] * width + self.taken).ravel()
        found: Array = np.bincount(at, slope.ravel(), len(slope) * width).astype(np.float64)
        return (found.reshape(len(slope), width)[:, : self.classes],)

    def keep(self, live: Live) -> None:
        """All channels alike."""


@dataclass
class Mixed:
    """A fixed mixture of the classes of each channel: an average pool. mixture: (classes, new classes)."""

    name: str
    reads: tuple[str, ...]
    mixture: Array

    def forward(self, values: Mapping[str, Array]) -> Array:
        """(channels, classes) -> (channels, new classes)."""
        made: Array = values[self.reads[0]] @ self.mixture
        return made

    def backward(self, slope: Array) -> tuple[Array, ...]:
        """The other way round."""
        return (slope @ self.mixture.T,)

    def keep(self, live: Live) -> None:
        """All channels alike."""


@dataclass
class Summed:
    """Values added place by place; tables: per value its class at each class of the sum."""

    name: str
    reads: tuple[str, ...]
    tables: tuple[Indices, ...]
    classes: tuple[int, ...]

    def __post_init__(self) -> None:
        self._collectors = [collector(t, n) for t, n in zip(self.tables, self.classes, strict=True)]

    def forward(self, values: Mapping[str, Array]) -> Array:
        """The sum."""
        first, *others = (values[n][:, t] for n, t in zip(self.reads, self.tables, strict=True))
        for other in others:
            first = first + other
        return first

    def backward(self, slope: Array) -> tuple[Array, ...]:
        """The slope goes to each, collected by its classes."""
        found = []
        for (order, starts, which), count in zip(self._collectors, self.classes, strict=True):
            collected = np.zeros((len(slope), count))
            collected[:, which] = np.add.reduceat(slope[:, order], starts, axis=1)
            found.append(collected)
        return tuple(found)

    def keep(self, live: Live) -> None:
        """All channels alike."""


@dataclass
class Flat:
    """Channels and places as features: feature i is place i % places of channel i // places."""

    name: str
    reads: tuple[str, ...]
    grid: Indices
    classes: int
    features: Indices
    channels: int

    def __post_init__(self) -> None:
        self.channel, self._class = self.features // self.grid.size, self.grid.ravel()[self.features % self.grid.size]

    def forward(self, values: Mapping[str, Array]) -> Array:
        """(channels, classes) -> (features, 1)."""
        return values[self.reads[0]][self.channel, self._class][:, None]

    def backward(self, slope: Array) -> tuple[Array, ...]:
        """Collected by channel and class."""
        at = self.channel * self.classes + self._class
        found: Array = np.bincount(at, slope[:, 0], self.channels * self.classes).astype(np.float64)
        return (found.reshape(self.channels, self.classes),)

    def keep(self, live: Live) -> None:
        """The features that are left, of the channels that are left."""
        left = live[self.reads[0]]
        place = np.full(self.channels, -1, dtype=np.intp)
        place[left] = np.arange(len(left))
        own = live[self.name]
        self.channel, self._class = place[self.channel[own]], self._class[own]
        self.channels = len(left)
