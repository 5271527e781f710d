"""Algebra of types: how degree, monotonicity and convexity of functions combine in sums, products, powers and bends."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True)
class OpType:
    """What is known of a value as a function f of the network's input x, on x >= 0.

    degree: f(a x) = a^degree f(x) for every a > 0; None where no degree is known.
    monotone: no entry falls when an entry of x grows.
    root: the largest r for which f^(1/r) is known to be convex; 0 for none. Above 1 only where f >= 0:
        sums and maxima of such f keep it (Minkowski), so that l_p pools are recognised.
    nonnegative, affine, zero: f >= 0; f is linear plus a constant; f is 0, which has every degree.
    why: a sentence for each property lost: where it was lost first, by which operator, for which reason.
    """

    degree: float | None
    monotone: bool
    root: float
    nonnegative: bool = False
    affine: bool = False
    zero: bool = False
    why: tuple[str, ...] = ()

    @property
    def convex(self) -> bool:
        """Whether every entry is known to be a convex function of x."""
        return self.root >= 1

    @property
    def constant(self) -> bool:
        """Whether it does not depend on x."""
        return self.affine and self.root == math.inf


THE_INPUT = OpType(1, monotone=True, root=1, nonnegative=True, affine=True)
UNKNOWN = OpType(None, monotone=False, root=0)


def number(value: float) -> OpType:
    """The type of a number."""
    return OpType(0, True, math.inf, nonnegative=value >= 0, affine=True, zero=value == 0)


def tensor(value: Tensor, positive: bool = False) -> OpType:
    """The type of a parameter by the signs of its entries; `positive`: it is read as its absolute value."""
    least, most = (float(value.min()), float(value.max())) if value.numel() else (0.0, 0.0)
    return OpType(0, True, math.inf, nonnegative=positive or least >= 0, affine=True, zero=least == most == 0)


def joined(types: list[OpType]) -> OpType:
    """A sum, a concatenation, or any linear map with coefficients >= 0 of all of them."""
    degrees = {t.degree for t in types if not t.zero} or {0}
    positive, constant = all(t.nonnegative for t in types), all(t.constant for t in types)
    root = min(t.root for t in types)
    return OpType(
        degree=degrees.pop() if len(degrees) == 1 else None,
        monotone=all(t.monotone for t in types),
        root=0 if root < 1 else root if positive or constant else 1,
        nonnegative=positive,
        affine=all(t.affine for t in types),
        zero=all(t.zero for t in types),
    )


def largest(types: list[OpType]) -> OpType:
    """The entrywise maximum, or that over a window."""
    found = joined(types)
    positive = found.nonnegative or any(t.nonnegative for t in types if len(types) > 1)
    return replace(found, nonnegative=positive, affine=found.constant)


def signed(x: OpType) -> OpType:
    """A linear map of x with coefficients of either sign."""
    if x.constant:
        return replace(x, nonnegative=x.zero)
    return OpType(x.degree, monotone=False, root=1 if x.affine else 0, affine=x.affine)


def product(a: OpType, b: OpType) -> OpType:
    """The product, entry by entry or as a matrix product. Of two functions of x it is convex only by luck."""
    if a.constant or b.constant:
        scale, x = (a, b) if a.constant else (b, a)
        made = x if scale.nonnegative else signed(x)
        return number(0) if scale.zero else replace(made, zero=x.zero)
    degree = None if a.degree is None or b.degree is None else a.degree + b.degree
    positive = a.nonnegative and b.nonnegative
    return OpType(degree, monotone=positive and a.monotone and b.monotone, root=0, nonnegative=positive)


def power(x: OpType, k: float) -> OpType:
    """x^k, entry by entry."""
    if k == 0:
        return number(1)
    if k == 1 or x.constant:
        return replace(x, nonnegative=x.nonnegative or k % 2 == 0, zero=x.zero and k > 0)
    degree = None if x.degree is None else k * x.degree
    if x.nonnegative:
        root = x.root * k if k > 0 else float(x.affine)
        return OpType(degree, monotone=x.monotone and k > 0, root=root, nonnegative=True)
    even, odd = k > 0 and k % 2 == 0, k > 0 and k % 2 == 1
    return OpType(degree, monotone=odd and x.monotone, root=1 if even and x.affine else 0, nonnegative=even)


def bent(x: OpType, homogeneous: bool, monotone: bool, convex: bool, positive: bool) -> OpType:
    """A function of one number, applied to each entry, of which these four things are known."""
    if x.constant:
        return OpType(0, True, math.inf, nonnegative=positive, affine=True)
    kept = convex and (x.affine or (monotone and x.convex))
    return OpType(
        degree=x.degree if homogeneous or x.degree == 0 else None,
        monotone=monotone and x.monotone,
        root=1 if kept else 0,
        nonnegative=positive,
    )
