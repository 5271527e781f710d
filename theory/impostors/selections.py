"""Pruners whose selection is wrong on purpose, as seen in public code."""

from dataclasses import replace

import torch

from pruning.masks import Masks, Tensors, global_top_k, layer_top_k
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


by_threshold = replace(synflow, name="SynFlow by threshold", select=_by_threshold)
one_too_many = replace(synflow, name="SynFlow that prunes one too many", select=_one_too_many)
layer_by_layer = replace(synflow, name="SynFlow layer by layer", select=layer_top_k)
unpinned = replace(random, name="random that revives", select=_unpinned)
untouched = replace(synflow, name="SynFlow that prunes nothing", select=_untouched)
