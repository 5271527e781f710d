"""Judging: what counts as checked, what as held, and what a law does not speak of."""

import math
from dataclasses import replace

import pytest
import torch
from subjects import CONSERVATION, chain, literal
from torch import Tensor

from pruning.answers import ScoreError
from pruning.pruners.magnitude import magnitude
from pruning.pruners.snip import snip
from pruning.pruners.synflow import synflow
from theory.case import Case
from theory.judge import judge, out_of_scope
from theory.law import Grade, Law, at_most, counted, equal
from theory.laws import catalogue
from theory.networks.outside import tanh_net
from theory.numerics import Bound

A1 = catalogue()["neuron_conservation"]


def numbers(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def a_case(size: int = 1, pruner=synflow, bias: bool = False) -> Case:
    values = {"0.weight": torch.ones(2, 2), "2.weight": torch.ones(1, 2)}
    if bias:
        values |= {"0.bias": torch.ones(2), "2.bias": torch.ones(1)}
    one = literal(chain(2, 2, 1, bias=bias), values, torch.ones(1, 2), torch.zeros(1, 1))

    def repeated(tensors):
        return {n: t.expand(size, *t.shape[1:]) for n, t in tensors.items()}

    moved = {g: repeated(getattr(one, g)) for g in ("weights", "fixed", "neutral")}
    inputs, targets = (t.expand(size, *t.shape[1:]) for t in (one.inputs, one.targets))
    return Case(replace(one, inputs=inputs, targets=targets, **moved), pruner)


def yielding(*balances) -> Law:
    """A law that measures just these."""
    return replace(A1, measure=lambda case: list(balances))


def bound(*rows: list[float], exact: bool = False) -> Bound:
    size = numbers(*rows)
    return Bound(size, torch.full((len(size),), exact))


def test_a_law_that_yields_nothing_is_not_judged():
    assert judge(yielding(), a_case()) is None


def test_a_residual_equal_to_its_bound_is_held_and_the_next_number_is_not():
    left, right = numbers([1.0, 1.0]), numbers([1.5, 0.5])
    assert not judge(yielding(equal("x", left, right, bound=bound([0.5, 0.5]))), a_case()).failures
    tight = bound([0.5, math.nextafter(0.5, 0)])
    (failure,) = judge(yielding(equal("x", left, right, bound=tight)), a_case()).failures
    assert (failure.index, failure.left, failure.right, failure.relation) == (0, 1.0, 0.5, "=")
    assert judge(yielding(equal("x", left, right, bound=tight)), a_case()).margin > 1


def test_equality_is_judged_on_both_sides_and_at_most_on_one():
    low, high = numbers([1.0]), numbers([2.0])
    for left, right in ((low, high), (high, low)):
        assert judge(yielding(equal("x", left, right, bound=counted(left))), a_case()).failures
    assert not judge(yielding(at_most("x", low, high, bound=counted(low))), a_case()).failures
    assert not judge(yielding(at_most("x", low, low, bound=counted(low))), a_case()).failures
    (failure,) = judge(yielding(at_most("x", high, low, bound=counted(low))), a_case()).failures
    assert failure.relation == "<="


def test_where_nothing_flows_nothing_was_checked():
    zero = numbers([0.0], [0.0])
    found = judge(yielding(equal("x", zero, zero, bound=counted(zero))), a_case(2))
    assert not bool(found.live.any()) and found.balances == 0 and not +found.grades


def test_a_problem_is_live_if_one_of_its_balances_is():
    left = numbers([0.0, 0.0], [0.0, 3.0], [1.0, 1.0])
    found = judge(yielding(equal("x", left, left, bound=counted(left))), a_case(3))
    assert found.live.tolist() == [False, True, True] and found.balances == 3
    other = numbers([1.0, 0.0], [0.0, 0.0], [0.0, 0.0])
    both = yielding(equal("x", left, left, bound=counted(left)), equal("y", other, other, bound=counted(other)))
    assert judge(both, a_case(3)).live.tolist() == [True, True, True]


def test_a_mismatch_without_scale_is_not_a_failure():
    """The law said that nothing flows here: what is left of it is no evidence in either direction."""
    left, right, nothing = numbers([1.0]), numbers([0.0]), numbers([0.0])
    found = judge(yielding(equal("x", left, right, bound=counted(left), scale=nothing)), a_case())
    assert not found.failures and found.balances == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("relation", [equal, at_most])
def test_what_is_not_finite_is_never_counted_as_held(bad, relation):
    one, odd = numbers([1.0]), numbers([bad])
    for left, right in ((one, odd), (odd, one), (odd, odd)):
        found = judge(yielding(relation("x", left, right, bound=counted(left), scale=one)), a_case())
        assert found.balances == 0 and not bool(found.live.any()) and not found.failures
    unbounded = Bound(odd.abs(), torch.tensor([False]))
    found = judge(yielding(relation("x", one, one, bound=unbounded)), a_case())
    assert found.balances == 0 and not bool(found.live.any())


def test_grades_follow_the_bound():
    left = numbers([1.0, 2.0], [3.0, 4.0])
    mixed = Bound(numbers([0.0, 0.0], [1.0, 1.0]), torch.tensor([True, False]))
    found = judge(yielding(equal("x", left, left, bound=mixed)), a_case(2))
    assert +found.grades == {Grade.EXACT.value: 2, Grade.ROUNDED.value: 2} and found.margin == 0


def test_the_worst_failure_is_the_largest_share_of_what_flows():
    left, right = numbers([1.0, 100.0], [1.0, 1.0]), numbers([0.5, 99.0], [1.0, 0.9])
    found = judge(yielding(equal("x", left, right, bound=counted(left), scale=left)), a_case(2))
    assert (found.worst.index, found.worst.left, found.worst.right) == (0, 1.0, 0.5)


def test_labels_are_made_for_failures_alone():
    def never(batch: int, unit: int) -> str:
        raise AssertionError("asked for a label of what holds")

    left = numbers([1.0])
    assert not judge(yielding(equal("x", left, left, bound=counted(left), label=never)), a_case()).failures
    with pytest.raises(AssertionError, match="label"):
        judge(yielding(equal("x", left, left + 1, bound=counted(left), label=never)), a_case())


def test_unusable_scores_are_the_callers_to_hear_of():
    broken = replace(synflow, score=lambda *a: {})
    with pytest.raises(ScoreError):
        judge(A1, a_case(pruner=broken))


def test_a_law_of_flow_says_nothing_of_biases_without_an_objective():
    silent = replace(synflow, objective=None)
    assert judge(A1, a_case(pruner=silent, bias=True)) is None
    assert judge(A1, a_case(pruner=silent)) is not None


def test_reasons_to_be_out_of_scope():
    laws, tanh = catalogue(), Case(tanh_net.batch(), synflow)
    assert out_of_scope(A1, a_case()) is None
    assert out_of_scope(laws["leave_one_out"], a_case(pruner=magnitude)) == "magnitude has no objective"
    assert "data free" in out_of_scope(laws["leave_one_out"], a_case(pruner=snip))
    assert "tanh is not known to be positively homogeneous" in out_of_scope(A1, tanh)
    assert "real-valued" in out_of_scope(laws["neuron_rescaling"], a_case())
    assert out_of_scope(laws["neuron_rescaling"], replace(a_case(), generic=True)) is None


@pytest.mark.parametrize("law", CONSERVATION, ids=lambda la: la.name)
def test_outside_the_hypotheses_every_law_of_flow_is_looked_at(law):
    assert out_of_scope(law, replace(Case(tanh_net.batch(), synflow), outside=True)) is None


def test_dead_networks_are_trivial_and_not_held():
    """One layer of zeros: no flow anywhere, so no conservation law was tested."""
    case = a_case(4)
    weights = {**case.batch.weights, "0.weight": torch.zeros_like(case.batch.weights["0.weight"])}
    for law in CONSERVATION:
        found = judge(law, Case(replace(case.batch, weights=weights), synflow))
        assert not bool(found.live.any()) and not found.failures
