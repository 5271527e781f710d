"""Explaining: which of the laws that were found the catalogue gives, and a basis of them that people can read."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from theory.discovery.integers import whole_basis
from theory.discovery.nullspace import NullSpace, independent, orthonormal, outside, within
from theory.discovery.rows import Rows, in_words
from theory.discovery.stated.known import Known


@dataclass(frozen=True, eq=False)
class Found:
    """One law: coefficients per row, in words, and the numbers of the catalogue's laws that give it.

    off: what is left of it outside the span of the catalogue's laws, over its norm.
    """

    vector: Tensor
    words: str
    laws: tuple[str, ...]
    off: float

    @property
    def explained(self) -> bool:
        """Whether the catalogue gives it."""
        return bool(self.laws)


@dataclass(frozen=True, eq=False)
class Explained:
    """A basis of the laws. stated, held: dimensions of the catalogue's laws, and of those that are laws of these rows.

    whole: all coefficients are small whole numbers; otherwise a law is any vector of an orthonormal basis.
    """

    laws: tuple[Found, ...]
    stated: int
    held: int
    whole: bool


def explained(rows: Rows, live: Tensor, space: NullSpace, known: Known) -> Explained:
    """A basis of the null space of the rows `live`: the catalogue's laws first, then what they give, then the rest.

    What holds because rows count entries twice is left out.
    """
    slack, trivial, stated = space.slack, rows.counted_twice()[:, live], known.vectors[:, live]
    fixed = len(independent(trivial, slack))
    every = len(independent(torch.cat([trivial, stated]), slack)) - fixed
    if not space.convincing:
        return Explained((), every, 0, True)
    span = orthonormal(torch.cat([trivial, within(torch.cat([trivial, stated]), space.basis, slack)]), slack)
    made = whole_basis(space.basis, slack)
    vectors = space.basis if made is None else made
    own = (stated.any(1) & (outside(stated, space.basis) <= slack)).nonzero().flatten().tolist()
    ordered = torch.cat([trivial, stated[own], vectors[outside(vectors, span) <= slack], vectors])
    laws = []
    for i in independent(ordered, slack):
        vector = torch.zeros(rows.size).double().index_put((live,), ordered[i])
        off = float(outside(ordered[i : i + 1], span))
        if fixed <= i < fixed + len(own):
            which = own[i - fixed]
            laws.append(Found(vector, known.words[which], (known.ids[which],), off))
        elif i >= fixed:
            ids = _made_of(ordered[i], stated, known.ids, slack) if off <= slack else ()
            laws.append(Found(vector, in_words(rows, vector), ids, off))
    return Explained(tuple(laws), every, len(span) - fixed, made is not None)


def _made_of(vector: Tensor, stated: Tensor, ids: tuple[str, ...], slack: float) -> tuple[str, ...]:
    """Which laws give it, by the combination of least squares."""
    shares = torch.linalg.lstsq(stated.mT, vector[:, None], driver="gelsd").solution[:, 0]
    used = (shares.abs() > slack * float(shares.abs().max())).tolist()
    return tuple(dict.fromkeys(id for id, is_used in zip(ids, used, strict=True) if is_used))
