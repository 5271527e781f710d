"""A run that goes on from where another stood: as one run would have, whichever way it is done."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from problems import dense_problem

from pruning.engine import prune
from pruning.fast.best import prune_at_best
from pruning.models import make
from pruning.problem import Problem, cross_entropy
from pruning.pruners import built_in
from pruning.pruners.random import random
from pruning.rounds import Standing, Trace
from pruning.schedule import exponential
from pruning.trace import trace

ROUNDS = 6


def mlp() -> Problem:
    model, x = make("mlp", 0)
    network = trace(model, x).to(dtype=torch.float64)
    batch = torch.randn(2, 784, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), torch.tensor([1, 7])
    return Problem(network, batch, cross_entropy, 3)


@pytest.mark.parametrize("name", sorted(built_in()))
@pytest.mark.parametrize("way", [prune, prune_at_best])
def test_from_every_round_on_it_is_as_one_run(way, name: str) -> None:
    pruner = built_in()[name]
    problem = mlp() if way is prune_at_best else dense_problem()
    plan = exponential(problem.network.initial.total, 5, ROUNDS)
    stood: list[Standing] = []
    whole: Trace = way(problem, pruner, plan, on_standing=stood.append)
    assert [s.round for s in stood] == [*range(1, ROUNDS + 1)]
    for i, standing in enumerate(stood):
        assert standing.masks == whole.masks_at(i + 1) or any(whole.revived)
        assert list(standing.kept) == whole.kept[i].tolist()
        told = torch.tensor([standing.mass, standing.cut, standing.log_cut], dtype=torch.float64)
        assert told.allclose(torch.stack([whole.mass[i], whole.cut[i], whole.log_cut[i]]), 0, 0, equal_nan=True)
    for standing in stood[:: len(stood) // 2]:
        rest: Trace = way(problem, pruner, plan, since=standing)
        assert rest.masks == whole.masks
        assert rest.kept.equal(whole.kept[standing.round :])
        assert rest.calls == whole.calls
        assert all(torch.equal(rest.died[n], died) for n, died in whole.died.items())
        for name_ in ("mass", "cut", "log_cut"):  # to the last bit
            own, wanted = getattr(rest, name_), getattr(whole, name_)[standing.round :]
            assert own.equal(wanted) or (own.isnan().all() and wanted.isnan().all())


def test_without_the_calls_so_far_other_numbers_are_drawn() -> None:
    problem, stood = dense_problem(), list[Standing]()
    plan = exponential(problem.network.initial.total, 5, ROUNDS)
    whole = prune(problem, random, plan, on_standing=stood.append)
    assert prune(problem, random, plan, since=stood[1]).masks == whole.masks
    assert prune(problem, random, plan, since=replace(stood[1], calls={})).masks != whole.masks
