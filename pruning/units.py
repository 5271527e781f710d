"""Units: which entries of a network's values belong together, found by joining them step by step."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

NOBODY = -1.0  # the number of an entry that no unit feeds, such as zero padding


class Units:
    """Numbers for units, joined as operators turn out to join them, and objections to what holds there.

    Numbers are kept in float64, because every operator that only moves data takes that type.
    """

    def __init__(self) -> None:
        self._roots = torch.tensor([int(NOBODY)])  # of each number the least that it is joined with; nobody's is last
        self._objections: list[tuple[Tensor, str]] = []

    def fresh(self, count: int) -> Tensor:
        """New numbers: (count,)."""
        start = len(self._roots) - 1
        made = torch.arange(start, start + count)
        self._roots = torch.cat([self._roots[:-1], made, self._roots[-1:]])
        return made.double()

    def join(self, first: Tensor, second: Tensor) -> None:
        """Make the units of corresponding entries one; the tensors are broadcast against each other."""
        a, b = thin(first).long(), thin(second).long()
        shape = torch.broadcast_shapes(a.shape, b.shape)  # type: ignore[no-untyped-call]
        a, b = a.expand(shape), b.expand(shape)
        somebody = (a != b) & (a >= 0) & (b >= 0)
        a, b = a[somebody], b[somebody]
        while len(a):
            low, high = torch.aminmax(torch.stack([self._roots[a], self._roots[b]]), dim=0)
            if torch.equal(low, high):
                return
            self._roots = _followed(self._roots.scatter_reduce(0, high, low, "amin"))

    def joined_along(self, numbers: Tensor, axes: Iterable[int]) -> Tensor:
        """Make one of all entries along `axes`: their numbers, with length 1 there."""
        found = numbers
        for axis in axes:
            found = found.narrow(axis, 0, 1) if found.stride(axis) == 0 else found.amax(axis, keepdim=True)
        self.join(numbers, found)
        return found

    def joined_to(self, numbers: Tensor, shape: torch.Size) -> Tensor:
        """Make one of all entries that a tensor of `shape` is broadcast over: their numbers, in that shape."""
        full = (1,) * (numbers.dim() - len(shape)) + tuple(shape)
        axes = [i for i, size in enumerate(full) if size == 1 and numbers.shape[i] != 1]
        return self.joined_along(numbers, axes).reshape(shape)

    def object_to(self, numbers: Tensor, text: str) -> None:
        """Note why what enters these units may not be what leaves them."""
        found: Tensor = torch.unique(thin(numbers)).long()
        self._objections.append((found[found >= 0], text))

    def rooted(self, numbers: Tensor) -> Tensor:
        """The units' final numbers, as integers; NOBODY stays."""
        return self._roots[thin(numbers).long()].broadcast_to(numbers.shape)

    def objections(self) -> dict[int, list[str]]:
        """The objections to each unit, by its final number."""
        found: dict[int, list[str]] = {}
        for numbers, text in self._objections:
            for number in torch.unique(self.rooted(numbers)).tolist():
                found.setdefault(number, []).append(text)
        return {number: list(dict.fromkeys(texts)) for number, texts in found.items()}


def _followed(parent: Tensor) -> Tensor:
    """Each number's root, from each one's parent."""
    while not torch.equal(further := parent[parent], parent):
        parent = further
    return parent


def thin(numbers: Tensor) -> Tensor:
    """With length 1 along axes that were only expanded."""
    for axis in range(numbers.dim()):
        if numbers.stride(axis) == 0 and numbers.shape[axis] > 1:
            numbers = numbers.narrow(axis, 0, 1)
    return numbers
