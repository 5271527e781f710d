"""Pruners of the form of the SynFlow paper's repository: score(model, loss, dataloader, device), mask(sparsity, scope).

A pruner there is made of (mask, parameter) pairs, keeps a score per parameter under its id, and copies 0 and 1 into
the masks; `sparsity` is the fraction that is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from pruning.inplace import owners
from pruning.masks import Masks, Tensors
from pruning.network import Network
from pruning.problem import Probe
from pruning.pruner import Claim, Pruner, State, scored
from pruning.rebuilt import Rebuilt

Pairs = list[tuple[Tensor, nn.Parameter]]


class Theirs(Protocol):
    """What is asked of such a pruner."""

    scores: dict[int, Tensor]

    def score(self, model: nn.Module, loss: Any, dataloader: Any, device: Any) -> None:
        """Fill `scores`, by the id of each parameter."""

    def mask(self, sparsity: float, scope: str) -> None:
        """Write the masks that keep this fraction, 'global' or 'local'."""


def synaptic_flow(
    make: Callable[[Pairs], Theirs],
    *,
    name: str | None = None,
    scope: str = "global",
    rounds: int = 1,
    claims: Iterable[Claim] = (),
) -> Pruner:
    """A class of that form as a pruner: its own scores, and its own way to mask.

    make: called with the pairs of mask and parameter, as its constructor is. Each scoring makes a new one, so nothing
    is carried from round to round. The model is in evaluation mode and of torch's layers, the masks multiplied into
    their weights; `dataloader` holds one batch, whose use counts once its numbers are read. Raises as `scored` does.
    """

    if scope not in ("global", "local"):
        raise ValueError(f"the scope is {scope!r}, wanted 'global' or 'local'")

    def score(network: Network, state: State, probe: Probe) -> dict[str, Tensor]:
        model = Rebuilt(network, state.weights).eval()
        pairs: Pairs = []
        for layer, weight, path in owners(model, state.weights):
            mask = state.masks[path].to(state.weights[path].dtype)
            parametrize.register_parametrization(layer, weight, _Masked(mask))
            held: Any = layer.get_submodule(f"parametrizations.{weight}")
            pairs.append((held[0].mask, held.original))
        theirs = make(pairs)
        with _seen_by(state, pairs), torch.enable_grad(), _default_dtype(next(iter(state.weights.values())).dtype):
            theirs.score(model, probe.criterion, _Loader(probe), network.example.device)
        return {path: theirs.scores[id(p)].detach() for path, (_, p) in zip(state.weights, pairs, strict=True)}

    def select(scores: Tensors, masks: Masks, keep: int) -> Masks:
        pairs = [(masks[n].to(s.dtype), nn.Parameter(s.clone(), requires_grad=False)) for n, s in scores.items()]
        theirs = make(pairs)
        theirs.scores = {id(p): s.clone() for (_, p), s in zip(pairs, scores.values(), strict=True)}
        theirs.mask(keep / masks.total, scope)
        return Masks({n: mask != 0 for n, (mask, _) in zip(scores, pairs, strict=True)})

    return scored(name or str(getattr(make, "__name__", "theirs")), score, select=select, rounds=rounds, claims=claims)


@contextmanager
def _seen_by(state: State, pairs: Pairs) -> Iterator[None]:
    """What they do to the model's weights and do not undo, they do to the ones that they were given."""
    try:
        yield
    finally:
        for weight, (_, parameter) in zip(state.weights.values(), pairs, strict=True):
            if not torch.equal(weight, parameter.detach()):
                weight.copy_(parameter.detach())


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Such code makes its input of ones in torch's default type, and means the model's."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


class _Masked(nn.Module):
    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.mask: Tensor
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask


class _Loader:
    """One batch, again and again: that of the problem, or, where it has none, the network's example."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield self.probe.unread()
