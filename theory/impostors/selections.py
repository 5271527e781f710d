"""Pruners whose selection is wrong on purpose, as seen in public code."""

from dataclasses import replace

import torch
from torch import Tensor

from pruning.masks import Masks, Tensors, global_top_k
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


def _layer_by_layer(scores: Tensors, masks: Masks, k: int) -> Masks:
    """As many weights in all, but each layer's own largest: what is left over goes to the last layers."""
    found, left, alive = dict[str, Tensor](), k, masks.kept
    for name, mask in masks.items():
        here = int(mask.sum())
        share = left * here // alive if alive else 0
        found |= global_top_k({name: scores[name]}, Masks({name: mask}), share)
        left, alive = left - share, alive - here
    return Masks(found)


by_threshold = replace(synflow, name="SynFlow by threshold", select=_by_threshold)
one_too_many = replace(synflow, name="SynFlow that prunes one too many", select=_one_too_many)
layer_by_layer = replace(synflow, name="SynFlow layer by layer", select=_layer_by_layer)
unpinned = replace(random, name="random that revives", select=_unpinned)
untouched = replace(synflow, name="SynFlow that prunes nothing", select=_untouched)
