"""Rounds: what a pruning run did in each, as the trace that it leaves."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pruning.answers import call_objective
from pruning.masks import Masks, Tensors
from pruning.network import Network
from pruning.problem import Probe
from pruning.pruner import Pruner, State

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
    """Rounds as they come."""

    def __init__(self) -> None:
        self.targets: list[int] = []
        self.kept: list[Tensor] = []
        self.mass: list[Tensor] = []
        self.cut: list[Tensor] = []
        self.revived: list[Tensor] = []
        self.flat: list[Tensor] = []
        self.last_kept = 0

    def add(
        self,
        network: Network,
        pruner: Pruner,
        state: State,
        scores: Tensors | None,
        after: Masks,
        target: int,
        probe: Probe,
    ) -> None:
        """A round: what it was asked for, its scores, and the masks after it; `state` is before it."""
        before = state.masks
        self.targets.append(target)
        self.kept.append(torch.stack([after[n].sum() for n in before]).cpu())
        self.mass.append(_mass(scores, before, after))
        self.cut.append(_cut(network, pruner, state, probe))
        self.revived.append(torch.stack([(after[n] & ~before[n]).sum() for n in before]).sum().cpu())
        self.flat.append(_is_flat(scores, before))
        self.last_kept = int(self.kept[-1].sum())

    def trace(self, network: Network, died: Tensors, calls: dict[str, int]) -> Trace:
        """All of them; died: per weight the round of its removal."""
        cut = torch.stack(self.cut).double() if self.cut else torch.empty(0, dtype=torch.float64)
        return Trace(
            layers=tuple(network.weights),
            targets=tuple(self.targets),
            kept=torch.stack(self.kept) if self.kept else torch.empty(0, len(network.weights), dtype=torch.int64),
            mass=torch.stack(self.mass).double() if self.mass else torch.empty(0, dtype=torch.float64),
            cut=cut,
            log_cut=cut.log(),
            revived=tuple(int(r) for r in self.revived),
            flat=tuple(i + 1 for i, f in enumerate(self.flat) if f),
            died=died,
            calls=calls,
        )


def _mass(scores: Tensors | None, before: Masks, after: Masks) -> Tensor:
    """The scores that are removed; NaN where there are none."""
    if scores is None:
        return torch.tensor(torch.nan, dtype=torch.float64)
    removed = [scores[n].masked_fill(~before[n] | after[n], 0).sum() for n in before]
    return torch.stack(removed).sum().cpu()


def _is_flat(scores: Tensors | None, before: Masks) -> Tensor:
    """Whether every alive score is 0."""
    if scores is None:
        return torch.tensor(False)
    alive = [(scores[n].masked_fill(~before[n], 0) != 0).any() for n in before]
    return ~torch.stack(alive).any().cpu()


def _cut(network: Network, pruner: Pruner, state: State, probe: Probe) -> Tensor:
    if pruner.objective is None:
        return torch.tensor(torch.nan, dtype=torch.float64)
    with torch.no_grad():
        return call_objective(pruner, network, state.effective, probe).detach().cpu()
