"""Masks: which weights are kept, checked once, and the exact-count global selection that makes them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from pruning import devices

Tensors = Mapping[str, Tensor]


class Masks(Mapping[str, Tensor]):
    """One boolean tensor per prunable weight, keyed by parameter name; True is kept.

    A value: it is never changed after it is made, and equal to another when all names, shapes and
    bits are. Raises ValueError when empty, TypeError when a mask is no boolean tensor.
    """

    def __init__(self, masks: Tensors) -> None:
        if not masks:
            raise ValueError("masks are empty: a network without prunable weights has nothing to mask")
        for name, mask in masks.items():
            if not isinstance(mask, Tensor) or mask.dtype is not torch.bool:
                got = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
                raise TypeError(f"the mask of {name!r} is {got}, wanted a tensor of torch.bool")
        self._masks = dict(masks)

    @classmethod
    def full(cls, weights: Tensors) -> Masks:
        """Every weight kept."""
        return cls({name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()})

    def __getitem__(self, name: str) -> Tensor:
        return self._masks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._masks)

    def __len__(self) -> int:
        return len(self._masks)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Masks):
            return NotImplemented
        return list(self) == list(other) and all(torch.equal(self[n], other[n]) for n in self)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Masks({self.kept} of {self.total} kept in {len(self)} layers)"

    @property
    def total(self) -> int:
        """Number of prunable weights."""
        return sum(mask.numel() for mask in self._masks.values())

    @property
    def kept(self) -> int:
        """Number of weights kept."""
        return sum(self.kept_by_layer())

    @property
    def density(self) -> float:
        """Fraction of the prunable weights that is kept."""
        return self.kept / self.total

    def kept_by_layer(self) -> list[int]:
        """Number of weights kept in each layer, in order."""
        return [int(whole(mask.sum())) for mask in self._masks.values()]

    def apply(self, weights: Tensors) -> dict[str, Tensor]:
        """The effective weights: each weight times its mask. Raises ValueError where names or shapes differ."""
        check_against(weights, self._masks, "mask")
        return {name: weight * self._masks[name] for name, weight in weights.items()}

    def digest(self) -> str:
        """SHA-256 over names, shapes and bits: equal exactly when the masks are equal."""
        seen = hashlib.sha256()
        for name, mask in self._masks.items():
            seen.update(f"{name}{tuple(mask.shape)}".encode())
            seen.update(whole(mask).cpu().contiguous().numpy().tobytes())
        return seen.hexdigest()


def whole(tensor: Tensor) -> Tensor:
    """The tensor; of a DTensor what all processes hold of it, so all must ask."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def check_against(weights: Tensors, tensors: Tensors, what: str) -> None:
    """Raise ValueError unless `tensors` has exactly the names and shapes of `weights`."""
    missing, extra = [n for n in weights if n not in tensors], [n for n in tensors if n not in weights]
    if missing or extra:
        raise ValueError(f"{what}s do not match the weights: missing {_some(missing)}, not asked for {_some(extra)}")
    for name, weight in weights.items():
        if tensors[name].shape != weight.shape:
            raise ValueError(
                f"the {what} of {name!r} has shape {tuple(tensors[name].shape)}, wanted {tuple(weight.shape)}"
            )


def _some(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:3])) or "none"
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def keep_count(total: int, density: float) -> int:
    """How many of `total` weights a density (fraction kept, in (0, 1]) keeps: the nearest integer.

    Raises ValueError for a density outside (0, 1], or one that keeps less than one weight.
    """
    if not 0 < density <= 1:
        raise ValueError(f"density is {density}; wanted a fraction kept in (0, 1], that is a compression of 1 or more")
    kept = round(total * density)
    if kept < 1:
        raise ValueError(
            f"density {density:g} of {total} weights is below one weight; the highest possible compression is {total}"
        )
    return kept


