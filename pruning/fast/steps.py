"""Steps: what a network does to classes of places, forward and backward, on the channels that are still alive.

Values are (channels, classes) arrays of nonnegative numbers; a slope is the derivative of R by a value, summed over the
places of each class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from pruning.fast.places import Indices, collector
from pruning.fast.store import Array, Judged, Store

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
    """A linear or convolution layer: its weights against columns of its input, (groups, inputs * taps, classes).

    first: whether it reads the network's input, whose slope nobody asks for. table: (taps, classes).
    """

    name: str
    reads: tuple[str, ...]
    store: Store
    groups: int
    table: Indices
    classes: int
    first: bool
    columns: Array = field(init=False)
    slopes: Array = field(init=False)

    def __post_init__(self) -> None:
        taps, made = self.table.shape
        self._plain = taps == 1 and made == self.classes and bool((self.table[0] == np.arange(made)).all())
        self._order, self._starts, self._classes = collector(self.table.ravel(), self.classes)

    def forward(self, values: Mapping[str, Array]) -> Array:
        """(inputs, classes) -> (outputs, classes)."""
        value = values[self.reads[0]]
        if not self._plain:
            bordered = np.concatenate([value, np.zeros((len(value), 1))], 1)
            value = bordered[:, self.table]
        self.columns = value.reshape(self.groups, -1, self.table.shape[1])
        return self.store.forward(self.columns).reshape(-1, self.table.shape[1])

    def backward(self, slope: Array) -> tuple[Array, ...]:
        """The slope of the input; what it was given is held for the scores."""
        self.slopes = slope.reshape(self.groups, -1, slope.shape[1])
        if self.first:
            return (np.zeros((0, 0)),)
        by_column = self.store.backward(self.slopes)
        if self._plain:
            return (by_column.reshape(-1, slope.shape[1]),)
        taps, made = self.table.shape
        spread = by_column.reshape(-1, taps * made)[:, self._order]
        found = np.zeros((len(spread), self.classes))
        found[:, self._classes] = np.add.reduceat(spread, self._starts, axis=1)
        return (found,)

    def judge(self, floor: float, ceiling: float) -> Judged:
        """The scores beside a bracket."""
        return self.store.judge(self.columns, self.slopes, floor, ceiling)

    def sample(self, step: int) -> Array:
        """About one of `step` scores."""
        return self.store.sample(self.columns, self.slopes, step)

    def keep(self, live: Live) -> None:
        """The rows and columns of live channels; a grouped layer's channels are never dropped."""
        if self.groups == 1:
            inputs, taps = live[self.reads[0]], len(self.table)
            self.store.keep(live[self.name], (inputs[:, None] * taps + np.arange(taps)).ravel())


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
