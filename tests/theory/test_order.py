"""The order test: a true identity gains the difference of the two precisions, a false one gains nothing."""

import math
from dataclasses import replace

import pytest
import torch
from subjects import FAMILIES, cases, chain, literal

from pruning.pruners.grasp import grasp
from pruning.pruners.magnitude import magnitude
from pruning.pruners.synflow import synflow
from theory.case import Case
from theory.judge import judge
from theory.law import Grade
from theory.laws import catalogue
from theory.numerics import ORDER_BITS, order_gains

A1 = catalogue()["neuron_conservation"]
REAL = [f for f in FAMILIES if f.generic]


def bias_free(family, pruner, shapes: int):
    return [c for c in cases(family, pruner, shapes, 8) if not c.has_sources]


def test_the_threshold_is_half_of_what_a_true_law_gains():
    bits = {dtype: -math.log2(torch.finfo(dtype).eps) for dtype in (torch.float32, torch.float64)}
    assert ORDER_BITS == (bits[torch.float64] - bits[torch.float32]) / 2 == 14.5


@pytest.mark.parametrize("family", REAL, ids=lambda f: f.name)
def test_a_true_law_gains_far_more_than_the_threshold(family):
    gains = [judge(A1, c).gain for c in bias_free(family, replace(synflow, objective=None), 60)]
    assert len(gains) > 10 and min(gains) > 1.5 * ORDER_BITS


@pytest.mark.parametrize("pruner", [magnitude, grasp], ids=lambda p: p.name)
@pytest.mark.parametrize("family", REAL, ids=lambda f: f.name)
def test_a_false_law_gains_about_nothing(family, pruner):
    found = [judge(A1, c) for c in bias_free(family, pruner, 60)]
    gains = [f.gain for f in found if f.gain is not None]
    assert len(gains) > 10
    assert all(f.failures for f in found if f.gain is not None)
    assert max(gains) < 0.5 * ORDER_BITS


def test_a_correct_scorer_of_other_arithmetic_is_held_by_order_and_not_by_the_bound():
    """R - R(w := 0) is SynFlow's score, but rounded like R: the bound for theta * gradient does not speak of it."""

    def by_loss(network, state, probe):
        weights, scores = state.effective, {}
        whole = synflow.objective(network, weights, probe)
        for name, weight in weights.items():
            masks = 1 - torch.eye(weight.numel(), dtype=weight.dtype).view(-1, *weight.shape)
            rest = [synflow.objective(network, {**weights, name: weight * m}, probe) for m in masks]
            scores[name] = (whole - torch.stack(rest)).view(weight.shape)
        return scores

    scorer = replace(synflow, score=by_loss, objective=None)
    shape = chain(3, 4, 4, 2)
    batch = REAL[0].batch(shape, 5, 8)
    found = judge(A1, Case(batch, scorer))
    assert not found.failures and found.gain > ORDER_BITS
    assert judge(A1, Case(batch, replace(scorer, objective=synflow.objective))).failures


def test_overflow_in_float32_leaves_a_law_unjudged():
    """Weights of 1e30 in two layers: float64 holds their product, float32 does not, and there is no order to see."""
    numbers = {"0.weight": torch.full((2, 2), 1e30), "2.weight": torch.full((1, 2), 1e30)}
    batch = literal(chain(2, 2, 1), numbers, torch.ones(1, 2), torch.zeros(1, 1))
    found = judge(A1, Case(batch, replace(synflow, objective=None)))
    assert not found.failures and found.balances == 0 and not bool(found.live.any()) and found.gain is None
    with_bound = judge(A1, Case(batch, synflow))
    assert not with_bound.failures and bool(with_bound.live.all())


def test_underflow_in_float32_leaves_a_law_unjudged():
    numbers = {"0.weight": torch.full((2, 2), 1e-30), "2.weight": torch.full((1, 2), 1e-30)}
    batch = literal(chain(2, 2, 1), numbers, torch.ones(1, 2), torch.zeros(1, 1))
    found = judge(A1, Case(batch, replace(synflow, objective=None)))
    assert not found.failures and found.balances == 0


def test_both_residuals_are_floored_at_their_roundoff():
    """Residuals of exactly 0 in both precisions are worth the difference of the precisions, no more."""
    zero, one = torch.zeros(3), torch.ones(3)
    assert order_gains(zero.double(), zero).tolist() == [2 * ORDER_BITS] * 3
    assert order_gains(one.double(), one).tolist() == [0] * 3
    assert order_gains(one.double() * 2.0**-40, zero + 2.0**-20).tolist() == [20] * 3


def test_grades_say_that_it_was_the_order():
    (case, *_) = bias_free(REAL[0], replace(synflow, objective=None), 10)
    assert set(+judge(A1, case).grades) == {Grade.ORDER.value}
