"""Expressions with roots, quotients and exponentials, made polynomial: what norms and softmax need besides."""

from collections.abc import Iterable
from math import prod
from typing import Any

import sympy  # type: ignore[import-untyped]

Expression = Any  # sympy's Expr: it has no stubs
Matrix = Any  # sympy's Matrix


def free(name: str, count: int) -> list[Expression]:
    """Free symbols by a common name."""
    return [sympy.Symbol(f"{name}{i}") for i in range(count)]


def dot(a: Iterable[Expression], b: Iterable[Expression]) -> Expression:
    """The sum of products."""
    return sum(x * y for x, y in zip(a, b, strict=True))


def matrix(name: str, rows: int, columns: int) -> Matrix:
    """A matrix of free symbols."""
    return sympy.Matrix(rows, columns, lambda i, j: sympy.Symbol(f"{name}{i}{j}"))


def saliency(objective: Expression, parameters: Iterable[Expression]) -> Expression:
    """The sum of theta * dR/dtheta."""
    return sum(p * objective.diff(p) for p in parameters)


def cleared(gap: Expression) -> Expression:
    """The gap as an expanded polynomial that is 0 just where the gap is.

    Each base V of a root or a denominator is positive or not 0; multiplying by a power of V^(1/2)
    clears it. Each exponential becomes a product of free symbols, one per monomial of its exponent.
    """
    gap = sympy.fraction(sympy.together(sympy.sympify(gap).replace(sympy.exp, _as_symbols)))[0]
    powers = (p for p in gap.atoms(sympy.Pow) if p.exp.is_negative or not p.exp.is_integer)
    for base in sorted({p.base for p in powers}, key=str):
        gap = _multiplied(gap, base)
    return sympy.expand(gap)


def _as_symbols(exponent: Expression) -> Expression:
    terms = sympy.expand(exponent).as_coefficients_dict()
    return prod(sympy.Symbol(f"exp({monomial})") ** count for monomial, count in terms.items())


def _multiplied(gap: Expression, base: Expression) -> Expression:
    """The gap, a polynomial in base^(-1/2), times base^(degree / 2)."""
    root = sympy.Dummy()
    found = gap.replace(lambda e: e.is_Pow and e.base == base, lambda e: root ** (-2 * e.exp))
    terms = sympy.Poly(found, root, 1 / root).terms()
    degree = max(up - down for (up, down), _ in terms)
    return sum(c * base ** sympy.Rational(degree - up + down, 2) for (up, down), c in terms)
