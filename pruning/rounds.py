"""Rounds: what a pruning run did in each, as the trace that it leaves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pruning import devices
from pruning.answers import refuse_infinite
from pruning.masks import Masks, Tensors, global_top_k
from pruning.network import Network
from pruning.pruner import Pruner

MAX_ROUNDS = torch.iinfo(torch.int16).max


@dataclass(frozen=True)
class Trace:
    """What a pruning run did, round by round (rounds count from 1).

    targets: weights to keep; kept: (rounds, layers) weights kept; mass: scores removed, NaN without scores; cut:
    the objective's R before the round, NaN without an objective; log_cut: its natural logarithm, which the fast path
    knows where R itself ends above or below what float64 holds; revived: pruned weights that came back;
    flat: rounds in which every alive score was 0, so that only the index decided.
    died: per weight the round of its removal, 0 for a survivor, -1 if it was masked from the start.
    before: rounds of the run that this one goes on from, of which it holds what fell in them and no more.
    """

    layers: tuple[str, ...]
    targets: tuple[int, ...]
    kept: Tensor
    mass: Tensor
    cut: Tensor
    log_cut: Tensor
    revived: tuple[int, ...]
    flat: tuple[int, ...]
    died: Tensors
    calls: dict[str, int]
    before: int = 0

    @property
    def rounds(self) -> int:
        """Number of rounds."""
        return len(self.targets)

    def masks_at(self, round_: int) -> Masks:
        """The masks after a round; 0 is before the first. Exact when nothing was revived."""
        if not 0 <= round_ <= self.before + self.rounds:
            raise ValueError(f"round {round_} of a run of {self.before + self.rounds} rounds")
        return Masks({n: (died == 0) | (died > round_) for n, died in self.died.items()})

    @property
    def masks(self) -> Masks:
        """The masks at the end."""
        return self.masks_at(self.before + self.rounds)


@dataclass(frozen=True)
class Standing:
    """Where a run stands after a round, and all that it takes to go on from there: see `since` of `prune`.

    died: per weight the round of its removal, as in a Trace, and not to be changed. calls: what the probe was asked for
    so far. kept, mass, cut, log_cut: of this round, as in a Trace.
    """

    round: int
    died: Tensors
    calls: Mapping[str, int]
    kept: tuple[int, ...]
    mass: float
    cut: float
    log_cut: float

    @property
    def masks(self) -> Masks:
        """The masks after the round."""
        return Masks({n: fell == 0 for n, fell in self.died.items()})


def died_before(network: Network, since: Standing | None) -> dict[str, Tensor]:
    """Per weight the round of its removal where a run begins."""
    if since is None:
        return {n: torch.where(m, 0, -1).to(torch.int16) for n, m in network.initial.items()}
    return {n: since.died[n].clone() for n in network.initial}


def told_later(network: Network) -> bool:
    """Whether the log tells of scores that aren't finite: where to look would wait, or all processes must fail."""
    return network.together is not None or any(devices.queued(w) for w in network.weights.values())


@dataclass(frozen=True)
class _Round:
    """What a round did: weights kept and revived per layer, alive scores that are not 0, mass, and R before it."""

    kept: list[int]
    revived: int
    loud: int
    mass: float
    cut: float


