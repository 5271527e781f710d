"""Rounds: what a pruning run did in each, as the trace that it leaves."""

from __future__ import annotations

from collections.abc import Iterator
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

    @property
    def rounds(self) -> int:
        """Number of rounds."""
        return len(self.targets)

    def masks_at(self, round_: int) -> Masks:
        """The masks after a round; 0 is before the first. Exact when nothing was revived."""
        if not 0 <= round_ <= self.rounds:
            raise ValueError(f"round {round_} of a run of {self.rounds} rounds")
        return Masks({n: (died == 0) | (died > round_) for n, died in self.died.items()})

    @property
    def masks(self) -> Masks:
        """The masks at the end."""
        return self.masks_at(self.rounds)


class Log:
    """Rounds as they come: what each did is a row of numbers, made on the scores' device and read from there later.

    Columns: weights kept per layer; weights revived; alive scores that are not 0; mass; cut; per layer NaN and
    infinite scores, which are counted where work is queued alone: else they are refused before anything is chosen.
    """

    def __init__(self, network: Network, pruner: Pruner) -> None:
        self.network, self.pruner = network, pruner
        self.targets: list[int] = []
        self._pending: list[Tensor] = []
        self._rows: list[list[float]] = []
        self.kept = network.initial.kept

    @property
    def flat(self) -> list[int]:
        """Rounds, of those that were read, in which every alive score was 0."""
        loud = len(self.network.weights) + 1
        return [i for i, row in enumerate(self._rows, 1) if row[loud] == 0]

    def settle(self) -> None:
        """Read all that is pending. Raises ScoreError for scores that are not finite."""
        self._read(0)

    def add(self, scores: Tensors | None, before: Masks, after: Masks, target: int, cut: Tensor | None) -> None:
        """A round: its scores, the masks before and after it, what it was to keep, and R before it.

        Where work is queued one row is read, and nothing else: that of the round before where it is known what this
        one keeps, so that nobody waits for this round's own work. Raises ScoreError for scores that are not finite.
        """
        self.targets.append(target)
        self._pending.append(self._row(scores, before, after, cut))
        exact = self.pruner.choose is None and self.pruner.select is global_top_k and target <= self.kept
        late = exact and devices.queued(self._pending[-1])
        self._read(1 if late else 0)
        self.kept = target if late else int(sum(self._rows[-1][: len(before)]))

    def _row(self, scores: Tensors | None, before: Masks, after: Masks, cut: Tensor | None) -> Tensor:
        kept = [after[n].sum() for n in before]
        revived = torch.stack([(after[n] & ~before[n]).sum() for n in before]).sum()
        none = torch.full((), torch.nan, dtype=torch.float64, device=revived.device)
        loud, mass, bad = torch.ones_like(revived), none, list[Tensor]()
        if scores is not None:
            loud, mass = (torch.stack(parts).sum() for parts in zip(*_removed(scores, before, after), strict=True))
            if devices.queued(revived):
                bad = [count for n in before for count in (scores[n].isnan().sum(), scores[n].isinf().sum())]
        columns = [*kept, revived, loud, mass, none if cut is None else cut, *bad]
        return torch.stack([c.to(revived.device, torch.float64) for c in columns])

    def _read(self, leave: int) -> None:
        """Read rows until so many are pending."""
        while len(self._pending) > leave:
            row = self._pending.pop(0).tolist()
            self._rows.append(row)
            nans, infinite = row[len(self.network.weights) + 4 :: 2], row[len(self.network.weights) + 5 :: 2]
            for (name, weight), nan, inf in zip(self.network.weights.items(), nans, infinite, strict=False):
                if nan or inf:
                    refuse_infinite(self.pruner.name, name, weight.numel(), int(nan), int(inf), weight.dtype)

    def trace(self, died: Tensors, calls: dict[str, int]) -> Trace:
        """All of them; died: per weight the round of its removal."""
        self.settle()
        layers = len(self.network.weights)
        rows = torch.tensor([r[: layers + 4] for r in self._rows], dtype=torch.float64).reshape(-1, layers + 4)
        kept, (revived, _, mass, cut) = rows[:, :layers].long(), rows[:, layers:].T
        return Trace(
            layers=tuple(self.network.weights),
            targets=tuple(self.targets),
            kept=kept,
            mass=mass,
            cut=cut,
            log_cut=cut.log(),
            revived=tuple(revived.long().tolist()),
            flat=tuple(self.flat),
            died=died,
            calls=calls,
        )


def _removed(scores: Tensors, before: Masks, after: Masks) -> Iterator[tuple[Tensor, Tensor]]:
    """Per layer how many alive scores are not 0, and the sum of those that are removed."""
    for name, mask in before.items():
        alive = scores[name].masked_fill(~mask, 0)
        yield alive.count_nonzero(), alive.masked_fill(after[name], 0).sum()
