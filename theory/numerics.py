"""The only tolerances of the project: the exactness test, derived rounding bounds, the order test.

Notation: u is the unit roundoff, gamma_k = k u / (1 - k u) bounds the relative error of k roundings,
eta the smallest positive number: what underflow can do to one product. Each bound holds for any
order of summation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from pruning.roundings import gamma, unit_roundoff

__all__ = ["gamma", "unit_roundoff"]  # which the engine's certified schedules rest on as well

# An identity gains the full difference of the two precisions (29 bits), a falsehood none: cut at half.
ORDER_BITS = (math.log2(torch.finfo(torch.float32).eps) - math.log2(torch.finfo(torch.float64).eps)) / 2


def eta(dtype: torch.dtype) -> float:
    """The smallest positive number of the type."""
    return torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps


def least_magnitude(tensors: Iterable[Tensor]) -> Tensor:
    """The smallest absolute value that is not 0; infinite where all are, or where no tensor holds real numbers."""
    found = [torch.where(t == 0, torch.inf, t.abs()).amin() for t in tensors if t.numel() and t.is_floating_point()]
    return torch.stack(found).amin() if found else torch.tensor(torch.inf, dtype=torch.float64)


def safe_from_underflow(values: Tensor) -> Tensor:
    """Where a product is so large that what one of its factors lost to underflow does not show in it.

    Cut at half the exponents below 1. A term loses at most eta times its other factors; in float64 a
    number above sqrt(smallest_normal) = 2^-511 has its last place at 2^-563 or higher, so the other
    factors would have to exceed 2^510 together for the loss to reach it.
    """
    return values.abs() > math.sqrt(torch.finfo(values.dtype).smallest_normal)


def least_flow(dtype: torch.dtype) -> float:
    """Balances of no more than this say nothing: what rounds off a larger one is still a normal number."""
    return torch.finfo(dtype).smallest_normal / torch.finfo(dtype).eps


def largest_integer(dtype: torch.dtype) -> float:
    """Below this every integer is a number of the type, and so sums and products of integers are exact."""
    return 2 / torch.finfo(dtype).eps


@dataclass(frozen=True)
class Bound:
    """What rounding may do to a balance: 0 where `exact`, per problem; tensors are (batch, unit) and (batch,)."""

    size: Tensor
    exact: Tensor


def order_gains(residual64: Tensor, residual32: Tensor) -> Tensor:
    """Bits that each relative residual gains from float32 to float64; both are floored at their u."""
    high = residual64.double().clamp(min=unit_roundoff(torch.float64))
    low = residual32.double().clamp(min=unit_roundoff(torch.float32))
    return torch.log2(low / high)
