"""A failing balance as two sums over what a scorer answered: so that it can be shown without the law."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from pruning.answers import ScoreError
from pruning.masks import Masks, Tensors
from pruning.network import Network
from pruning.problem import Probe
from pruning.pruner import Pruner, State
from theory.case import Case
from theory.law import Balances, Law
from theory.networks.spec import NetSpec
from theory.numerics import unit_roundoff
from theory.traits import Trait
from theory.verdict import Witness

MOST = 200  # entries of the answers, at most: a network that needs more is no small one
STEP = 2.0**-10  # by which an entry is moved, as a share of it


@dataclass(frozen=True)
class Answer:
    """One call of a scorer: the parameters it saw, the masks, the batch, and the scores it gave."""

    parameters: Tensors
    masks: Masks
    batch: tuple[Tensor, Tensor] | None
    scores: Tensors


Term = tuple[int, str, int]  # which answer, which weight, which of its entries


@dataclass(frozen=True)
class Sum:
    """A constant, and coefficients of entries of the answers."""

    constant: float
    terms: dict[Term, float]


@dataclass(frozen=True)
class Shown:
    """A failing balance: the answers that it is made of, both sides, and by how much they may differ."""

    answers: list[Answer]
    left: Sum
    right: Sum
    at_most: bool
    allowed: float


@dataclass
class _Tape:
    """A scorer's answers; played back, with one entry moved."""

    pruner: Pruner
    answers: list[Answer] = field(default_factory=list)
    played: int | None = None
    moved: tuple[Term, float] | None = None

    def score(self, network: Network, state: State, probe: Probe) -> Tensors:
        if self.played is not None:
            self.played += 1
            return self._played(self.played - 1)
        assert self.pruner.score is not None
        batch = probe._problem.batch
        found = dict(self.pruner.score(network, state, probe))
        kept = {**network.fixed, **state.weights}
        self.answers.append(Answer({n: t.clone() for n, t in kept.items()}, state.masks, batch, found))
        return found

    def _played(self, index: int) -> Tensors:
        found = dict(self.answers[index].scores)
        if self.moved and self.moved[0][0] == index:
            (_, name, entry), by = self.moved
            flat = found[name].flatten().clone()
            flat[entry] += by
            found[name] = flat.view(found[name].shape)
        return found


def shown(witness: Witness, law: Law, pruner: Pruner) -> Shown | None:
    """The failing balance of a witness as sums over answers; None where it is none, such as a count of faults."""
    if pruner.score is None:
        return None
    tape, spec = _Tape(pruner), NetSpec.from_json(witness.spec)
    try:
        found = _failing(_measured(tape, law, spec), witness.where)
    except ScoreError:
        return None
    entries = list(_entries(tape.answers))
    if found is None or len(entries) > MOST:
        return None

    def play(moved: tuple[Term, float] | None = None) -> Balances | None:
        tape.played, tape.moved = 0, moved
        try:
            return _measured(tape, law, spec)[found[0]]
        except (ScoreError, IndexError):
            return None

    rest = play()
    if rest is None:
        return None
    start = _sides(rest, found[1])
    slopes: dict[Term, tuple[float, float]] = {}
    for term, value in entries:
        by = STEP * max(abs(value), 1.0)
        slope = _slope(start, [_sides(play((term, step)), found[1]) for step in (by / 2, by)], by)
        if slope is None:
            return None
        slopes[term] = slope
    left, right = (_sum(dict(entries), start[i], {t: s[i] for t, s in slopes.items()}) for i in (0, 1))
    if left is None or right is None or not (left.terms or right.terms):
        return None
    return Shown(tape.answers, left, right, rest.at_most, _allowed(rest, found[1]))


def _measured(tape: _Tape, law: Law, spec: NetSpec) -> list[Balances]:
    pruner = replace(tape.pruner, score=tape.score)
    return list(law.measure(Case.under(pruner, spec.batch(), generic=Trait.GENERIC in law.needs)))


def _failing(balances: list[Balances], where: str) -> tuple[int, int] | None:
    """Which of the balances is meant, and which unit of it; the first that is off where a draw of another is meant."""
    off = [(i, unit) for i, each in enumerate(balances) for unit in (each.residual[0] > 0).nonzero().flatten().tolist()]
    return next(((i, unit) for i, unit in off if balances[i].label(0, unit) == where), off[0] if off else None)


def _sides(balances: Balances | None, unit: int) -> tuple[float, float]:
    if balances is None:
        return math.nan, math.nan
    return float(balances.left[0, unit]), float(balances.right[0, unit])


def _slope(start: tuple[float, float], moved: list[tuple[float, float]], by: float) -> tuple[float, float] | None:
    """By how much both sides follow an entry, seen at half a step and at one; None where not in proportion."""
    found = []
    for at_rest, half, whole in zip(start, *moved, strict=True):
        if not abs((whole - at_rest) - 2 * (half - at_rest)) <= STEP**2 * by:  # also where one is not a number
            return None
        found.append((whole - at_rest) / by)
    return found[0], found[1]


def _entries(answers: list[Answer]) -> Iterator[tuple[Term, float]]:
    for i, answer in enumerate(answers):
        for name, score in answer.scores.items():
            yield from (((i, name, j), value) for j, value in enumerate(score.detach().flatten().tolist()))


def _sum(entries: Mapping[Term, float], value: float, slopes: Mapping[Term, float]) -> Sum | None:
    """The side as a sum, if it is one: what the slopes foretell must be what it is."""
    terms = {term: _plain(slope) for term, slope in slopes.items() if abs(slope) > STEP**2}
    if not all(map(math.isfinite, (value, *terms.values()))):
        return None
    constant = value - sum(slope * entries[term] for term, slope in terms.items())
    size = abs(value) + sum(abs(slope * entries[term]) for term, slope in terms.items())
    return Sum(0.0 if abs(constant) <= STEP**3 * size else constant, terms)


def _plain(slope: float) -> float:
    """A whole number, where it is one but for rounding."""
    return float(round(slope)) if abs(slope - round(slope)) < STEP**2 else slope


def _allowed(balances: Balances, unit: int) -> float:
    """The derived bound; where the order test judged, half the digits, or half of the gap where that is smaller."""
    if balances.bound is not None:
        return float(balances.bound.size[0, unit])
    noise = math.sqrt(unit_roundoff(balances.left.dtype)) * float(balances.scale[0, unit])
    return min(noise, float(balances.residual[0, unit]) / 2)
