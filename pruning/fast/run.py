"""SynFlow on the fast path: flow through the network on classes of places, forward and back."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pruning.answers import ScoreError
from pruning.fast.lower import lower
from pruning.fast.rounds import ALONE, Watch, run_rounds
from pruning.fast.steps import Flat, Weighted
from pruning.fast.store import Array
from pruning.fast.survivors import Survivors
from pruning.graph import INPUT
from pruning.network import Network, check_finite
from pruning.rounds import Trace
from pruning.schedule import Schedule

SHRUNK = 0.8  # of the weights at the last time: from there on dead channels are looked for; of the arrays: and dropped


def run_synflow(network: Network, schedule: Schedule, watch: Watch = ALONE) -> Trace:
    """SynFlow's rounds, in float64 on the CPU whatever the weights' own type and device: as the textbook loop's there.

    Raises NotLoweredError for a network that the fast path can't do, ValueError for weights that are not finite.
    """
    check_finite(network.weights)
    return run_rounds("synflow", network, FastRun(network), schedule, watch)


class FastRun:
    """The state of a run: the network on classes, and what is left of it."""

    def __init__(self, network: Network) -> None:
        """Raises NotLoweredError where the fast path can't do it."""
        masks = {n: m.cpu().numpy() for n, m in network.initial.items()}
        sizes = {n: w.detach().cpu().double().abs().contiguous().numpy() for n, w in network.weights.items()}
        mute = {n: np.flatnonzero((sizes[n] == 0) & masks[n]) for n in sizes}
        for n, size in sizes.items():
            if not masks[n].all():
                size *= masks[n]
        self.lowered = lower(network, sizes)
        steps = {s.name: s for s in self.lowered.weighted}
        of_weight = {e.weight: steps[e.node.name] for e in network.graph.edges}
        self.survivors = Survivors(
            layers=[of_weight[n] for n in network.weights],
            died=[masks[n].ravel() - np.int16(1) for n in network.weights],
            mute=list(mute.values()),
        )
        self.ends = self.lowered.ends
        self.channels = dict(self.lowered.channels)
        self.cuts = self.lowered.cuts
        self.looked_at = sum(self.survivors.kept())
        self.calls: dict[str, int] = {}

    def score(self) -> tuple[float, int]:
        """Flow forward and back, for scores to be had; returns R, and the power of two that it and they are times."""
        with np.errstate(over="ignore", invalid="ignore"):  # it is told below
            found = self._flow()
        held = (array for step in self.lowered.weighted for array in (step.columns, step.slopes))
        if not (math.isfinite(found[0]) and all(np.isfinite(array).all() for array in held)):
            raise ScoreError(
                "the scorer of 'synflow' overflows: between two values that every path passes, products of weights "
                "leave the range of float64; scale the weights there by powers of two, and the masks stay what they are"
            )
        return found

    def _flow(self) -> tuple[float, int]:
        values: dict[str, Array] = {INPUT: np.ones((self.channels[INPUT], 1))}
        powers: dict[str, int] = {}
        for step in self.lowered.steps:
            made = step.forward(values)
            if step.name in self.cuts:
                powers[step.name] = _exponent(made)
                made = np.ldexp(made, -powers[step.name])
            values[step.name] = made
        total = float((values[self.lowered.output] * self.ends).sum())
        slopes = {self.lowered.output: self.ends}
        for step in reversed(self.lowered.steps):
            slope = slopes.pop(step.name)
            if step.name in powers:
                slope = np.ldexp(slope, -powers[step.name])
            for name, found in zip(step.reads, step.backward(slope), strict=True):
                if name != INPUT:
                    slopes[name] = slopes[name] + found if name in slopes else found
        return total, sum(powers.values())

    def shrink(self) -> None:
        """Forget channels that no weight leads to and none leads on from, where much has fallen since the last time."""
        kept = sum(self.survivors.kept())
        if kept > SHRUNK * self.looked_at:
            return
        self.looked_at = kept
        alive = self._alive()
        live = {name: np.flatnonzero(alive[root]) for name, root in self.lowered.joined.items()}
        weighted = self.lowered.weighted
        cells = sum(len(live[s.name]) * len(live[s.reads[0]]) * s.links.taps // s.groups for s in weighted)
        if cells > SHRUNK * sum(s.store.cells for s in weighted):
            return  # not worth the copies
        for step in self.lowered.steps:
            step.keep(live)
        self.ends = self.ends[live[self.lowered.output]]
        self.channels = {n: len(which) for n, which in live.items()}

    def _alive(self) -> dict[str, NDArray[np.bool_]]:
        joined = self.lowered.joined
        alive = {root: np.zeros(self.channels[root], dtype=bool) for root in set(joined.values())}
        for step in self.lowered.steps:
            if isinstance(step, Weighted):
                into, onto = alive[joined[step.reads[0]]], alive[joined[step.name]]
                if step.groups > 1:
                    into[:] = onto[:] = True
                    continue
                rows, columns = step.store.alive()
                onto |= rows
                into |= columns.reshape(len(into), -1).any(1)
        alive[joined[self.lowered.output]][:] = True  # R counts what reaches an output by no weight, too
        for step in reversed(self.lowered.steps):
            if isinstance(step, Flat):
                read = np.zeros(step.channels, dtype=bool)
                read[step.channel[alive[joined[step.name]]]] = True
                alive[joined[step.reads[0]]] |= read
        for one in alive.values():
            one[:1] = True  # no value is empty
        return alive


def _exponent(values: Array) -> int:
    largest = float(values.max(initial=0.0))
    return math.frexp(largest)[1] if largest > 0 else 0
