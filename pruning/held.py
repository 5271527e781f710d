"""Held: where the parameters of a module lie, what masks them, and what they are then."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils import prune as torch_prune

from pruning.errors import ModelError

Place = tuple[nn.Module, str]  # a module, and the name of one of its own parameters


def places(model: nn.Module) -> dict[str, list[Place]]:
    """Where each parameter lies, by the name it has without masks and parametrizations: modules, and its names there.

    A parameter of several names (tied) goes by the first.
    """
    wrapped = [module for module in model.modules() if parametrize.is_parametrized(module)]
    inner = {part for module in wrapped for part in chains(module).modules()}
    first: dict[int, str] = {}
    found: dict[str, list[Place]] = {}
    for path, module in model.named_modules():
        for own, parameter in _held(module) if module not in inner else ():
            name = first.setdefault(id(parameter), f"{path}.{own}" if path else own)
            found.setdefault(name, []).append((module, own))
    return found


def _held(module: nn.Module) -> Iterator[tuple[str, object]]:
    """A module's own parameters by name, and what makes them one with others."""
    masked = pruned(module)
    for name, parameter in module._parameters.items():
        if parameter is not None and name not in [f"{m}_orig" for m in masked]:
            yield name, parameter
    for name in parametrized(module):
        yield name, getattr(chains(module)[name], "original", chains(module)[name])
    for name in masked:
        yield name, module.get_parameter(f"{name}_orig")


def parametrized(module: nn.Module) -> list[str]:
    """Names of the module's own parameters that have parametrizations."""
    if not parametrize.is_parametrized(module):
        return []
    return [name for name in chains(module) if any(True for _ in chains(module)[name].parameters(recurse=False))]


def chains(module: nn.Module) -> nn.ModuleDict:
    """The parametrizations of a module that has some, by the name of what they make."""
    found = module.parametrizations
    assert isinstance(found, nn.ModuleDict)
    return found


def pruned(module: nn.Module) -> list[str]:
    """Names of the module's own parameters that torch.nn.utils.prune masks."""
    hooks = module._forward_pre_hooks.values()
    return [hook._tensor_name for hook in hooks if isinstance(hook, torch_prune.BasePruningMethod)]


def mask_on(module: nn.Module, name: str) -> Tensor | None:
    """The mask that one of a module's own parameters has, if any: boolean, True is kept.

    Of a parametrized one: buffers called `mask` of its parametrizations, where it is 0 as they are.
    """
    if name in pruned(module):
        return module.get_buffer(f"{name}_mask").bool()
    if name not in parametrized(module):
        return None
    made = value_on(module, name)
    buffers = [getattr(part, "mask", None) for part in chains(module)[name].children()]
    masks = [b.bool() for b in buffers if isinstance(b, Tensor) and b.shape == made.shape]
    masks = [mask for mask in masks if not made[~mask].any()]
    return functools.reduce(torch.logical_and, masks) if masks else None


def value_on(module: nn.Module, name: str) -> Tensor:
    """What one of a module's own parameters is in evaluation mode, masks and parametrizations included."""
    with torch.no_grad():
        if name in parametrized(module):
            made: Tensor = copy.deepcopy(chains(module)[name]).eval()()  # some change as they run
            return made
        if name in pruned(module):
            return module.get_parameter(f"{name}_orig") * module.get_buffer(f"{name}_mask")
        return module.get_parameter(name).detach()


def refuse_without_values(name: str, tensor: Tensor) -> None:
    """Raise ModelError for a tensor that is lazy, sharded, quantised or on meta: it has no plain values."""
    if nn.parameter.is_lazy(tensor):
        raise ModelError(f"{name!r} has no shape yet; run the model once, so that its lazy layers take theirs")
    if type(tensor) not in (nn.Parameter, Tensor, nn.Buffer):
        raise ModelError(
            f"{name!r} is a {type(tensor).__name__}; weights of that kind (sharded or quantised) "
            "can't be swapped for scoring. Give the plain, gathered model; prunelaws.problem takes sharded ones"
        )
    if tensor.is_meta:
        raise ModelError(f"{name!r} lies on the meta device and has no values; load the weights first")
