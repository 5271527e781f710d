"""Watched: tensors that tell when their numbers are read; to ask for their shape is no use of data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

# none of these needs a number: what they give is watched as well, or new
_FREE = {
    "__get__", "__getitem__", "__len__", "size", "dim", "ndimension", "numel", "nelement", "stride",
    "is_floating_point", "is_contiguous", "contiguous", "get_device", "to", "cpu", "cuda", "double", "float", "type",
    "type_as", "view", "reshape", "unsqueeze", "squeeze", "flatten", "ones_like", "zeros_like", "empty_like",
    "new_ones", "new_zeros",
}  # fmt: skip
_MADE_NEW = {"ones_like", "zeros_like", "empty_like", "new_ones", "new_zeros"}


class Watched(Tensor):
    """A tensor that calls `told` when an operator reads its numbers, or those of a part of it."""

    told: Callable[[], object]

    @classmethod
    def over(cls, tensor: Tensor, told: Callable[[], object]) -> Watched:
        """The same numbers, watched."""
        made = tensor.detach().as_subclass(cls)
        made.told = told
        return made

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        told = next(a.told for a in tree_leaves([args, kwargs]) if isinstance(a, Watched))
        with torch._C.DisableTorchFunctionSubclass():
            given, named = tree_map(_bare, (args, kwargs or {}))
            made = func(*given, **named)
        if func.__name__ not in _FREE:
            told()
        elif isinstance(made, Tensor) and func.__name__ not in _MADE_NEW:
            return cls.over(made, told)
        return made


def _bare(value: Any) -> Any:
    return value.as_subclass(Tensor) if isinstance(value, Watched) else value