def global_top_k(scores: Tensors, masks: Masks, k: int) -> Masks:
    """Keep exactly the `k` highest scores over all layers among the weights that `masks` keeps.

    Ties go by index: of equal scores the one earlier in (layer, position) is kept. A pruned weight
    never returns, whatever its score (pinning). Scores are finite and of a floating type. Runs
    without a host synchronisation on any device but the CPU. Raises ValueError unless `k` lies
    between 0 and the number of weights kept now (off the CPU: the number of weights).
    """
    lowest = -torch.inf
    flat = torch.cat([scores[n].masked_fill(~masks[n], lowest).flatten() for n in masks])
    alive = torch.cat([masks[n].flatten() for n in masks])
    waits = devices.queued(flat)
    eligible = flat if waits else flat[alive]  # how many are alive is not asked where that would wait
    if not 0 <= k <= len(eligible):
        raise ValueError(f"asked to keep {k} weights, wanted 0 to {len(eligible)}: a pruned weight never returns")
    if k == 0:
        chosen = torch.zeros_like(alive)
    else:
        threshold = _kth_by_torch(eligible, k) if waits else _kth_by_partition(eligible, k)
        above, tied = flat > threshold, (flat == threshold) & alive
        room = k - above.sum()
        chosen = above | (tied & (torch.cumsum(tied, 0, dtype=torch.int32) <= room))
    pieces = torch.split(chosen, [masks[n].numel() for n in masks])
    return Masks({n: piece.view(masks[n].shape) for n, piece in zip(masks, pieces, strict=True)})


def layer_top_k(scores: Tensors, masks: Masks, k: int) -> Masks:
    """Keep the highest scores of each layer, the same share of every layer and exactly `k` in all."""
    return group_top_k(scores, masks, k, {n: torch.zeros_like(m, dtype=torch.int64) for n, m in masks.items()})


def group_top_k(scores: Tensors, masks: Masks, k: int, groups: Tensors) -> Masks:
    """Keep the highest scores of each group, the same share of every group and exactly `k` in all.

    groups: the group of each weight, numbered from 0 within its layer. Of each group the share k / (weights kept now)
    is kept, rounded down; what is then missing from `k` is kept where most was cut off, in the first of equal groups.
    Ties go by index, and a pruned weight never returns. Raises ValueError unless `k` lies between 0 and the number of
    weights kept now.
    """
    alive = torch.cat([masks[n].flatten() for n in masks])
    total = int(alive.sum())
    if not 0 <= k <= total:
        raise ValueError(f"asked to keep {k} weights, wanted 0 to {total}: a pruned weight never returns")
    flat = torch.cat([scores[n].masked_fill(~masks[n], -torch.inf).flatten() for n in masks])
    group = _numbered(groups[n].flatten() for n in masks)
    quota = _shared_out(k, torch.bincount(group, alive.long()).long())
    best_first = flat.argsort(descending=True, stable=True)
    order = best_first[group[best_first].argsort(stable=True)]  # group by group, the best of each first
    sizes = torch.bincount(group)
    place = torch.arange(len(order), device=order.device) - (sizes.cumsum(0) - sizes)[group[order]]
    chosen = torch.zeros_like(alive).scatter(0, order, place < quota[group[order]])
    pieces = torch.split(chosen, [masks[n].numel() for n in masks])
    return Masks({n: piece.view(masks[n].shape) for n, piece in zip(masks, pieces, strict=True)})


def _numbered(layers: Iterable[Tensor]) -> Tensor:
    """The groups of all layers, with numbers that no two layers share."""
    found, first = [], 0
    for layer in layers:
        found.append(layer + first)
        first = int(found[-1].max()) + 1 if layer.numel() else first
    return torch.cat(found)


def _shared_out(k: int, alive: Tensor) -> Tensor:
    """k times each group's part of all that is alive, in whole numbers that add up to k (largest remainders)."""
    total = max(int(alive.sum()), 1)
    quota, rest = k * alive // total, k * alive % total
    quota[rest.argsort(descending=True, stable=True)[: k - int(quota.sum())]] += 1
    return quota


def _kth_by_torch(scores: Tensor, k: int) -> Tensor:
    """By topk from the nearer end: CUDA's kthvalue looks at one long vector with one block of threads."""
    others = len(scores) - k + 1
    if k <= others:
        return scores.topk(k, sorted=False).values.amin()
    return scores.topk(others, largest=False, sorted=False).values.amax()


def _kth_by_partition(scores: Tensor, k: int) -> Tensor:
    """The same by numpy, several times faster on the CPU; `scores` are put in another order."""
    if scores.dtype is torch.bfloat16:
        scores = scores.float()  # numpy has no bfloat16; every value and their order stay
    values = scores.detach().numpy()
    values.partition(len(values) - k)
    return torch.from_numpy(values)[len(values) - k]
