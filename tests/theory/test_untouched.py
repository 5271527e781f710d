"""What asking leaves changed: choices and scorers that touch what they are given, and such that don't."""

import numpy as np
import pytest
import torch

from pruning.masks import global_top_k
from pruning.pruner import Pruner, masking, scored
from pruning.pruners.synflow import synflow
from theory.suite import check_pruner


def broken(pruner: Pruner, law: str) -> list[str]:
    return [v.where or "" for v in check_pruner(pruner, laws=[law], examples=1) if v.failed]


def by_size(network, state, keep):
    return global_top_k({n: w.abs() for n, w in state.effective.items()}, state.masks, keep)


def doubling(network, state, keep, probe):
    for weight in network.weights.values():
        weight.mul_(2)
    return by_size(network, state, keep)


def filling(network, state, keep, probe):
    chosen = by_size(network, state, keep)
    for mask in state.masks.values():
        mask.fill_(False)
    return chosen


def drawing(network, state, keep, probe):
    torch.rand(1)
    return by_size(network, state, keep)


def drawing_from_numpy(network, state, keep, probe):
    np.random.rand()
    return by_size(network, state, keep)


def setting_a_dtype(network, state, keep, probe):
    torch.set_default_dtype(torch.float64)
    return by_size(network, state, keep)


def rescaling_the_batch(network, state, keep, probe):
    inputs, _ = probe.batch()
    inputs.mul_(3)
    return by_size(network, state, keep)


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (doubling, "choosing changed weight "),
        (filling, "choosing changed mask "),
        (drawing, "choosing changed torch's random state"),
        (drawing_from_numpy, "choosing changed numpy's random state"),
        (setting_a_dtype, "choosing changed torch's default dtype"),
        (rescaling_the_batch, "choosing changed the batch's inputs"),
    ],
)
def test_a_choice_that_touches_what_it_is_given_is_seen(choice, said) -> None:
    found = broken(masking("mine", choice), "M7")
    assert found and all(text.startswith(said) for text in found)


def strided(network, state, probe):
    """Scores that don't lie in memory as the weights do."""
    return {n: w.abs().transpose(0, -1).contiguous().transpose(0, -1) for n, w in state.effective.items()}


def undefined(network, state, probe):
    return {n: w * torch.nan for n, w in state.effective.items()}


@pytest.mark.parametrize("score", [strided, undefined])
def test_a_choice_that_touches_nothing_passes_whatever_its_scores_are(score) -> None:
    pruner = scored("mine", score, select=lambda scores, masks, keep: masks)
    assert not broken(pruner, "M7") and not broken(pruner, "B14")


def test_a_choice_may_write_into_what_is_its_own() -> None:
    def choose(network, state, keep, probe):
        own = {n: w.abs().clone() for n, w in state.effective.items()}
        for score in own.values():
            score.add_(1)
        return global_top_k(own, state.masks, keep)

    assert not broken(masking("mine", choose), "M7")
    assert not broken(synflow, "M7")
