"""Pruners whose selection is wrong on purpose, as seen in public code."""

from dataclasses import replace

import torch

from pruning.masks import Masks, Tensors, global_top_k, layer_top_k
from pruning.network import Network
from pruning.problem import Probe
from pruning.pruner import Claim, State, masking
from pruning.pruners.random import random
from pruning.pruners.synflow import synflow


def _by_threshold(scores: Tensors, masks: Masks, k: int) -> Masks:
    """Keep what is above the k-th score from below: every tie at the threshold is pruned."""
    flat = torch.cat([scores[n].flatten() for n in masks])
    prune = flat.numel() - k
    if prune < 1:
        return masks
    threshold = flat.kthvalue(prune).values
    return Masks({n: (scores[n] > threshold) & masks[n] for n in masks})


def _one_too_many(scores: Tensors, masks: Masks, k: int) -> Masks:
    return global_top_k(scores, masks, max(k - 1, 0))


def _untouched(scores: Tensors, masks: Masks, k: int) -> Masks:
    return masks


def _unpinned(scores: Tensors, masks: Masks, k: int) -> Masks:
    return global_top_k(scores, Masks.full(scores), k)


def _writing(scores: Tensors, masks: Masks, k: int) -> Masks:
    """The scores of what was pruned are set to less than any other, where they stand."""
    for name, score in scores.items():
        score[~masks[name]] = -torch.inf
    return global_top_k({n: s.nan_to_num(neginf=0) for n, s in scores.items()}, masks, k)


def _drawn(network: Network, state: State, keep: int, probe: Probe) -> Masks:
    """Any that are left, by torch's own generator."""
    return global_top_k({n: torch.rand(m.shape) for n, m in state.masks.items()}, state.masks, keep)


def _largest_as_trained(network: Network, state: State, keep: int, probe: Probe) -> Masks:
    """The largest after a step down the loss of the batch."""
    slopes = probe.grad(network, state.effective)
    return global_top_k({n: (w - slopes[n]).abs() for n, w in state.effective.items()}, state.masks, keep)


by_threshold = replace(synflow, name="SynFlow by threshold", select=_by_threshold)
one_too_many = replace(synflow, name="SynFlow that prunes one too many", select=_one_too_many)
layer_by_layer = replace(synflow, name="SynFlow layer by layer", select=layer_top_k)
unpinned = replace(random, name="random that revives", select=_unpinned)
untouched = replace(synflow, name="SynFlow that prunes nothing", select=_untouched)
writing_choice = replace(synflow, name="SynFlow that writes into its scores to select", select=_writing)
unseeded_choice = masking("masks drawn without a seed", _drawn, claims=Claim)
data_reading = masking("largest after a step", _largest_as_trained, claims=Claim)
