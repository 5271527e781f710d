"""Certified schedules: a live path is left by every round, and on a chain exactly one weight per layer at the end."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pruning.certified import count_safe, hybrid, mass_safe
from pruning.engine import prune
from pruning.fast.best import prune_at_best
from pruning.fast.run import run_synflow
from pruning.masks import Masks
from pruning.network import Network
from pruning.problem import Problem, squared_error
from pruning.pruners.magnitude import magnitude
from pruning.pruners.random import random
from pruning.pruners.synflow import synflow
from pruning.rounds import Trace
from pruning.schedule import Schedule
from pruning.trace import trace


def net(*layers: nn.Module, shape: tuple[int, ...] = (2,), seed: int = 0) -> Network:
    model = nn.Sequential(*layers).double()
    source = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=source, dtype=torch.float64)
    return trace(model, torch.ones(1, *shape, dtype=torch.float64))


def alive(network: Network, masks: Masks) -> bool:
    """Whether a path of kept weights that are not 0 is left: ones in their places carry a flow."""
    present = {n: (masks[n] & (w != 0)).to(w) for n, w in network.weights.items()}
    return float(network.neutralised().forward(present, torch.ones_like(network.example)).sum()) > 0


@st.composite
def chains(draw: st.DrawFn) -> Network:
    """2 to 20 layers of 1 to 8 units, with biases, and a zero here and there."""
    widths = draw(st.lists(st.integers(1, 8), min_size=3, max_size=21))
    layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]
    network = net(*layers, shape=(widths[0],), seed=draw(st.integers(0, 2**16)))
    if draw(st.booleans()):  # ties and zeros
        weights = {n: w.round().clamp(-1, 1) for n, w in network.weights.items()}
        dense = Masks.full(weights)
        network = network.with_weights(weights) if alive(network.with_weights(weights), dense) else network
    return network


def ends(network: Network, schedule: Schedule) -> Trace:
    """A run that leaves a live path after every round and one weight per layer at the end."""
    run = run_synflow(network, schedule)
    assert all(alive(network, run.masks_at(r)) for r in range(run.rounds + 1))
    assert run.masks.kept_by_layer() == [1] * len(network.graph.edges)
    return run


@settings(max_examples=25, deadline=None, derandomize=True)
@given(chains())
def test_on_chains_every_certified_schedule_ends_with_one_weight_per_layer(network: Network) -> None:
    layers, total = len(network.graph.edges), network.initial.total
    run = ends(network, mass_safe(network))
    assert bool((run.mass < run.cut).all())
    if total > layers:
        assert run.rounds <= math.floor(layers * math.log(total - layers)) + 1
    ends(network, count_safe(network))
    ends(network, hybrid(network, layers, 3))


@pytest.mark.parametrize("make", [mass_safe, count_safe, lambda n, keep=1: hybrid(n, keep, 4)])
def test_a_number_of_weights_is_reached_exactly_by_both_ways(make) -> None:
    layers = [
        nn.Conv2d(2, 4, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 5),
        nn.ReLU(),
        nn.Linear(5, 3),
    ]
    network = net(*layers, shape=(2, 6, 6))
    problem = Problem(network, None, squared_error, 0)
    for keep in (network.initial.total, 40, 4, 3):
        found, wanted = (
            prune_at_best(problem, synflow, make(network, keep)),
            prune(problem, synflow, make(network, keep)),
        )
        assert found.masks == wanted.masks and found.masks.kept == keep
        assert found.targets == wanted.targets


class Skip(nn.Module):
    """c2 c1 x + s x."""

    def __init__(self) -> None:
        super().__init__()
        self.c1, self.c2, self.s = (nn.Linear(1, 1, bias=False) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.c2(self.c1(x)) + self.s(x)


def test_beside_chains_the_mass_leaves_every_weight_on_every_live_path() -> None:
    """laws.md 8: scores s: 1/10, c1: 1, c2: 1; two weights are left where the graph would do with one."""
    network = net(Skip(), shape=(1,))
    named = dict(zip(network.weights, (1.0, 1.0, 0.1), strict=True))
    network = network.with_weights({n: torch.full_like(w, named[n]) for n, w in network.weights.items()})
    run = run_synflow(network, mass_safe(network))
    assert run.masks.kept == 2 and alive(network, run.masks)
    with pytest.raises(ValueError, match="count-safe schedule is for chains"):
        count_safe(network)


def test_a_round_that_would_prune_the_cut_itself_is_seen_whatever_rounding_says() -> None:
    """1,000 equal shares of 1/1000 add up to 1 - 1e-16 or so in some orders: the last one must stay."""
    network = net(nn.Linear(1, 1000, bias=False), nn.Linear(1000, 1, bias=False), shape=(1,))
    network = network.with_weights({n: torch.full_like(w, 0.1) for n, w in network.weights.items()})
    run = run_synflow(network, mass_safe(network))
    assert run.targets[0] == 2000 - 999
    ends(network, mass_safe(network))


def test_a_dead_network_is_left_as_it_is() -> None:
    network = net(nn.Linear(2, 2), nn.Linear(2, 1))
    network = network.with_weights({n: w * 0 for n, w in network.weights.items()})
    for way in (
        lambda plan: run_synflow(network, plan),
        lambda plan: prune(Problem(network, None, squared_error, 0), synflow, plan),
    ):
        assert way(mass_safe(network)).rounds == 0


@pytest.mark.parametrize("pruner", [magnitude, random])
def test_without_an_objective_there_is_no_mass_to_go_by(pruner) -> None:
    network = net(nn.Linear(2, 2), nn.Linear(2, 1))
    problem = Problem(network, None, squared_error, 0)
    for way in (prune, prune_at_best):
        with pytest.raises(ValueError, match=f"goes by shares of R, and '{pruner.name}' has no objective"):
            way(problem, pruner, mass_safe(network))
