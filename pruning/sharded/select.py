"""Selection over parts: exactly k of all scores, found by counting together; no process sees another's scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

DIGIT = 16  # bits of a number that one count tells
MOST = torch.iinfo(torch.int64).max

Summed = Callable[[Tensor], Tensor]  # the sum of a tensor over all processes


def ordered(scores: Tensor) -> Tensor:
    """Floating-point numbers as int64 in the same order, 0.0 and -0.0 as one."""
    bits = (scores.double() + 0.0).view(torch.int64)
    return torch.where(bits < 0, bits ^ MOST, bits)


def kth_largest(parts: Sequence[Tensor], k: int, summed: Summed) -> tuple[int, int]:
    """Of int64 numbers that lie in the parts of all processes the k-th largest, and how many are larger.

    Digit by digit from the top: how many numbers have each digit, of those that agree in the digits before, is counted
    everywhere and summed. k counts from 1 and is at most how many there are.
    """
    above, start = 0, 64 - DIGIT
    prefix = 0
    for shift in range(start, -1, -DIGIT):
        counts = torch.zeros(2**DIGIT, dtype=torch.int64, device=parts[0].device)
        for numbers in parts:
            if shift == start:
                digits = (numbers >> shift) + 2 ** (DIGIT - 1)
            else:
                digits = (numbers[numbers >> (shift + DIGIT) == prefix] >> shift) & (2**DIGIT - 1)
            counts += torch.bincount(digits, minlength=2**DIGIT)
        from_top = summed(counts).flip(0).cumsum(0)
        steps = int((from_top < k - above).sum())
        above += int(from_top[steps - 1]) if steps else 0
        digit = 2**DIGIT - 1 - steps
        prefix = digit - 2 ** (DIGIT - 1) if shift == start else prefix * 2**DIGIT + digit
    return prefix, above
