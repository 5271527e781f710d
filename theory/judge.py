"""Judging: are these balances held? By their bound where there is one, by the order test where there is none."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pruning.answers import ScoreError
from theory.case import Case
from theory.law import Balances, Grade, Law, Subject
from theory.numerics import ORDER_BITS, least_flow, order_gains, unit_roundoff
from theory.traits import Trait


@dataclass(frozen=True)
class Failure:
    """One balance that is off: which problem, where in words, and the two sides."""

    index: int
    where: str
    left: float
    right: float
    relation: str
    share: float


@dataclass
class Judgement:
    """What one case says about one law: per problem whether anything was checked, what by name, and what failed.

    unseen: why no order could be seen, where that is so.
    """

    live: Tensor
    balances: int = 0
    compared: set[str] = field(default_factory=set)
    grades: Counter[str] = field(default_factory=Counter)
    margin: float | None = None
    gain: float | None = None
    unseen: str | None = None
    failures: list[Failure] = field(default_factory=list)
    broken: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.broken = torch.zeros_like(self.live)

    @property
    def worst(self) -> Failure | None:
        """The failure with the largest residual against what flows there."""
        return max(self.failures, key=lambda f: f.share, default=None)


def out_of_scope(law: Law, case: Case) -> str | None:
    """Why a law says nothing about a case; None where it does."""
    if case.outside:
        return None
    pruner = case.pruner
    if law.subject is Subject.SCORES and pruner.score is None:
        return f"{pruner.name} gives masks, no scores"
    if law.needs_objective and pruner.objective is None:
        return f"{pruner.name} has no objective"
    ungiven = [claim.value for claim in law.given - pruner.claims]
    if ungiven:
        return f"speaks of pruners that are {' and '.join(sorted(ungiven))}"
    return unmet(law, case)


def unmet(law: Law, case: Case) -> str | None:
    """The first hypothesis on the network that a law needs and a case does not meet, with the place; None if none."""
    for trait in case.unmet(law.needs):
        if trait is Trait.HOMOGENEOUS and law.local and case.hidden:
            continue
        why = f" ({case.graph.objections[0]})" if trait is Trait.HOMOGENEOUS and case.graph.objections else ""
        return f"needs: {trait.value}{why}"
    return None


def judge(law: Law, case: Case) -> Judgement | None:
    """Measure a law on a case and judge each balance; None where the law yields nothing.

    Raises ScoreError where the pruner's scores can't be used.
    """
    balances = list(law.measure(case))
    if not balances:
        return None
    if any(b.bound is None for b in balances):
        low, fault = _measured(law, case.at(torch.float32))
        found = _by_order(balances, low, lambda: _measured(law, case.shaken())[0])
        found.unseen = f"in float32, which the order test compares with: {fault}" if fault else None
        return found
    result = Judgement(torch.zeros(case.batch.size, dtype=torch.bool))
    for each in balances:
        _by_bound(each, result)
    return result


def _measured(law: Law, case: Case) -> tuple[list[Balances], str | None]:
    """The balances; none, and why, where float32 overflows and float64 does not: there is no order to see."""
    try:
        return list(law.measure(case)), None
    except ScoreError as error:
        return [], str(error)


def _checked(balances: Balances) -> Tensor:
    """Where something flows and is finite: elsewhere a balance says nothing."""
    floor = least_flow(balances.scale.dtype if balances.scale.dtype.is_floating_point else torch.float64)
    finite = torch.isfinite(balances.left) & torch.isfinite(balances.right) & torch.isfinite(balances.residual)
    return (balances.scale > floor) & finite


def _by_bound(balances: Balances, result: Judgement) -> None:
    assert balances.bound is not None
    residual, size = balances.residual, balances.bound.size
    checked = _checked(balances) & torch.isfinite(size)  # nothing exceeds a bound that overflowed
    _count(balances, checked, balances.bound.exact, Grade.ROUNDED, result)
    rounded = checked & (size > 0)
    if bool(rounded.any()):
        margin = float((residual[rounded] / size[rounded]).max())
        result.margin = margin if result.margin is None else max(margin, result.margin)
    _fail(balances, checked & (residual > size), result)


def _by_order(balances: list[Balances], low: list[Balances], measure_shaken: Callable[[], list[Balances]]) -> Judgement:
    result = Judgement(torch.zeros(len(balances[0].left), dtype=torch.bool))
    floors = [_noise(side) for side in (balances, low)]
    shaken: list[Balances] | None = None
    for i, each in enumerate(balances):
        if each.bound is not None:
            _by_bound(each, result)
            continue
        if i >= len(low):
            continue
        loud = (each.scale > floors[0]) & (low[i].scale > floors[1])
        checked = _checked(each) & _checked(low[i]) & _is_flow(each, low[i]) & loud
        gains = _gains(each, low[i].residual / low[i].scale, checked)
        if bool((gains < ORDER_BITS).any()):
            shaken = measure_shaken() if shaken is None else shaken
            if i < len(shaken):
                gains = torch.maximum(gains, _gains(each, _amplified(each, shaken[i]), checked))
        _by_gain(each, gains, checked, result)
    return result


def _noise(balances: list[Balances]) -> Tensor:
    """Per problem what may be nothing but the rounding of the largest of the balances: the root of u times that."""
    judged = [b.scale for b in balances if b.bound is None and b.scale.shape[1]]
    if not judged:
        return torch.zeros(1, 1)
    largest = torch.stack([s.amax(1) for s in judged]).nan_to_num(posinf=0).amax(0)
    return math.sqrt(unit_roundoff(largest.dtype)) * largest.unsqueeze(1)


def _gains(high: Balances, coarse: Tensor, checked: Tensor) -> Tensor:
    """Per problem: bits between its largest residual and its largest `coarse` one; infinite where none is checked."""
    if not bool(checked.any()):
        return torch.full((len(checked),), torch.inf)
    fine, rough = (torch.where(checked, share, 0).amax(1) for share in (high.residual / high.scale, coarse))
    return torch.where(checked.any(1), order_gains(fine, rough), torch.inf)


def _amplified(each: Balances, shaken: Balances) -> Tensor:
    """What float32's rounding would do to both sides, were its effect in proportion to that of a little shaking.

    The test in doubt: where rounding is amplified, float32 may be spared by luck.
    """
    moved = (each.left - shaken.left).abs() + (each.right - shaken.right).abs()
    return (2**ORDER_BITS * moved / each.scale).nan_to_num(nan=0, posinf=0)


def _by_gain(high: Balances, gains: Tensor, checked: Tensor, result: Judgement) -> None:
    _count(high, checked, torch.zeros(len(gains), dtype=torch.bool), Grade.ORDER, result)
    if not bool(checked.any()):
        return
    gain = float(gains.min())
    result.gain = gain if result.gain is None else min(gain, result.gain)
    share = torch.where(checked, high.residual / high.scale, 0)
    _fail(high, (share == share.amax(1, keepdim=True)) & (gains < ORDER_BITS).unsqueeze(1), result)


def _is_flow(high: Balances, low: Balances) -> Tensor:
    """Where both precisions see about as much: what shrinks with the precision is rounding, and no balance of flows.

    Rounding shrinks by twice ORDER_BITS; a quarter of that is enough to tell, and leaves a true law, whose
    residual is rounding beside the flow, three quarters to gain.
    """
    fine, coarse, factor = high.scale.double(), low.scale.double(), 2 ** (ORDER_BITS / 2)
    return (coarse <= factor * fine) & (fine <= factor * coarse)


def _count(balances: Balances, checked: Tensor, exact: Tensor, grade: Grade, result: Judgement) -> None:
    result.live |= checked.any(1).cpu()
    result.balances += int(checked.sum())
    result.compared |= {balances.name} if bool(checked.any()) else set()
    per_problem = checked.sum(1).cpu()
    result.grades[Grade.EXACT.value] += int(per_problem[exact.cpu()].sum())
    result.grades[grade.value] += int(per_problem[~exact.cpu()].sum())


def _fail(balances: Balances, broken: Tensor, result: Judgement) -> None:
    if not bool(broken.any()):
        return
    result.broken |= broken.any(1).cpu()
    share = torch.where(broken, balances.residual / balances.scale, -1)
    index, unit = divmod(int(share.argmax()), share.shape[1])
    left, right = float(balances.left[index, unit]), float(balances.right[index, unit])
    relation = "<=" if balances.at_most else "="
    where = balances.label(index, unit)
    result.failures.append(Failure(index, where, left, right, relation, float(share[index, unit])))
