"""Laws of queries and keys, for any objective: head by head, with shared keys, rotations and norms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from theory.case import Case
from theory.impostors import attention as impostors
from theory.impostors.norms import keys_gained
from theory.law import Balances, Grade, Subject, folklore, law
from theory.networks import smallest
from theory.nodes.heads import Heads, Wired, heads_of
from theory.nodes.local import Local, Point, balanced, located
from theory.nodes.pairs import Pair, Sides, matrices, queries_and_keys_of, rows, traced
from theory.subjects import the_loss

ORDER = (Grade.ORDER,)


def _scores(case: Case, pair: Pair, local: Local, counted: bool = True) -> Sides:
    return matrices(pair, rows(pair.first, local, counted), rows(pair.second, local, counted))


def _at(pair: Pair) -> str:
    return pair.heads.node.where


def _totals(case: Case, chosen: Callable[[Pair], bool], counted: bool = True) -> Iterator[Balances]:
    for pair, local in located(case, [p for p in queries_and_keys_of(case) if chosen(p)]):
        sides = _scores(case, pair, local, counted)
        yield balanced(case, f"{_at(pair)}: queries and keys", *traced(sides))
        if pair.direct or case.outside:
            yield balanced(case, f"{_at(pair)}: matrix of queries and keys", *sides)


@folklore(the_loss, smallest.biased_attention)
def head_biases_forgotten(case: Case) -> Iterator[Balances]:
    """The weights of a head's queries have the saliency of those of its keys, biases or no biases."""
    for pair, local in located(case, queries_and_keys_of(case)):
        yield balanced(case, f"{_at(pair)}: queries and keys", *traced(_scores(case, pair, local, counted=False)))


@law(
    "1b.attention_scores",
    subject=Subject.MODULE,
    claim=None,
    source="derived: linear bottleneck of W_Q and W_K",
    impostor=impostors.distances,
    breaks_on=(the_loss, smallest.rotary_attention),
    grades=ORDER,
    corrects=(head_biases_forgotten,),
)
def queries_and_keys(case: Case) -> Iterator[Balances]:
    """Head by head, queries and keys have one saliency with their biases; G_Q W_Q^T = W_K G_K^T unless they rotate."""
    for heads, local in located(case, heads_of(case.graph)):
        q, k = (local.flow(p).flatten(-2) for p in (heads.q, heads.k))
        if q.dim() != k.dim() or q.dim() > 4:
            continue
        shape = (*k.shape[:-1], -1)  # a head of keys may serve several of queries
        left, right = q.reshape(shape).sum(-1), k.sum(-1)
        yield balanced(
            case, f"{heads.node.where}: flows", left, right, q.abs().reshape(shape).sum(-1) + k.abs().sum(-1)
        )
    yield from _totals(case, lambda pair: not pair.shared)


@folklore(the_loss, smallest.grouped_attention)
def head_by_head(case: Case) -> Iterator[Balances]:
    """Head by head queries and keys have one saliency, shared keys in equal parts."""
    for pair, local in located(case, queries_and_keys_of(case)):
        w, g = rows(pair.first, local, True)
        v, h = rows(pair.second, local, True)
        left = (w * g).sum((2, 3))
        parts = torch.bincount(pair.group).to(left)
        right = ((v * h).sum((2, 3)) / parts)[:, pair.group]
        yield balanced(case, f"{_at(pair)}: query head", left, right, (w * g).abs().sum((2, 3)))


@law(
    "1b.grouped_query",
    subject=Subject.MODULE,
    claim=None,
    source="derived: the key head is shared; Ainslie et al. 2023",
    impostor=impostors.first_copy,
    grades=ORDER,
    corrects=(head_by_head,),
)
def grouped_queries(case: Case) -> Iterator[Balances]:
    """A key head that several query heads share has the saliency of all of them together, biases included."""
    yield from _totals(case, lambda pair: pair.shared)


