"""Tracing a sharded module: a Network of the parts that this process holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.utils import parametrize

from pruning.errors import ModelError
from pruning.held import pruned
from pruning.masks import Masks
from pruning.network import Network, Together
from pruning.sharded.part import Part
from pruning.sharded.parts import Parts, first_failure
from pruning.sharded.plain import plain_copy
from pruning.trace import Traced, traced


def trace_sharded(model: nn.Module, example: Tensor) -> Network:
    """The network that a module of DTensors computes, such as fully_shard and parallelize_module make.

    All processes must call it, with the same example, and all that is done with the network they must do together.
    Its weights are this process's parts; a layer is gathered while it runs, and none is kept whole. The module is not
    changed. Raises ModelError as `trace` does, and for placements, masks and parametrizations that are not understood.
    """
    _refuse_strangers(example)
    made, told = None, ""
    try:
        made = _read(model, example)
    except ModelError as error:
        told = str(error)
    if told := first_failure(told):  # or the others would wait for this one
        raise ModelError(told)
    assert made is not None
    found, own = made
    parts = _parts(found, own)
    local = {n: p.to_local().detach() for n, p in own.items()}
    _refuse_misread(parts, local)
    weights = {n: local.get(n, w) for n, w in found.weights.items()}
    for name, weight in weights.items():
        if name not in local and not same_everywhere(weight, parts):
            raise ModelError(f"{name!r} is not sharded and not the same on all processes")
    fixed = {n: local[n] if n in local else _of_the_first(t) for n, t in found.fixed.items()}
    norms = {n: t if n in local else _of_the_first(t) for n, t in found.norms.items()}
    neutral = {n: replace(found, norms=norms).neutral_of(n, t) for n, t in fixed.items()}
    initial = Masks.full(weights)
    return Network(found.graph, weights, fixed, neutral, example, initial, found.unpruned, found.turns, together=parts)


def _read(model: nn.Module, example: Tensor) -> tuple[Traced, dict[str, Any]]:
    """What is read off a plain copy, and the sharded parameters in it."""
    plain = plain_copy(model).eval().requires_grad_(False)
    for path, module in plain.named_modules():
        if parametrize.is_parametrized(module) or pruned(module):
            raise ModelError(f"{path!r} has masks or parametrizations; take them into its weights before it is sharded")
    found = traced(plain, example)
    read = {**found.weights, **found.fixed}
    own = {n: p for n, p in model.named_parameters() if isinstance(p, DTensor) and p.dim() > 1 and n in read}
    _refuse_made_of_parts(found, set(own))
    return found, own


def _of_the_first(tensor: Tensor) -> Tensor:
    """Biases and norms' statistics as the first process has them: without synchronised norms each has its own."""
    found = tensor.detach().clone(memory_format=torch.contiguous_format)
    torch.distributed.broadcast(found, src=0)
    return found


def same_kind(tensor: Tensor | None) -> bool:
    """Whether all processes have tensors of one shape and type, or none; all of them must ask."""
    kinds = [""] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(kinds, "" if tensor is None else f"{tuple(tensor.shape)} {tensor.dtype}")
    return len(set(kinds)) == 1


def same_everywhere(tensor: Tensor, together: Together) -> bool:
    """Whether all processes have the same numbers; all of them must ask."""
    if not same_kind(tensor):
        return False
    first = tensor.detach().clone()
    torch.distributed.broadcast(first, src=0)
    return not int(together.summed(torch.tensor(int(not _same(first, tensor)), device=tensor.device)))


def _parts(found: Traced, own: Mapping[str, DTensor]) -> Parts:
    sizes = [0, *(w.numel() for w in found.weights.values())]
    first = dict(zip(found.weights, accumulate(sizes), strict=False))
    return Parts({n: Part.of(n, p) for n, p in own.items()}, first)


def _refuse_strangers(example: Tensor) -> None:
    if not torch.distributed.is_initialized():
        raise ModelError("the model is sharded and torch.distributed is not initialised; run it as it was sharded")
    if isinstance(example, DTensor):
        raise ModelError("the example input is a DTensor; wanted a plain tensor, the same on every process")


def _refuse_made_of_parts(found: Traced, own: set[str]) -> None:
    """What is sharded is stood in for by NaN, so that whatever is computed of it is NaN as well."""
    for name, tensor in {**found.weights, **found.fixed, **found.norms}.items():
        if name not in own and tensor.is_floating_point() and bool(tensor.isnan().any()):
            raise ModelError(f"{name!r} is computed of sharded parameters, or holds NaN; it can't be scored in parts")


def _refuse_misread(parts: Parts, local: dict[str, Tensor]) -> None:
    """Raise ModelError, on all processes, unless each part is where it is thought to be in the whole."""
    for name, tensor in local.items():
        part = parts.of[name]
        right = tuple(tensor.shape) == part.size and _same(part.own(part.whole(tensor)), tensor)
        wrong = parts.summed(torch.tensor(int(not right), device=tensor.device))
        if int(wrong):
            raise ModelError(f"{name!r} is not placed as {', '.join(map(str, part.placements))} says")


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)
