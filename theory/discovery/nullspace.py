"""Null space: every linear relation among the rows of a matrix of samples, and how sure one can be of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from theory.numerics import unit_roundoff

SPARE = 32  # columns beyond twice the rows


def columns_for(rows: int) -> int:
    """Samples to take: twice the rows and more, for one sample of a kinked network shows few of its pieces."""
    return 2 * rows + SPARE


def operations(rows: int) -> float:
    """Floating-point operations, about: a QR of the samples (2 m n^2), then an SVD of its square factor (22 n^3)."""
    return 2.0 * columns_for(rows) * rows**2 + 22.0 * rows**3


def memory(rows: int) -> int:
    """Bytes, about: the samples, their copy in the QR, and four square matrices."""
    return 8 * (2 * columns_for(rows) * rows + 4 * rows**2)


@dataclass(frozen=True, eq=False)
class NullSpace:
    """basis: (dimension, rows), orthonormal. values: singular values over the largest, largest first.

    gap: the last one that counts over the first that does not, `left`, which must be no more than `noise`, what
    rounding alone may leave; needed: what the gap must at least be. sampled: columns that were not all zero.
    """

    basis: Tensor
    values: Tensor
    gap: float
    left: float
    needed: float
    noise: float
    sampled: int

    @property
    def dimension(self) -> int:
        """How many independent relations there are."""
        return len(self.basis)

    @property
    def enough(self) -> bool:
        """Whether there were more samples than rows, so that a relation is no accident of too few."""
        return self.sampled > self.basis.shape[1]

    @property
    def convincing(self) -> bool:
        """Whether rank and null space are told apart beyond what rounding could do."""
        return self.enough and self.gap >= self.needed and self.left <= self.noise

    @property
    def slack(self) -> float:
        """Relative residual up to which a vector counts as in the space: half of the digits that rounding leaves."""
        return math.sqrt(self.noise)


def null_space(samples: Tensor, scaled: bool = False) -> NullSpace:
    """The left null space of samples (columns, rows), each scaled to norm 1 and left out where it is all zero.

    scaled: they are, to the norm of what was summed to get them, for cancellation would magnify rounding.

    The rank is where the singular values fall most. An SVD of n rows is exact for a matrix that differs by about
    n u of the norm (Golub and Van Loan, 5.5.8), so below that nothing counts as a fall, and as for the order
    test a true relation must gain half of the digits that are left: sigma_r / sigma_(r+1) >= 1 / sqrt(n u).
    """
    size = samples.norm(dim=1)
    columns = samples[(size > 0) & size.isfinite()]
    columns = columns if scaled else columns / columns.norm(dim=1, keepdim=True)
    rows = samples.shape[1]
    noise = max(len(columns), rows, 1) * unit_roundoff(samples.dtype)
    if not rows or not len(columns):
        return NullSpace(
            torch.eye(rows, dtype=samples.dtype), torch.zeros(rows), 0.0, 0.0, noise**-0.5, noise, len(columns)
        )
    square = torch.linalg.qr(columns, mode="r").R if len(columns) > rows else columns
    _, found, right = torch.linalg.svd(square, full_matrices=True)
    values = torch.zeros(rows, dtype=samples.dtype)
    values[: len(found)] = found / found[0]
    above, below = values, torch.cat([values[1:], torch.zeros(1, dtype=samples.dtype)])
    rank = int((above.clamp(min=noise) / below.clamp(min=noise)).argmax()) + 1
    floor = unit_roundoff(samples.dtype)
    left = float(values[rank]) if rank < rows else noise
    return NullSpace(
        basis=right[rank:],
        values=values,
        gap=float(values[rank - 1]) / max(left, floor),
        left=left,
        needed=noise**-0.5,
        noise=noise,
        sampled=len(columns),
    )


def outside(vectors: Tensor, basis: Tensor) -> Tensor:
    """What is left of each vector off the space of an orthonormal basis, over its norm: (vectors,)."""
    rest = vectors - (vectors @ basis.mT) @ basis
    size = vectors.norm(dim=1)
    left: Tensor = rest.norm(dim=1) / torch.where(size > 0, size, 1)
    return left


def orthonormal(vectors: Tensor, slack: float) -> Tensor:
    """An orthonormal basis of the span: (rank, rows)."""
    if not len(vectors):
        return vectors
    _, values, right = torch.linalg.svd(vectors, full_matrices=False)
    kept: Tensor = right[values > slack * values.max()]
    return kept


def within(vectors: Tensor, basis: Tensor, slack: float) -> Tensor:
    """A basis of the part of the span of `vectors` that lies in the space of `basis`."""
    own = orthonormal(vectors, slack)
    if not len(own):
        return own
    left, values, _ = torch.linalg.svd(own - (own @ basis.mT) @ basis, full_matrices=True)
    values = torch.cat([values, values.new_zeros(len(own) - len(values))])
    inside: Tensor = left.mT[values <= slack] @ own
    return inside


def independent(vectors: Tensor, slack: float) -> list[int]:
    """Which vectors to keep so that each adds to the span of those before."""
    kept: list[int] = []
    basis = vectors[:0]
    for i, vector in enumerate(vectors):
        rest = vector - (vector @ basis.mT) @ basis
        rest = rest - (rest @ basis.mT) @ basis  # once more, for what rounding left
        if float(rest.norm()) > slack * float(vector.norm()):
            kept.append(i)
            basis = torch.cat([basis, (rest / rest.norm())[None]])
    return kept
