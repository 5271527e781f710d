"""Norms that are wrong on purpose: constant statistics, no mean, a gain that counts from 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pruning.graph import Graph
from pruning.pruners.synflow import flow
from theory.impostors.modules import Op, Swap, swapped
from theory.impostors.scores import CLAIMS
from theory.nodes.norms import Norm, affines_of, norms_of


def _rewritten(still: bool = False, centred: bool | None = None, plus: float = 0.0) -> Callable[[Norm], Op]:
    """A norm by its formula: statistics as constants, the mean not taken off, or a gain that counts from 1."""

    def made(norm: Norm) -> Op:
        at = {"instance_norm": 0, "batch_norm": 0}.get(norm.kind, 1)

        def run(x: Tensor, *rest: Any) -> Tensor:
            gain, shift = rest[at], None if norm.kind == "rms_norm" else rest[at + 1]
            z = _normalised(norm, x, still, norm.centred if centred is None else centred)
            return _affine(norm, z, gain + plus, shift)

        return run

    return made


def _affine(norm: Norm, z: Tensor, gain: Tensor, shift: Tensor | None) -> Tensor:
    y = z * norm.spread(gain.unsqueeze(0), z.unsqueeze(0))[0]
    return y if shift is None else y + norm.spread(shift.unsqueeze(0), z.unsqueeze(0))[0]


def _normalised(norm: Norm, x: Tensor, still: bool, centred: bool) -> Tensor:
    shaped = x.reshape(len(x), norm.axes, -1) if norm.kind == "group_norm" else x
    last = range(x.dim() - norm.axes, x.dim())
    axes = {"batch_norm": (0, *range(2, x.dim())), "group_norm": (2,), "instance_norm": tuple(range(2, x.dim()))}
    over = axes.get(norm.kind, tuple(last))
    mean = shaped.mean(over, keepdim=True)
    z = shaped - (mean.detach() if still else mean) if centred else shaped
    power = z.square().mean(over, keepdim=True)
    eps = torch.finfo(x.dtype).eps if norm.eps is None else norm.eps
    return (z * ((power.detach() if still else power) + eps).rsqrt()).reshape(x.shape)


def _norms(change: Callable[[Norm], Op], kinds: str = "layer_norm group_norm rms_norm") -> Swap:
    """Replace norms that are single operators."""
    return lambda graph: {n.node.name: change(n) for n in norms_of(graph) if n.node.kind in kinds.split()}


def _running(norm: Norm) -> Op:
    """Statistics from elsewhere: mean 0 and variance 1."""

    def run(x: Tensor, gain: Tensor, shift: Tensor, *rest: object) -> Tensor:
        return _affine(norm, x / (1 + (norm.eps or 0)) ** 0.5, gain, shift)

    return run


def _of_the_batch(graph: Graph) -> dict[str, Op]:
    """Batch norm sold as in evaluation, which goes by the batch all the same."""

    def run(x: Tensor, scale: Tensor) -> Tensor:
        axes = (0, *range(2, x.dim()))
        return (x - x.mean(axes, keepdim=True)) * (x.var(axes, correction=0, keepdim=True) + 0.125).rsqrt() * scale

    return {affine.product.name: run for affine in affines_of(graph)}


def _keys_gained(graph: Graph) -> dict[str, Op]:
    """The gain of the keys' norm counts from 1."""
    keys = {n.node.name: n for n in norms_of(graph) if n.node.where and n.gain and n.gain.endswith("k.gain")}
    return {name: _rewritten(plus=1.0)(norm) for name, norm in keys.items()}


KINDS = "batch_norm instance_norm layer_norm group_norm rms_norm"
gain_from_one = swapped("norms of gain 1 + g", _norms(_rewritten(plus=1.0), KINDS))
of_the_batch = swapped("evaluation by the batch's statistics", _of_the_batch)
in_training = swapped("SynFlow with norms in training", _of_the_batch, of=flow, claims=CLAIMS)
running = swapped("training by running statistics", _norms(_running, "batch_norm instance_norm"))
still_batch = swapped("batch norm by constant statistics", _norms(_rewritten(still=True), "batch_norm instance_norm"))
still_norm = swapped("layer norm by constant statistics", _norms(_rewritten(still=True)))
uncentred = swapped("layer norm without the mean", _norms(_rewritten(centred=False), "layer_norm group_norm"))
keys_gained = swapped("a norm of keys of gain 1 + g", _keys_gained)
