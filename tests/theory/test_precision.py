"""A run beside the same in float32: the counts are those of the masks, and what ends the float32 run is recorded."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import nn

from pruning.engine import prune
from pruning.masks import Masks, global_top_k
from pruning.network import Network
from pruning.problem import Problem, squared_error
from pruning.pruner import Pruner, masking, scored
from pruning.pruners.magnitude import magnitude
from pruning.pruners.random import random
from pruning.pruners.synflow import synflow
from pruning.schedule import Schedule, exponential
from pruning.trace import trace
from theory.full_size import Model
from theory.precision import beside_float32, in_float32
from theory.verdict import PrecisionRecord

DEPTH, WIDTH, ROUNDS = 12, 20, 8
NEAR_UNDERFLOW, OVERFLOW = 3e-4, 1e4  # factors that take every score to a few bits of float32, and beyond its end


@cache
def perceptron() -> Network:
    """Without biases, with weights that float32 holds."""
    layers = [part for _ in range(DEPTH) for part in (nn.Linear(WIDTH, WIDTH, bias=False), nn.ReLU())]
    network = trace(nn.Sequential(*layers, nn.Linear(WIDTH, 4, bias=False)), torch.ones(1, WIDTH))
    source = torch.Generator().manual_seed(0)
    drawn = {n: torch.randn(w.shape, generator=source) / WIDTH**0.5 for n, w in network.weights.items()}
    return network.with_weights(drawn).to(dtype=torch.float64)


def deep(factor: float = 1.0) -> Problem:
    """The perceptron, every weight times a factor."""
    network = perceptron()
    inputs = torch.ones(2, WIDTH, dtype=torch.float64)
    data = inputs, torch.ones(2, 4, dtype=torch.float64)
    weights = {n: w * factor for n, w in network.weights.items()}
    return Problem(network.with_weights(weights), data, squared_error, 0)


def plan(problem: Problem) -> Schedule:
    total = problem.network.initial.total
    return exponential(total, total // 100, ROUNDS)


def beside(problem: Problem, pruner: Pruner) -> PrecisionRecord:
    run = prune(problem, pruner, plan(problem))
    return beside_float32("deep", problem, pruner, plan(problem), run, lambda round_, kept: None)


def kept_places(masks: Masks) -> set[tuple[str, int]]:
    return {(n, i) for n, mask in masks.items() for i in mask.flatten().nonzero().flatten().tolist()}


def test_what_is_exchanged_is_what_the_masks_of_both_runs_say() -> None:
    problem = deep(NEAR_UNDERFLOW)
    exact, rounded = (prune(p, synflow, plan(problem)) for p in (problem, in_float32(problem)))
    places = [[kept_places(run.masks_at(r)) for r in range(1, ROUNDS + 1)] for run in (exact, rounded)]
    found = beside(problem, synflow)
    assert found.exchanged == [len(a - b) for a, b in zip(*places, strict=True)]
    assert (found.kept, found.kept_float32) == tuple([len(p) for p in run] for run in places)
    assert found.exchanged[-1] > 0 and not found.ended
    assert found.flat == list(rounded.flat) and not exact.flat
    assert found.differing == [r for r, (a, b) in enumerate(zip(*places, strict=True), 1) if a != b]


def test_float32_is_float32_in_weights_constants_and_data() -> None:
    problem = in_float32(deep())
    assert problem.batch is not None
    held = [*problem.network.weights.values(), problem.network.example, *problem.batch]
    assert {t.dtype for t in held} == {torch.float32}


def test_magnitudes_that_float32_holds_keep_the_same_weights() -> None:
    found = beside(deep(), magnitude)
    assert found.exchanged == [0] * ROUNDS and not found.differing and not found.drawn


def test_scores_beyond_float32_end_its_run_in_their_round() -> None:
    found = beside(deep(OVERFLOW), synflow)
    assert found.exchanged == [] and len(found.kept) == ROUNDS
    assert "infinite scores" in found.ended and "torch.float32" in found.ended


def test_what_came_before_the_end_is_kept() -> None:
    def late(network, state, probe):
        if state.masks.density < 0.3 and network.example.dtype == torch.float32:
            raise RuntimeError("no more")
        return {n: w.abs() for n, w in state.effective.items()}

    found = beside(deep(), scored("late", late))
    assert found.exchanged == [0, 0, 0] and found.kept_float32 == found.kept[:3]
    assert found.ended == "the scorer of 'late' raised RuntimeError: no more"


def test_a_weight_beyond_float32_is_the_reason() -> None:
    found = beside(deep(1e40), magnitude)
    assert found.exchanged == [] and "NaN or infinite values" in found.ended


def test_random_numbers_are_said() -> None:
    assert beside(deep(), random).drawn


def test_weights_that_come_back_are_counted_round_by_round() -> None:
    chosen: dict[torch.dtype, list[Masks]] = {torch.float64: [], torch.float32: []}

    def turning(network, state, keep, probe):
        """Other weights in each round and in each precision, whatever was kept before."""
        dtype = network.example.dtype
        source = torch.Generator().manual_seed(keep + (dtype == torch.float32))
        drawn = {n: torch.rand(w.shape, generator=source) for n, w in network.weights.items()}
        masks = global_top_k(drawn, Masks.full(drawn), keep)
        chosen[dtype].append(masks)
        return masks

    found = beside(deep(), masking("turning", turning))
    pairs = zip(chosen[torch.float64][-ROUNDS:], chosen[torch.float32], strict=True)
    assert found.exchanged == [len(kept_places(a) - kept_places(b)) for a, b in pairs]
    assert min(found.exchanged) > 0


def test_a_model_in_float32_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'small' is in torch.float32: .* give it that"):
        Model("small", in_float32(deep()), float32=True)
    assert replace(Model("small", deep()), float32=True).float32
