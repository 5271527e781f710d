"""Unwrap: a plain copy of a module, its hooks and parametrizations taken into the weights."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils import prune as torch_prune

from pruning.errors import ModelError, retold
from pruning.held import chains, mask_on, parametrized, places, pruned, refuse_without_values, value_on


def refuse_unscorable(model: nn.Module, example: Tensor) -> None:
    """Raise ModelError for what can't be scored: lazy, sharded, quantised, on meta, or of another device or dtype."""
    if not isinstance(model, nn.Module) or not isinstance(example, Tensor):
        raise ModelError(f"got {type(model).__name__} and {type(example).__name__}, wanted an nn.Module and one tensor")
    tensors = [*model.named_parameters(), *model.named_buffers()]
    for name, tensor in tensors:
        refuse_without_values(name, tensor)
        if tensor.device != example.device:
            raise ModelError(f"{name!r} lies on {tensor.device} and the example input on {example.device}; move one")
    if example.dim() < 1 + example.is_floating_point():
        raise ModelError(
            f"the example input has shape {tuple(example.shape)}; wanted a batch, samples along its first axis"
        )
    # torch.export does not mind, and the first run would
    types = {tensor.dtype for _, tensor in tensors if tensor.is_floating_point()}
    if types and example.is_floating_point() and example.dtype not in types:
        raise ModelError(
            f"the example input is {example.dtype} and the weights of {type(model).__name__} are "
            f"{', '.join(sorted(map(str, types)))}; convert one"
        )


def copied(model: nn.Module) -> nn.Module:
    """A deep copy. Tensors that hooks compute (weight = weight_orig * mask) are copied as values: deepcopy refuses."""
    held = [value for module in model.modules() for value in vars(module).values()]
    derived = {id(t): t.detach().clone() for t in held if isinstance(t, Tensor) and not t.is_leaf}
    try:
        return copy.deepcopy(model, derived)
    except Exception as error:
        raise ModelError(
            f"{type(model).__name__} can't be copied, and scoring must not touch the original: {retold(error)}"
        ) from error


def unwrap(model: nn.Module) -> dict[str, Tensor]:
    """Bake pruning hooks and parametrizations into plain weights; the masks found, by weight name.

    Raises ModelError where a weight that is used under several names has another value under one of them.
    """
    masks: dict[str, Tensor] = {}
    tied = _tied_values(model)
    for path, module in model.named_modules():
        dot = path + "." if path else ""
        for name in [*parametrized(module), *pruned(module)]:
            mask = mask_on(module, name)
            if mask is not None:
                masks[dot + name] = mask
        if parametrize.is_parametrized(module):
            _bake(module)
        for name in pruned(module):
            torch_prune.remove(module, name)  # type: ignore[no-untyped-call]
    for name, module, own, value in tied:
        if not torch.allclose(getattr(module, own), value, rtol=0, atol=0, equal_nan=True):
            raise ModelError(
                f"{name!r} is one parameter with others (tied) but its masks or parametrizations are not; "
                "give it the same ones wherever it is used"
            )
    return masks


def _tied_values(model: nn.Module) -> list[tuple[str, nn.Module, str, Tensor]]:
    return [
        (name, module, own, value_on(module, own).clone())
        for name, found in places(model).items()
        if len(found) > 1
        for module, own in found
    ]


def _bake(module: nn.Module) -> None:
    # a parametrization is a property of a class made for one module, and a deep copy shares that class:
    # taken off there, it would be gone from the original as well
    shared = type(module)
    module.__class__ = type(shared.__name__, shared.__bases__, dict(vars(shared)))
    for name in list(chains(module)):
        parametrize.remove_parametrizations(module, name, leave_parametrized=True)
