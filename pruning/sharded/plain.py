"""A plain copy of a sharded model, to be traced: what is sharded is stood in for, and no hook of torch's shards."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from pruning.errors import ModelError, retold


def plain_copy(model: nn.Module) -> nn.Module:
    """A copy without shards or their hooks: of more than one axis stands NaN for what is sharded, without memory.

    What has one axis is gathered. Raises ModelError for a module that can't be copied.
    """
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()  # after a forward pass the root holds its parameters whole
    memo: dict[int, Any] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        if isinstance(tensor, DTensor):
            memo[id(tensor)] = _stand_in(tensor)
    for module in reversed(list(model.modules())):  # what a module holds before itself
        memo[id(module)] = _copied(module, memo)
    made: nn.Module = memo[id(model)]
    return made


def _stand_in(tensor: DTensor) -> Tensor:
    if tensor.dim() < 2:
        made: Tensor = tensor.detach().full_tensor()  # type: ignore[attr-defined]
    elif not tensor.is_floating_point():
        raise ModelError(f"a sharded tensor of {tensor.dtype} and shape {tuple(tensor.shape)} can't be stood in for")
    else:
        made = torch.full((), torch.nan, dtype=tensor.dtype, device=tensor.device).expand(tensor.shape)
    return nn.Parameter(made, requires_grad=False) if isinstance(tensor, nn.Parameter) else made


def _copied(module: nn.Module, memo: dict[int, Any]) -> nn.Module:
    kind = next(c for c in type(module).__mro__ if not issubclass(c, FSDPModule))
    made = cast(nn.Module, kind.__new__(kind))
    kept = {k: v for k, v in vars(module).items() if not k.startswith("__composable_api")}
    kept |= {k: _others(v) for k, v in kept.items() if "_hooks" in k and isinstance(v, OrderedDict)}
    try:
        vars(made).update(copy.deepcopy(kept, memo))
    except Exception as error:
        raise ModelError(f"{type(module).__name__} can't be copied without its shards: {retold(error)}") from error
    return made


def _others(hooks: OrderedDict[Any, Any]) -> OrderedDict[Any, Any]:
    """Hooks that are none of torch.distributed's."""
    return OrderedDict((k, h) for k, h in hooks.items() if not str(_home(h)).startswith("torch.distributed."))


def _home(hook: object) -> object:
    function = getattr(hook, "func", hook)
    return getattr(function, "__module__", None) or getattr(type(function), "__module__", None)
