"""Attention that is wrong on purpose: by distance, with a sink, to values of one length, by no rotation."""

from __future__ import annotations

import torch
from torch import Tensor

from pruning.graph import Graph
from theory.impostors.modules import Op, Swap, each, swapped
from theory.networks.modules import rotated
from theory.nodes.heads import heads_of


def _scores(change: Op) -> Swap:
    """Replace the product of queries and keys."""
    return lambda graph: {heads.q[0]: change for heads in heads_of(graph) if heads.turned}


def _distances(q: Tensor, k: Tensor) -> Tensor:
    """Minus half the squared distances: (..., tokens, width) and (..., width, tokens)."""
    return q @ k - (q.square().sum(-1, keepdim=True) + k.square().sum(-2, keepdim=True)) / 2


def _unit_values(graph: Graph) -> dict[str, Op]:
    """Values of length 1."""

    def run(weights: Tensor, v: Tensor) -> Tensor:
        return weights @ (v / (v.square().sum(-1, keepdim=True) + 0.125).sqrt())

    return {heads.mixed: run for heads in heads_of(graph) if heads.turned}


def _with_sink(graph: Graph) -> dict[str, Op]:
    """A token to attend to that is not there."""

    def run(scores: Tensor, axis: int) -> Tensor:
        return torch.cat([scores, torch.zeros_like(scores[..., :1])], axis).softmax(axis)[..., :-1]

    return {heads.node.name: run for heads in heads_of(graph) if heads.turned}


def _first_copy(x: Tensor, count: int, axis: int) -> Tensor:
    """Copies of each head, the first of which alone is trained."""
    copies = [x, *[x.detach()] * (count - 1)]
    return torch.stack(copies, axis + 1).flatten(axis, axis + 1)


def _mirrored(x: Tensor) -> Tensor:
    """Rotary embedding with the sign of one sine wrong: no rotation."""
    half = x.shape[-1] // 2
    backward = rotated(torch.cat([-x[..., :half], x[..., half:]], -1))
    return torch.cat([rotated(x)[..., :half], backward[..., half:]], -1)


distances = swapped("attention by distance", _scores(_distances))
unit_values = swapped("attention to values of length 1", _unit_values)
with_sink = swapped("attention with a sink", _with_sink)
first_copy = swapped("shared keys trained by their first query", each("repeat_interleave", lambda op: _first_copy))
mirrored = swapped("rotary embedding with a wrong sign", each("rotated", lambda op: _mirrored))
