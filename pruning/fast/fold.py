"""Folding: behind the last max-pool, values as sums over the places whose slopes are equal, where these are fewer.

There a network is linear in its values, and a slope is the same wherever the same windows see a place: a pool over
everything leaves one class before it, a convolution the borders apart. Sums over such classes are all that scores need.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pruning.fast.links import Links
from pruning.fast.places import Indices, Places, classes_of
from pruning.fast.steps import Flat, Lowered, Mixed, Scaled, Step, Summed, Weighted


@dataclass(frozen=True)
class View:
    """How a step's places see those of what it reads.

    seers: from the class of each place of the step, and the number of nobody, per way of seeing and place of its input
    the class that sees it, (ways, *positions). sizes: per way how many places its window has.
    """

    seers: Callable[[Indices, int], Indices]
    sizes: Sequence[int] = (1,)


@dataclass(frozen=True)
class Shed:
    """The classes of a value's places by slopes; tables: per step that reads it the classes that see each of these."""

    grid: Indices
    classes: int
    tables: Mapping[str, list[Indices]]


def folded(lowered: Lowered, views: Mapping[str, View | None], places: Mapping[str, Places]) -> Lowered:
    """The same steps, or those behind one of the cuts on sums; views: by step, None where none is."""
    shed = _shed(lowered, views, places)
    costs = {name: _cost(lowered, places, shed, name) for name in ("", *(lowered.cuts & shed.keys()))}
    cut = min(costs, key=lambda name: costs[name])
    return _folded_at(lowered, views, places, shed, cut) if cut else lowered


def _shed(lowered: Lowered, views: Mapping[str, View | None], places: Mapping[str, Places]) -> dict[str, Shed]:
    seen: dict[str, list[tuple[str, Indices]]] = {lowered.output: []}
    found: dict[str, Shed] = {}
    for step in reversed(lowered.steps):
        keys = seen[step.name] or [("", np.zeros((1, *places[step.name].grid.shape), np.intp))]
        table, grid = classes_of(np.concatenate([k for _, k in keys]))
        tables: dict[str, list[Indices]] = {}
        for (reader, _), part in zip(keys, np.split(table, np.cumsum([len(k) for _, k in keys])[:-1]), strict=True):
            tables.setdefault(reader, []).append(part)
        found[step.name] = Shed(grid, table.shape[1], tables)
        view = views[step.name]
        if view is None:
            break
        for read in step.reads:
            seen.setdefault(read, []).append((step.name, view.seers(grid, table.shape[1])))
    return found


def _cost(lowered: Lowered, places: Mapping[str, Places], shed: Mapping[str, Shed], cut: str) -> int:
    """Products of a pass, on sums behind the cut."""
    cost, behind = 0, False
    for step in lowered.steps:
        if isinstance(step, Weighted):
            cost += step.store.cells * (shed[step.name].classes if behind else places[step.name].classes)
        behind |= step.name == cut
    return cost


def _folded_at(
    lowered: Lowered,
    views: Mapping[str, View | None],
    places: Mapping[str, Places],
    shed: Mapping[str, Shed],
    cut: str,
) -> Lowered:
    at = 1 + [step.name for step in lowered.steps].index(cut)
    steps = lowered.steps[:at]
    channels, joined = dict(lowered.channels), dict(lowered.joined)

    def insert(step: Step, read: str) -> str:
        steps.append(step)
        channels[step.name], joined[step.name] = channels[read], joined[read]
        return step.name

    before, after = places[cut], shed[cut]
    counts = np.zeros((before.classes, after.classes))
    np.add.at(counts, (before.grid.ravel(), after.grid.ravel()), 1)
    names = {cut: insert(Mixed(f"{cut}, summed", (cut,), counts), cut)}
    for step in lowered.steps[at:]:
        made = shed[step.name].classes
        tables = [shed[read].tables[step.name] for read in dict.fromkeys(step.reads)]
        (first, *_), reads = tables[0], [names.get(read, read) for read in step.reads]
        if isinstance(step, Weighted):
            steps.append(replace(step, reads=tuple(reads), links=Links.shed(first, made)))
        elif isinstance(step, Mixed):
            view = views[step.name]
            assert view is not None
            mixture = np.zeros((first.shape[1], made + 1))
            for way, size in zip(first, np.broadcast_to(view.sizes, len(first)), strict=True):
                mixture[np.arange(len(way)), way] += 1 / size
            steps.append(replace(step, reads=tuple(reads), mixture=mixture[:, :made]))
        else:
            links = [Links.shed(table[0], made) for table in tables for _ in table]
            if isinstance(step, Summed):
                steps.append(replace(step, reads=tuple(reads), links=tuple(links)))
            else:
                assert isinstance(step, (Scaled, Flat))
                regrouped = insert(Summed(f"{step.name}, regrouped", tuple(reads), tuple(links)), reads[0])
                steps.append(replace(step, reads=(regrouped,)))
    ends = np.ones((channels[lowered.output], 1))
    return Lowered(steps, channels, joined, lowered.output, ends)
