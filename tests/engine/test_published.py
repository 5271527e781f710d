"""The published pattern of SynFlow on a full-size network (Tanaka et al. 2020, figure 6), in few rounds."""

import pytest
import torch

from pruning.fast.best import prune_at_best
from pruning.masks import keep_count
from pruning.models import make
from pruning.network import Network
from pruning.problem import Problem, squared_error
from pruning.pruner import Pruner
from pruning.pruners.magnitude import magnitude
from pruning.pruners.synflow import synflow
from pruning.rounds import Trace
from pruning.schedule import exponential
from pruning.trace import trace

ROUNDS = 10  # the paper's 100 give the same pattern, and with 5 the layers still differ by the factor 6


@pytest.fixture(scope="module")
def vgg16() -> Network:
    model, example = make("vgg16_bn", seed=0)
    return trace(model, example).to(dtype=torch.float64)


def pruned(network: Network, pruner: Pruner, compression: int, rounds: int) -> Trace:
    total = network.initial.total
    schedule = exponential(total, keep_count(total, 1 / compression), rounds)
    return prune_at_best(Problem(network, None, squared_error, 0), pruner, schedule)


def test_at_100_synflow_keeps_as_much_in_each_layer_but_the_first(vgg16):
    first, *others = pruned(vgg16, synflow, 100, ROUNDS).kept[-1].tolist()
    assert first + sum(others) == 147_617
    assert 1_550 < first < 1_728
    assert all(10_000 < kept < 12_000 for kept in others)


def test_at_1000_magnitude_empties_layers(vgg16):
    kept = pruned(vgg16, magnitude, 1000, 1).kept[-1].tolist()
    assert sum(kept) == 14_762
    assert 3 <= kept.count(0) <= 6
