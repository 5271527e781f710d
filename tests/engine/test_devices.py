"""Runs where work is queued: nobody waits for it but once a round, a round later; and CUDA gives what the CPU gives.

Without such a device the same code is run on the CPU, told that its work is queued, and every operator is looked at
that would make the host wait.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import pytest
import torch
from problems import dense_problem, integer_batch, integer_weights, problem_of
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from pruning import devices
from pruning.answers import ScoreError
from pruning.engine import prune
from pruning.masks import Masks, global_top_k
from pruning.problem import Problem
from pruning.pruner import Pruner, scored
from pruning.pruners import built_in
from pruning.pruners.magnitude import absolute
from pruning.rounds import Log, Trace
from pruning.schedule import exponential

PRUNERS = built_in()
aten = torch.ops.aten
# what reads numbers, or asks how many there are
WAITING = {aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.equal, aten.is_nonzero, aten.bincount}


class Waits(TorchDispatchMode):
    """Counts the operators that would make the host wait."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        by_mask = func.overloadpacket is aten.index and any(i.dtype is torch.bool for i in args[1] if i is not None)
        self.count += by_mask or func.overloadpacket in WAITING
        return func(*args, **(kwargs or {}))


def conv_problem() -> Problem:
    layers = [nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3)]
    return problem_of(integer_weights(nn.Sequential(*layers)), integer_batch((2, 2, 4, 4), (2, 3)))


def run(problem: Problem, pruner: Pruner, rounds: int = 4) -> Trace:
    return prune(problem, pruner, exponential(problem.network.initial.total, 6, rounds))


def same(found: Trace, wanted: Trace) -> None:
    for name, died in wanted.died.items():
        assert torch.equal(found.died[name].cpu(), died), name
    assert torch.equal(found.kept, wanted.kept)
    assert (found.targets, found.flat, found.revived) == (wanted.targets, wanted.flat, wanted.revived)
    assert (found.layers, found.calls) == (wanted.layers, wanted.calls)
    torch.testing.assert_close(found.mass, wanted.mass, equal_nan=True)
    torch.testing.assert_close(found.cut, wanted.cut, equal_nan=True)


@pytest.mark.parametrize("name", sorted(PRUNERS))
@pytest.mark.parametrize("make", [dense_problem, conv_problem])
def test_where_work_is_queued_a_run_is_the_same_and_waits_no_more_for_more_rounds(name, make, monkeypatch) -> None:
    problem, wanted = make(), run(make(), PRUNERS[name])
    monkeypatch.setattr(devices, "queued", lambda tensor: True)
    same(run(problem, PRUNERS[name]), wanted)
    counts = []
    for rounds in (3, 9):
        with Waits() as waits:
            run(problem, PRUNERS[name], rounds)
        counts.append(waits.count)
    assert counts[0] == counts[1]


def test_an_operator_that_waits_is_seen() -> None:
    x = torch.arange(4.0)
    for waiting in (lambda: x[x > 1], lambda: int(x.sum()), lambda: x.nonzero(), lambda: bool((x > 1).any())):
        with Waits() as waits:
            waiting()
        assert waits.count


def read_rounds(pruner: Pruner, monkeypatch) -> list[tuple[int, int]]:
    """For each reading of the log: rounds that were queued by then, and rounds that were read."""
    seen: list[tuple[int, int]] = []
    read = Log._read

    def watched(log: Log, leave: int) -> None:
        before = len(log._rounds)
        read(log, leave)
        seen.append((len(log.targets), len(log._rounds) - before))

    monkeypatch.setattr(Log, "_read", watched)
    monkeypatch.setattr(devices, "queued", lambda tensor: True)
    run(dense_problem(), pruner)
    return seen


def test_a_round_is_read_once_the_next_one_is_queued_where_its_count_is_known(monkeypatch) -> None:
    assert read_rounds(PRUNERS["synflow"], monkeypatch) == [(1, 0), (2, 1), (3, 1), (4, 1), (4, 1), (4, 0)]


def test_a_round_whose_count_only_the_masks_tell_is_read_at_once(monkeypatch) -> None:
    own = scored("own", absolute, select=lambda scores, masks, k: global_top_k(scores, masks, k))
    assert read_rounds(own, monkeypatch) == [(1, 1), (2, 1), (3, 1), (4, 1), (4, 0), (4, 0)]


def test_scores_that_are_not_finite_are_told_there_as_well(monkeypatch) -> None:
    def spoilt(network, state, probe):
        found = {n: w.abs() for n, w in state.weights.items()}
        found["2.weight"].view(-1)[:3] = torch.nan
        found["2.weight"].view(-1)[3:5] = torch.inf
        return found

    monkeypatch.setattr(devices, "queued", lambda tensor: True)
    with pytest.raises(ScoreError, match=r"'spoilt' returned 3 NaN and 2 infinite scores of 15 for '2\.weight'"):
        run(dense_problem(), scored("spoilt", spoilt))


def test_more_than_there_is_keeps_all_and_asks_for_it(monkeypatch) -> None:
    monkeypatch.setattr(devices, "queued", lambda tensor: True)
    problem = dense_problem()
    masks = {n: m.clone() for n, m in problem.network.initial.items()}
    masks["0.weight"][0] = False
    network = replace(problem.network, initial=Masks(masks))
    total = network.initial.total
    trace = prune(replace(problem, network=network), PRUNERS["magnitude"], lambda r, kept, a: total if r < 3 else None)
    assert trace.kept.sum(1).tolist() == [total - 4] * 2
    assert trace.masks == network.initial


cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.mark.cuda
@cuda
@pytest.mark.parametrize("name", sorted(PRUNERS))
@pytest.mark.parametrize("make", [dense_problem, conv_problem])
def test_cuda_gives_the_masks_that_the_cpu_gives(name, make) -> None:
    """Integer weights: sums are exact on both, so that ties are ties."""
    problem = make()
    inputs, targets = problem.batch
    there = replace(problem, network=problem.network.to("cuda"), batch=(inputs.cuda(), targets.cuda()))
    found = run(there, PRUNERS[name])
    assert all(died.is_cuda for died in found.died.values())
    same(found, run(problem, PRUNERS[name]))


@pytest.mark.cuda
@cuda
def test_cuda_is_waited_for_once_a_round() -> None:
    problem = conv_problem()
    there = replace(problem, network=problem.network.to("cuda"), batch=None)
    counts = []
    for rounds in (4, 4, 14):  # the first time initialises
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as heard:
                warnings.simplefilter("always")
                run(there, PRUNERS["synflow"], rounds)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        counts.append(sum("synchroniz" in str(w.message) for w in heard))
    assert counts[2] - counts[1] <= 10