@folklore(the_loss, smallest.rotary_attention)
def rotation_changes_nothing(case: Case) -> Iterator[Balances]:
    """G_Q W_Q^T = W_K G_K^T with rotary embedding too."""
    for pair, local in located(case, (p for p in queries_and_keys_of(case) if p.rotates)):
        yield balanced(case, f"{_at(pair)}: matrix", *_scores(case, pair, local))


@law(
    "1b.rotary",
    subject=Subject.MODULE,
    claim=None,
    source="derived: what commutes with rotations; Su et al. 2021",
    impostor=impostors.mirrored,
    grades=ORDER,
    corrects=(rotation_changes_nothing,),
)
def rotary_pairs(case: Case) -> Iterator[Balances]:
    """With rotary embedding each rotated pair keeps the trace and the antisymmetric part of G_Q W_Q^T = W_K G_K^T."""
    for pair, local in located(case, (p for p in queries_and_keys_of(case) if p.rotates)):
        sides = _scores(case, pair, local)
        half = sides[0].shape[-1] // 2
        one, two = torch.arange(half), torch.arange(half, 2 * half)
        for name, sign, (i, j), (k, m) in (
            ("trace", 1, (one, one), (two, two)),
            ("antisymmetric part", -1, (one, two), (two, one)),
        ):
            left, right = (t[..., i, j] + sign * t[..., k, m] for t in sides[:2])
            size = sides[2][..., i, j] + sides[2][..., k, m]
            yield balanced(case, f"{_at(pair)}: {name}", left, right, size)


@dataclass(frozen=True, eq=False)
class Gains:
    """The gains of the norms of queries and keys."""

    heads: Heads
    q: str
    k: str

    @property
    def points(self) -> list[Point]:
        """None."""
        return []

    @property
    def parameters(self) -> list[str | None]:
        """Both."""
        return [self.q, self.k]


def _gains(case: Case) -> Iterator[Gains]:
    wired = Wired(case)
    for heads in heads_of(case.graph):
        q, k = wired.gain(heads.q), wired.gain(heads.k)
        if q and k:
            yield Gains(heads, q, k)


@folklore(the_loss, smallest.normed_attention)
def norms_change_nothing(case: Case) -> Iterator[Balances]:
    """Queries and keys have one saliency in their weights and biases, with norms behind them too."""
    for site, local in located(case, [_Projected(g, case) for g in _gains(case)]):
        yield balanced(case, f"{site.gains.heads.node.where}: queries and keys", *site.sides(local))


@dataclass(frozen=True, eq=False)
class _Projected:
    """The projections before the norms of queries and keys."""

    gains: Gains
    case: Case

    @property
    def points(self) -> list[Point]:
        return []

    @property
    def parameters(self) -> list[str | None]:
        names = [gain.removesuffix("gain") for gain in (self.gains.q, self.gains.k)]
        known = {**self.case.batch.weights, **self.case.batch.fixed}
        return [f"{n}{p}" for n in names for p in ("weight", "bias") if f"{n}{p}" in known]

    def sides(self, local: Local) -> Sides:
        """S(W_Q) + S(b_Q), S(W_K) + S(b_K), and the absolute terms."""
        names, size = self.parameters, len(self.parameters) // 2
        terms = [local.saliency(n).flatten(1) for n in names]
        left, right = (torch.cat(t, 1).sum(1, keepdim=True) for t in (terms[:size], terms[size:]))
        return left, right, torch.cat(terms, 1).abs().sum(1, keepdim=True)


@law(
    "1b.query_key_norm",
    subject=Subject.MODULE,
    claim=None,
    source="derived: the product is of degree 1 in either gain; Dehghani et al. 2023",
    impostor=keys_gained,
    grades=ORDER,
    corrects=(norms_change_nothing,),
)
def query_key_norms(case: Case) -> Iterator[Balances]:
    """Where queries and keys are normalised, it is the gains of both norms that have one saliency."""
    for site, local in located(case, _gains(case)):
        q, k = (local.saliency(n).flatten(1) for n in (site.q, site.k))
        left, right, size = (t.sum(1, keepdim=True) for t in (q, k, q.abs() + k.abs()))
        yield balanced(case, f"{site.heads.node.where}: gains of queries and keys", left, right, size)
