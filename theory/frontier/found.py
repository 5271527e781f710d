"""What is found of a frontier: compressions that were looked at, and the two edges between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pruning.problem import Problem
from pruning.pruner import Pruner
from pruning.schedule import Schedule


@dataclass(frozen=True)
class Contender:
    """A pruner under a schedule on a problem: `plan` gives the schedule that keeps a number of weights."""

    problem: Problem
    pruner: Pruner
    plan: Callable[[int], Schedule]

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers."""
        return tuple(self.problem.network.weights)

    @property
    def total(self) -> int:
        """Number of weights, those masked from the start included."""
        return self.problem.network.initial.total


@dataclass(frozen=True)
class Look:
    """What is left where so many weights are kept: per layer, and whether a live path is.

    masses: of the run that led there, per round the scores pruned as a share of R; None where there is no R.
    """

    kept: tuple[int, ...]
    connected: bool
    masses: tuple[float | None, ...] = ()

    @property
    def total(self) -> int:
        """Weights kept in all layers."""
        return sum(self.kept)

    @property
    def whole(self) -> bool:
        """Whether no layer is empty."""
        return all(self.kept)


@dataclass(frozen=True)
class Edge:
    """Where something ends: the fewest weights at which it was still there, and the most at which it was not.

    lost: None where it was there to the end of what was looked at. what: the layers that are empty there.
    """

    held: int | None
    lost: int | None
    what: tuple[str, ...] = ()


@dataclass(frozen=True)
class Frontier:
    """Both edges and all looks, from dense to sparse. exact: nothing lies between `held` and `lost`."""

    whole: Edge
    connected: Edge
    looks: tuple[Look, ...]
    exact: bool


def frontier(layers: tuple[str, ...], looks: Sequence[Look], exact: bool) -> Frontier:
    """The edges between looks: each at the first, from dense to sparse, where something is missing."""
    ordered = tuple(sorted(looks, key=lambda look: -look.total))
    whole = _edge(ordered, [look.whole for look in ordered])
    connected = _edge(ordered, [look.connected for look in ordered])
    first = next((look for look in ordered if not look.whole), None)
    empty = tuple(n for n, kept in zip(layers, first.kept, strict=True) if not kept) if first else ()
    return Frontier(Edge(whole.held, whole.lost, empty), connected, ordered, exact)


def _edge(looks: Sequence[Look], there: Sequence[bool]) -> Edge:
    ends = there.index(False) if False in there else len(looks)
    return Edge(looks[ends - 1].total if ends else None, looks[ends].total if ends < len(looks) else None)


def look_record(look: Look) -> dict[str, Any]:
    """A look as data."""
    return {"kept": list(look.kept), "connected": look.connected, "masses": list(look.masses)}


def look_of(record: dict[str, Any]) -> Look:
    """A look from its data. Raises KeyError or TypeError for other data."""
    return Look(tuple(record["kept"]), record["connected"], tuple(record["masses"]))
