"""Steps: what a network does to classes of places, forward and backward, on the channels that are still alive.

Values are (channels, classes) arrays of nonnegative numbers; a slope is the derivative of R by a value, summed over the
places of each class. Where a network is folded it is the other way round: values are sums, slopes those of one place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from pruning.fast.links import Links
from pruning.fast.places import Indices
from pruning.fast.store import Array, Store
from pruning.graph import INPUT

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


class _Alike:
    """What takes no account of which channel is which."""

    def keep(self, live: Live) -> None:
        """Nothing is to be forgotten."""


@dataclass
class Weighted:
    """A linear or convolution layer: its weights against columns of its input, (groups, inputs * taps, classes).

    first: whether it reads the network's input, whose slope nobody asks for.
    """

    name: str
    reads: tuple[str, ...]
    store: Store
    groups: int
    links: Links
    first: bool
    columns: Array = field(init=False)
    slopes: Array = field(init=False)

    @property
    def classes(self) -> int:
        """Of what it makes."""
        return self.links.columns // self.links.taps

    def forward(self, values: Mapping[str, Array]) -> Array:
        """(inputs, classes) -> (outputs, classes)."""
        self.columns = self.links.forward(values[self.reads[0]]).reshape(self.groups, -1, self.classes)
        return self.store.forward(self.columns).reshape(-1, self.classes)

    def backward(self, slope: Array) -> tuple[Array, ...]:
        """The slope of the input; what it was given is held for the scores."""
        self.slopes = slope.reshape(self.groups, -1, self.classes)
        if self.first:
            return (np.zeros((0, 0)),)
        return (self.links.backward(self.store.backward(self.slopes).reshape(-1, self.links.columns)),)

    def lowest(self, ceiling: float) -> tuple[Indices, Array]:
        """Where the scores of what is left are up to a ceiling, and these; where ascends."""
        return self.store.lowest(self.columns, self.slopes, ceiling)

    def sample(self, step: int) -> Array:
        """About one of `step` scores."""
        return self.store.sample(self.columns, self.slopes, step)

    def keep(self, live: Live) -> None:
        """The rows and columns of live channels; a grouped layer's channels are never dropped."""
        if self.groups == 1:
            inputs, taps = live[self.reads[0]], self.links.taps
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
class Highest(_Alike):
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


@dataclass
class Mixed(_Alike):
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


@dataclass
class Summed(_Alike):
    """Values added place by place; links: per value its classes in those of the sum."""

    name: str
    reads: tuple[str, ...]
    links: tuple[Links, ...]

    def forward(self, values: Mapping[str, Array]) -> Array:
        """The sum."""
        first, *others = (links.forward(values[n]) for n, links in zip(self.reads, self.links, strict=True))
        for other in others:
            first = first + other
        return first

    def backward(self, slope: Array) -> tuple[Array, ...]:
        """The slope goes to each."""
        return tuple(links.backward(slope) for links in self.links)


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


@dataclass(frozen=True)
class Lowered:
    """Steps in order; joined: per value the first of the values that have its channels; ends: R's slope at the output.

    channels: of each value that a step makes, and of the input.
    """

    steps: list[Step]
    channels: dict[str, int]
    joined: dict[str, str]
    output: str
    ends: Array

    @property
    def weighted(self) -> list[Weighted]:
        """The layers."""
        return [step for step in self.steps if isinstance(step, Weighted)]

    @property
    def cuts(self) -> set[str]:
        """The values that every path passes: after each of them nothing that was made before is read."""
        last = {name: i for i, step in enumerate(self.steps) for name in step.reads}
        found, reach = set(), last[INPUT]
        for i, step in enumerate(self.steps):
            if reach <= i:
                found.add(step.name)
            reach = max(reach, last.get(step.name, i))
        return found - {self.output}
