"""Integers: a basis of a space in small whole numbers, each vector touching as little as can be found."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import permutations

import numpy as np
import torch
from torch import Tensor

DENOMINATOR = 64  # of a fraction that counts as small
ROUNDS = 20


def whole_basis(basis: Tensor, slack: float) -> Tensor | None:
    """A basis of the same space in whole numbers, from an orthonormal one (dimension, rows), both in float64.

    The reduced row echelon form on pivots from which it is well conditioned, its fractions read off and made
    whole, then vectors taken off one another while that leaves fewer kinds of entries. None where an entry is no
    fraction of small terms.
    """
    if not len(basis):
        return basis
    kinds, count = _kinds(basis, slack)
    pivots = _pivots(basis, kinds, count, slack)
    if len(pivots) < len(basis):
        return None
    reduced = torch.linalg.solve(basis[:, pivots], basis)
    rows = [_whole(row, slack) for row in reduced.tolist()]
    found = [row for row in rows if row is not None]
    if len(found) < len(rows):
        return None
    return torch.from_numpy(_thinned(np.array(found), kinds.numpy())).to(basis.dtype)


def _kinds(basis: Tensor, slack: float) -> tuple[Tensor, Tensor]:
    """The number of each entry's kind, entries of one kind having one coefficient in all vectors; and their counts."""
    grid = (basis / slack).round() * slack
    _, kinds, count = torch.unique(grid, dim=1, return_inverse=True, return_counts=True)
    return kinds, count


def _pivots(basis: Tensor, kinds: Tensor, count: Tensor, slack: float) -> list[int]:
    """Entries on which the vectors are independent, those of large kinds first."""
    order = torch.argsort(count[kinds], descending=True, stable=True).tolist()
    tried: set[int] = set()
    chosen: list[int] = []
    space = basis[:, :0]
    floor = 1 / (len(basis) * DENOMINATOR)  # below that a pivot would magnify rounding more than fractions allow
    for entry in order:
        kind = int(kinds[entry])
        if kind in tried or float(basis[:, entry].norm()) <= slack:
            continue
        tried.add(kind)
        column = basis[:, entry] / basis[:, entry].norm()
        rest = column - space @ (space.mT @ column)
        rest = rest - space @ (space.mT @ rest)
        if float(rest.norm()) > floor:
            chosen.append(entry)
            space = torch.cat([space, (rest / rest.norm())[:, None]], dim=1)
        if len(chosen) == len(basis):
            break
    return chosen


def _whole(row: list[float], slack: float) -> list[int] | None:
    fractions = [Fraction(x).limit_denominator(DENOMINATOR) for x in row]
    if any(abs(float(f) - x) > slack * max(1.0, abs(x)) for f, x in zip(fractions, row, strict=True)):
        return None
    common = math.lcm(*(f.denominator for f in fractions))
    return [int(f * common) for f in fractions] if common <= DENOMINATOR**2 else None


def _thinned(vectors: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Take vectors off one another while that leaves fewer kinds of entries, or smaller numbers."""
    _, first = np.unique(kinds, return_index=True)
    short = vectors[:, np.sort(first)]  # the numbers of the kinds hang on how the basis is turned, their places don't
    for _ in range(ROUNDS):
        if sum(_improved(short, vectors, i, j) for i, j in permutations(range(len(short)), 2)) == 0:
            break
    return _signed(vectors)


def _improved(short: np.ndarray, vectors: np.ndarray, i: int, j: int) -> bool:
    both = (short[i] != 0) & (short[j] != 0)
    if not both.any():
        return False
    best, made = _cost(short[i]), None
    for a, b in sorted({(int(x), int(y)) for x, y in zip(short[i][both], short[j][both], strict=True)}):
        shared = math.gcd(a, b)
        new = short[i] * (b // shared) - short[j] * (a // shared)
        divisor = int(np.gcd.reduce(new)) or 1
        if _cost(new // divisor) < best:
            best, made = _cost(new // divisor), (b // shared, a // shared, divisor)
    if made is None:
        return False
    p, q, divisor = made
    for each in (short, vectors):
        each[i] = (each[i] * p - each[j] * q) // divisor
    return True


def _cost(vector: np.ndarray) -> tuple[int, int]:
    return int(np.count_nonzero(vector)), int(np.abs(vector).sum())


def _signed(vectors: np.ndarray) -> np.ndarray:
    """Positive where they begin; those that begin first come first."""
    start = [int(np.flatnonzero(v)[0]) for v in vectors]
    signed = np.array([v * np.sign(v[s]) for v, s in zip(vectors, start, strict=True)])
    order: np.ndarray = signed[np.argsort(start, kind="stable")]
    return order
