"""Parts: the parameters of a network of which each process holds its own, and what only all of them can do together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from pruning.masks import Masks, Tensors
from pruning.sharded.part import Part
from pruning.sharded.select import kth_largest, ordered


def first_failure(told: str) -> str:
    """The first text that is not empty of what all processes tell; all of them must ask."""
    every: list[str] = [""] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(every, told)
    return next((text for text in every if text), "")


@dataclass(frozen=True, eq=False)
class Parts:
    """of: the sharded parameters; each process has all others whole.

    first: where the entries of each weight begin in the order of all entries of all weights.
    """

    of: Mapping[str, Part]
    first: Mapping[str, int]
    _gathered: Any = field(
        default_factory=WeakTensorKeyDictionary
    )  # of a whole tensor: its name, and the part it is of

    def counts(self, name: str) -> bool:
        """Whether this process counts what it holds of a parameter."""
        if name in self.of:
            return self.of[name].counted
        return torch.distributed.get_rank() == 0

    def summed(self, tensor: Tensor) -> Tensor:
        """The sum over all processes; all of them must ask for it."""
        found = tensor.clone()
        torch.distributed.all_reduce(found)
        return found

    def failure(self, told: str) -> str:
        """The first of what the processes tell of themselves, where one failed; else nothing. All must ask."""
        return first_failure(told)

    def drawn(self, name: str, whole: Tensor) -> Tensor:
        """This process's part of numbers that each has drawn alike."""
        return self.of[name].own(whole) if name in self.of else whole

    def shape(self, name: str, own: Tensor) -> torch.Size:
        """The shape of the whole."""
        return torch.Size(self.of[name].shape) if name in self.of else own.shape

    def wrapped(self, tensors: Tensors) -> dict[str, Tensor]:
        """Parts as tensors of torch.distributed, placed as the parameters of their names are."""
        return {n: self.of[n].wrapped(t) if n in self.of else t for n, t in tensors.items()}

    # whole tensors, while an operator runs

    def whole(self, params: Tensors) -> Tensors:
        """The parameters, each gathered when it is read."""
        return _Whole(self, params)

    def gathered(self, name: str, own: Tensor) -> Tensor:
        """A parameter whole; its gradient comes back as this process's part of it."""
        if name not in self.of:
            return own
        whole: Tensor = _Gather.apply(own, self.of[name])  # type: ignore[no-untyped-call]
        self._gathered[whole] = name, own.detach()
        return whole

    def grad_and_value(self, of: Callable[[dict[str, Tensor]], Tensor]) -> Callable[[dict[str, Tensor]], Any]:
        """What torch.func.grad_and_value gives; what an operator needs whole again is gathered again, not kept."""

        def run(weights: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
            own = {n: w.detach().requires_grad_() for n, w in weights.items()}
            with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(self._put_down, self._taken_up):
                value = of(own)
                slopes = torch.autograd.grad(value, list(own.values()), allow_unused=True)
            found = (torch.zeros_like(w) if s is None else s for w, s in zip(own.values(), slopes, strict=True))
            return dict(zip(own, found, strict=True)), value.detach()

        return run

    def _put_down(self, saved: Tensor) -> Any:
        base = saved if saved._base is None else saved._base
        if base not in self._gathered:
            return saved
        return *self._gathered[base], saved.size(), saved.stride(), saved.storage_offset()

    def _taken_up(self, held: Any) -> Tensor:
        if isinstance(held, Tensor):
            return held
        name, own, size, stride, offset = held
        return self.of[name].whole(own).as_strided(size, stride, offset)

    # selection

    def top_k(self, scores: Tensors, masks: Masks, k: int) -> Masks:
        """Keep exactly the `k` highest scores of all processes: what `global_top_k` keeps of the whole tensors.

        Each process gives its own parts and gets those of the masks. Raises ValueError, on all of them, unless `k` lies
        between 0 and the number of weights kept now.
        """
        counted = [n for n in masks if self.counts(n)]
        device = next(iter(masks.values())).device
        total = self._count(device, *(masks[n].sum() for n in counted))
        if not 0 <= k <= total:
            raise ValueError(f"asked to keep {k} weights, wanted 0 to {total}: a pruned weight never returns")
        if k == 0:
            return Masks({n: torch.zeros_like(m) for n, m in masks.items()})
        place = {n: ordered(scores[n]) for n in masks}
        threshold, above = kth_largest([place[n][masks[n]] for n in counted] or [self._none(device)], k, self.summed)
        tied = {n: masks[n] & (place[n] == threshold) for n in masks}
        room = k - above
        if room < self._count(device, *(tied[n].sum() for n in counted)):
            # the earlier of equal scores stay: of their places, counted from the end, the `room` highest
            places = {n: -self._places(n, tied[n]) for n in masks}
            last, _ = kth_largest([places[n] for n in counted] or [self._none(device)], room, self.summed)
            for n in masks:
                tied[n] = tied[n].masked_scatter(tied[n], places[n] >= last)
        return Masks({n: (masks[n] & (place[n] > threshold)) | tied[n] for n in masks})

    def _count(self, device: torch.device, *counts: Tensor) -> int:
        return int(self.summed(torch.stack([torch.zeros((), dtype=torch.int64, device=device), *counts]).sum()))

    def _none(self, device: torch.device) -> Tensor:
        return torch.zeros(0, dtype=torch.int64, device=device)

    def _places(self, name: str, chosen: Tensor) -> Tensor:
        (where,) = chosen.flatten().nonzero(as_tuple=True)
        return self.first[name] + (self.of[name].places(where) if name in self.of else where)


class _Whole(Mapping[str, Tensor]):
    def __init__(self, parts: Parts, own: Tensors) -> None:
        self.parts, self.own = parts, own

    def __getitem__(self, name: str) -> Tensor:
        return self.parts.gathered(name, self.own[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.own)

    def __len__(self) -> int:
        return len(self.own)


class _Gather(torch.autograd.Function):
    """All parts as one; every process computes the same from it, so that its part of the slope is a part of that."""

    @staticmethod
    def forward(own: Tensor, part: Part) -> Tensor:
        return part.whole(own)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Part], output: Tensor) -> None:
        ctx.part = inputs[1]

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        return ctx.part.own(slope), None
