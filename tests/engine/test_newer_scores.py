"""The scores of newer pruners on tiny networks, against numbers worked out in integers and fractions."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
import torch
from problems import dense_model, dense_problem, integer_batch, integer_weights, problem_of
from torch import Tensor, nn

from pruning.answers import call_scorer
from pruning.engine import prune
from pruning.masks import Masks
from pruning.newer import newer, ntk_sap, prospr
from pruning.newer.path_magnitude import path_magnitude
from pruning.newer.px import px
from pruning.newer.synflow_l2 import synflow_l2
from pruning.problem import Probe, Problem
from pruning.pruner import Pruner, State
from pruning.pruners.random import random
from pruning.pruners.synflow import synflow
from pruning.schedule import exponential

Matrix = np.ndarray[Any, Any]
NAMES = ("synflow-l2", "px", "ntk-sap", "prospr", "path-magnitude")


def scores_of(problem: Problem, pruner: Pruner, masks: Masks | None = None) -> dict[str, Tensor]:
    state = State(problem.network.weights, masks or problem.network.initial)
    return call_scorer(pruner, problem.network, state, Probe(problem))


def bare_model(*widths: int, seed: int = 0) -> nn.Sequential:
    layers = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b, bias=False), nn.ReLU())]
    model = nn.Sequential(*layers[:-1])
    integer_weights(model, seed)
    return model


def halves(problem: Problem) -> Masks:
    """Masks that keep about half of the weights."""
    total = problem.network.initial.total
    return prune(problem, random, exponential(total, total // 2, 1)).masks


def matrices(problem: Problem, masks: Masks | None = None) -> list[Matrix]:
    weights = (masks or problem.network.initial).apply(problem.network.weights)
    return [w.numpy() for w in weights.values()]


def path_sums(layers: Sequence[Matrix], mass: Callable[[tuple[int, ...]], float]) -> list[list[list[float]]]:
    """Per weight the sum of the masses of the paths through it, path by path."""
    sums = [np.zeros_like(layer) for layer in layers]
    for path in product(*map(range, (layers[0].shape[1], *(len(layer) for layer in layers)))):
        for total, (tail, head) in zip(sums, pairwise(path), strict=True):
            total[head, tail] += mass(path)
    return [total.tolist() for total in sums]


def squared_along(layers: Sequence[Matrix], path: tuple[int, ...]) -> float:
    steps = zip(layers, pairwise(path), strict=True)
    return math.prod(layer[head, tail] ** 2 for layer, (tail, head) in steps)


def listed(scores: dict[str, Tensor]) -> list[list[list[float]]]:
    assert all(score.any() for score in scores.values())
    return [score.tolist() for score in scores.values()]


# all of them


def test_they_are_found_by_name():
    assert set(NAMES) <= set(newer())


@pytest.mark.parametrize("name", NAMES)
def test_pruned_weights_score_zero(name):
    problem = short_problem()
    masks = halves(problem)
    scores = scores_of(problem, newer()[name], masks)
    assert any(score.any() for score in scores.values())
    assert not any(scores[n][~masks[n]].any() for n in masks)


def test_who_asks_for_data_and_for_randomness():
    asked = {}
    for name in NAMES:
        problem = dense_problem()
        probe = Probe(problem)
        call_scorer(newer()[name], problem.network, State(problem.network.weights, problem.network.initial), probe)
        asked[name] = set(probe.calls)
    assert asked == {
        "synflow-l2": set(),
        "px": {"batch"},
        "ntk-sap": {"rand"},
        "prospr": {"batch"},
        "path-magnitude": set(),
    }


# SynFlow-L2


def test_synflow_l2_is_a_sum_over_paths_of_squared_weights():
    problem = problem_of(bare_model(3, 4, 3, 2), integer_batch((2, 3), (2, 2)))
    masks = halves(problem)
    for kept in (problem.network.initial, masks):
        layers = matrices(problem, kept)
        expected = path_sums(layers, lambda path, layers=layers: squared_along(layers, path))
        assert listed(scores_of(problem, synflow_l2, kept)) == expected


def test_synflow_l2_is_synflow_of_squared_weights():
    problem = dense_problem()
    squares = problem.network.with_weights({n: w.square() for n, w in problem.network.weights.items()})
    expected = scores_of(replace(problem, network=squares), synflow)
    assert listed(scores_of(problem, synflow_l2)) == listed(expected)


# PX


def open_units(model: nn.Sequential, weights: Sequence[Matrix], x: Matrix) -> list[Matrix]:
    """Per hidden layer which units are open: (samples, units)."""
    found, biases = [], [p.detach().numpy() for n, p in model.named_parameters() if n.endswith("bias")]
    for weight, bias in zip(weights[:-1], biases, strict=False):
        z = x @ weight.T + bias
        found.append(z > 0)
        x = np.maximum(z, 0)
    return found


@pytest.mark.parametrize("pruned", [False, True])
def test_px_weighs_each_path_by_the_data_that_reaches_its_output(pruned):
    """By all pairs of paths that end in one output: squared weights along the one, data and rectifiers on the other."""
    model, (x, y) = dense_model(seed=3), integer_batch((3, 4), (3, 2), seed=7)
    problem = problem_of(model, (x, y))
    masks = halves(problem) if pruned else problem.network.initial
    layers, samples = matrices(problem, masks), x.numpy()
    status = open_units(model, layers, samples)
    assert all(0 < layer.mean() < 1 for layer in status)
    kept = [masks[n].numpy() for n in masks]
    reached = np.zeros(2)
    for first, *hidden, last in product(range(4), range(5), range(3), range(2)):
        steps = zip(kept, pairwise((first, *hidden, last)), strict=True)
        if all(mask[head, tail] for mask, (tail, head) in steps):
            through = np.all([layer[:, unit] for layer, unit in zip(status, hidden, strict=True)], axis=0)
            reached[last] += (through * samples[:, first] ** 2).sum()
    expected = path_sums(layers, lambda path: squared_along(layers, path) * reached[path[-1]])
    assert listed(scores_of(problem, px, masks)) == expected


# NTK-SAP


def whole_numbers(seed: int) -> Callable[[Probe, Mapping[str, Tensor]], dict[str, Tensor]]:
    """Integers in place of normal numbers: odd in the first column, twice odd in the second, so that no sum is 0."""
    source = torch.Generator().manual_seed(seed)

    def drawn(probe: Probe, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
        odd = {n: 2 * torch.randint(-2, 2, t.shape, generator=source).to(t) + 1 for n, t in like.items()}
        return {n: t * torch.tensor([1.0, 2.0]) for n, t in odd.items()}

    return drawn


def fractions(tensors: Iterable[Tensor]) -> list[Matrix]:
    return [np.array([[Fraction(v) for v in row] for row in t.tolist()]) for t in tensors]


@pytest.mark.parametrize("pruned", [False, True])
def test_ntk_sap_is_the_slope_by_the_mask(monkeypatch, pruned):
    """By central differences in fractions, exact as long as no rectifier turns: the change is quadratic in one mask.

    Two inputs to each unit make He's deviation 1, so that all numbers are dyadic and the scores are exact too.
    """
    monkeypatch.setattr(ntk_sap, "STEP", 0.25)
    monkeypatch.setattr(ntk_sap, "normal", whole_numbers(5))
    problem = problem_of(bare_model(2, 2, 2, 2), integer_batch((2, 2), (2, 2)))
    masks = Masks({n: torch.tensor([[True, True], [not pruned, True]]) for n in problem.network.weights})
    scores = scores_of(problem, ntk_sap.ntk_sap, masks)

    again, draws = whole_numbers(5), []
    for _ in range(5):
        start, step = (fractions(again(Probe(problem), problem.network.weights).values()) for _ in range(2))
        nearby = [w + s / 4 for w, s in zip(start, step, strict=True)]
        draws.append((start, nearby, *fractions(again(Probe(problem), {"z": problem.network.example}).values())))
    signs: set[tuple[int, ...]] = set()

    def outputs(at: list[Matrix], weights: list[Matrix], z: Matrix) -> Matrix:
        *hidden, last = (m * w for m, w in zip(at, weights, strict=True))
        for weight in hidden:
            pre = z @ weight.T
            signs.add(tuple(((pre > 0) * 1 - (pre < 0) * 1).flat))
            z = np.where(pre > 0, pre, Fraction())
        return z @ last.T

    def change(at: list[Matrix]) -> Fraction:
        return sum(((outputs(at, w, z) - outputs(at, v, z)) ** 2).sum() for w, v, z in draws)

    at = fractions(masks[n].double() for n in masks)
    change(at)
    met, h = set(signs), Fraction(1, 2**20)
    for mask, score in zip(at, listed(scores), strict=True):
        for i, j in product(range(2), range(2)):
            ends = []
            for by in (h, -2 * h):
                mask[i, j] += by
                ends.append(change(at))
            mask[i, j] += h
            assert signs == met  # no rectifier turned
            assert score[i][j] == abs(mask[i, j] * (ends[0] - ends[1]) / (2 * h))


def test_the_normal_numbers_of_ntk_sap_are_normal():
    """Within what Dvoretzky, Kiefer, Wolfowitz and Massart allow at a chance of one in a billion."""
    count = 20_000
    drawn = ntk_sap.normal(Probe(dense_problem()), {"a": torch.zeros(count, dtype=torch.float64)})["a"].sort().values
    below = torch.arange(count + 1, dtype=torch.float64) / count
    reached = torch.special.ndtr(drawn)
    furthest = torch.maximum((reached - below[:-1]).abs().max(), (reached - below[1:]).abs().max())
    assert furthest < math.sqrt(math.log(2 / 1e-9) / (2 * count))


def test_ntk_sap_sees_neither_weights_nor_biases_nor_data():
    first = problem_of(dense_model(seed=0), integer_batch((3, 4), (3, 2), seed=1))
    second = problem_of(dense_model(seed=8), integer_batch((3, 4), (3, 2), seed=9))
    assert listed(scores_of(first, ntk_sap.ntk_sap)) == listed(scores_of(second, ntk_sap.ntk_sap))


# ProsPr


class Dual:
    """A number and its derivative by one weight, in fractions."""

    def __init__(self, value: Fraction, slope: Fraction | int = 0) -> None:
        self.value, self.slope = value, slope

    def __add__(self, other: "Dual") -> "Dual":
        return Dual(self.value + other.value, self.slope + other.slope)

    def __sub__(self, other: "Dual") -> "Dual":
        return Dual(self.value - other.value, self.slope - other.slope)

    def __mul__(self, other: "Dual") -> "Dual":
        return Dual(self.value * other.value, self.slope * other.value + self.value * other.slope)


def duals(numbers: Tensor) -> Matrix:
    return np.array([[Dual(Fraction(v)) for v in row] for row in numbers.tolist()])


def prospects(problem: Problem, steps: int, masks: Masks) -> list[list[list[Fraction]]]:
    """|w dL/dw| through unrolled descent of size 1/2 on y = V relu(U x), its gradient written out, weight by weight."""
    assert problem.batch
    x, t = (duals(numbers) for numbers in problem.batch)
    half, zero = Dual(Fraction(1, 2)), Dual(Fraction(0))
    size_u, size_v = (duals(mask / 2) for mask in masks.values())  # of a step; 0 where a weight stays pruned

    def loss_after(u: Matrix, v: Matrix) -> Dual:
        for step in range(steps + 1):
            z = x @ u.T
            assert all(entry.value for entry in z.flat)  # no rectifier at its kink
            is_open = np.vectorize(lambda entry: entry.value > 0)(z)
            h = np.where(is_open, z, zero)
            apart = h @ v.T - t
            if step == steps:
                break
            by_v, by_u = apart.T @ h, np.where(is_open, apart @ v, zero).T @ x
            u, v = u - by_u * size_u, v - by_v * size_v
        return (apart * apart).sum() * half

    weights = [duals(w) for w in masks.apply(problem.network.weights).values()]
    found = []
    for layer in weights:
        rows = []
        for row in layer:
            rows.append([])
            for entry in row:
                entry.slope = 1
                rows[-1].append(abs(entry.value * loss_after(*weights).slope))
                entry.slope = 0
        found.append(rows)
    return found


def short_problem(dtype: torch.dtype = torch.float64) -> Problem:
    """A problem in dyadic numbers whose gradients are shorter than its weights."""
    x, t = (numbers / 16 for numbers in integer_batch((3, 2), (3, 2), seed=4))
    problem = problem_of(bare_model(2, 3, 2, seed=2), (x, t))
    return replace(problem, network=problem.network.to(dtype=dtype), batch=(x.to(dtype), t.to(dtype)))


@pytest.mark.parametrize("pruned", [False, True])
@pytest.mark.parametrize("steps", [0, 1])
def test_prospr_after_few_steps_to_the_bit(monkeypatch, steps, pruned):
    monkeypatch.setattr(prospr, "STEPS", steps)
    problem = short_problem()
    masks = Masks({n: torch.ones_like(w, dtype=torch.bool) for n, w in problem.network.weights.items()})
    if pruned:
        masks["2.weight"][0, 1] = False
    expected = [[[float(s) for s in row] for row in layer] for layer in prospects(problem, steps, masks)]
    assert listed(scores_of(problem, prospr.prospr, masks)) == expected


def test_prospr_after_the_published_steps_up_to_rounding():
    """What is off falls from float32 to float64 as rounding does, by 29 bits: at least by half of them."""
    exact = prospects(short_problem(), 3, short_problem().network.initial)

    def off(dtype: torch.dtype) -> Fraction:
        found = listed(scores_of(short_problem(dtype), prospr.prospr))
        each = zip(
            (s for rows in found for row in rows for s in row),
            (e for rows in exact for row in rows for e in row),
            strict=True,
        )
        return max(abs(Fraction(s) - e) for s, e in each)

    assert 0 < off(torch.float64) * 2**14 < off(torch.float32)


def test_a_step_of_prospr_is_no_longer_than_half_the_weights():
    weights = {"a": torch.tensor([[3.0, 4.0]])}
    short, long = {"a": torch.tensor([[0.0, 2.0]])}, {"a": torch.tensor([[0.0, 10.0]])}
    assert prospr.stepped(weights, short)["a"].tolist() == [[3.0, 3.0]]
    assert prospr.stepped(weights, long)["a"].tolist() == [[3.0, 1.5]]
    nothing = {"a": torch.zeros(1, 2)}
    assert prospr.stepped(nothing, nothing)["a"].tolist() == [[0.0, 0.0]]


def test_the_steps_of_prospr_are_the_repositorys():
    assert (prospr.STEPS, prospr.STEP_SIZE) == (3, 0.5)


# path magnitude


def test_path_magnitude_is_synflow_where_there_are_no_biases():
    problem = problem_of(bare_model(3, 4, 3, 2), integer_batch((2, 3), (2, 2)))
    assert listed(scores_of(problem, path_magnitude)) == listed(scores_of(problem, synflow))


def test_path_magnitude_is_what_the_path_norm_loses_with_a_weight():
    """The norm of a network with biases and a batch norm, which is affine in each weight, in integers."""
    norm = nn.BatchNorm1d(4, eps=0)
    model = nn.Sequential(nn.Linear(3, 4), norm, nn.ReLU(), nn.Linear(4, 2))
    integer_weights(model, seed=3)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([-4.0, 2.0, 6.0, -2.0]))
        norm.running_mean.copy_(torch.tensor([1.0, -2.0, 3.0, 0.0]))
        norm.running_var.fill_(4.0)
    problem = problem_of(model.eval(), integer_batch((2, 3), (2, 2)))
    first, last = (layer.bias.detach().numpy() for layer in (model[0], model[3]))
    scale = norm.weight.detach().numpy() / 2
    shift = norm.bias.detach().numpy() - norm.running_mean.numpy() * scale
    assert first.any() and shift.any() and last.any()

    def path_norm(u: Matrix, v: Matrix) -> float:
        hidden = np.abs(scale) * (np.abs(u) @ np.ones(3) + np.abs(first)) + np.abs(shift)
        return (np.abs(v) @ hidden + np.abs(last)).sum()

    layers = matrices(problem)
    expected = []
    for layer in layers:
        rows = np.zeros_like(layer)
        for place in np.ndindex(layer.shape):
            kept, layer[place] = layer[place], 0
            without = path_norm(*layers)
            layer[place] = kept
            rows[place] = path_norm(*layers) - without
        expected.append(rows.tolist())
    assert listed(scores_of(problem, path_magnitude)) == expected