class Log:
    """Rounds as they come: what each did is made as numbers on the scores' device, and read from there later."""

    def __init__(self, network: Network, pruner: Pruner) -> None:
        self.network, self.pruner = network, pruner
        self.targets: list[int] = []
        self._pending: list[Tensor] = []
        self._rounds: list[_Round] = []
        self._later = told_later(network)
        self.kept = int(self._all({n: m.sum() for n, m in network.initial.items()}).sum())

    @property
    def flat(self) -> list[int]:
        """Rounds, of those that were read, in which every alive score was 0."""
        return [i for i, done in enumerate(self._rounds, 1) if not done.loud]

    def add(self, scores: Tensors | None, before: Masks, after: Masks, target: int, cut: Tensor | None) -> None:
        """A round: its scores, the masks before and after it, what it was to keep, and R before it.

        Where work is queued one round is read, and nothing else: the round before where it is known what this one
        keeps, so that nobody waits for this one's own work. Raises ScoreError for scores that are not finite.
        """
        self.targets.append(target)
        done = self._all({n: self._numbers(scores, before, after, n) for n in before}).flatten()
        value = done.new_full((1,), torch.nan) if cut is None else cut.to(done).reshape(1)
        self._pending.append(torch.cat([value, done]))
        exact = self.pruner.choose is None and self.pruner.select is global_top_k and target <= self.kept
        late = exact and devices.queued(done)
        self._read(1 if late else 0)
        self.kept = target if late else sum(self._rounds[-1].kept)

    def standing(self, round_: int, died: Tensors, calls: Mapping[str, int]) -> Standing:
        """Where the run stands. Raises ScoreError for scores that are not finite."""
        self.settle()
        done = self._rounds[-1]
        log = math.log(done.cut) if done.cut > 0 else -math.inf if done.cut == 0 else math.nan
        return Standing(round_, dict(died), dict(calls), tuple(done.kept), done.mass, done.cut, log)

    def settle(self) -> None:
        """Read all that is pending. Raises ScoreError for scores that are not finite."""
        self._read(0)

    def trace(self, died: Tensors, calls: dict[str, int], before: int) -> Trace:
        """All of them; died: per weight the round of its removal."""
        self.settle()
        rounds = self._rounds
        cut = torch.tensor([done.cut for done in rounds], dtype=torch.float64)
        return Trace(
            layers=tuple(self.network.weights),
            targets=tuple(self.targets),
            kept=torch.tensor([done.kept for done in rounds], dtype=torch.int64).reshape(len(rounds), -1)
            if rounds
            else torch.empty(0, len(self.network.weights), dtype=torch.int64),
            mass=torch.tensor([done.mass for done in rounds], dtype=torch.float64),
            cut=cut,
            log_cut=cut.log(),
            revived=tuple(done.revived for done in rounds),
            flat=tuple(self.flat),
            died=died,
            calls=calls,
            before=before,
        )

    def _numbers(self, scores: Tensors | None, before: Masks, after: Masks, name: str) -> Tensor:
        """Of a layer: kept, revived, alive scores that are not 0, mass, NaN scores, infinite scores."""
        mask, kept = before[name], after[name]
        counts = [kept.sum(), (kept & ~mask).sum()]
        zero = torch.zeros_like(counts[0], dtype=torch.float64)
        if scores is None:
            ends = [zero + 1, zero * torch.nan, zero, zero]
        else:
            alive = scores[name].masked_fill(~mask, 0)
            ends = [alive.count_nonzero(), alive.masked_fill(kept, 0).sum()]
            ends += [scores[name].isnan().sum(), scores[name].isinf().sum()] if self._later else [zero, zero]
        return torch.stack([number.to(zero) for number in (*counts, *ends)])

    def _all(self, numbers: Tensors) -> Tensor:
        """(layers, ...), summed over all processes where each has a part."""
        together = self.network.together
        if together is None:
            return torch.stack(list(numbers.values()))
        counted = [n if together.counts(name) else torch.zeros_like(n) for name, n in numbers.items()]
        return together.summed(torch.stack(counted))

    def _read(self, leave: int) -> None:
        """Read rounds until so many are pending."""
        while len(self._pending) > leave:
            cut, *numbers = self._pending.pop(0).tolist()
            kept, revived, loud, mass, nans, infinite = (numbers[i::6] for i in range(6))
            self._rounds.append(_Round([int(k) for k in kept], int(sum(revived)), int(sum(loud)), sum(mass), cut))
            for (name, weight), nan, inf in zip(self.network.weights.items(), nans, infinite, strict=True):
                if nan or inf:
                    size = self.network.whole_shape(name).numel()
                    refuse_infinite(self.pruner.name, name, size, int(nan), int(inf), weight.dtype)
