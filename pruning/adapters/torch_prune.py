"""torch.nn.utils.prune as pruners: its methods over all layers at once, or layer by layer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from torch import nn
from torch.nn.utils import prune

from pruning.inplace import in_place, owners
from pruning.problem import Probe
from pruning.pruner import Claim, Pruner


def torch_global(method: type[prune.BasePruningMethod], *, claims: Iterable[Claim] = ()) -> Pruner:
    """global_unstructured with a method such as L1Unstructured; it is asked for a number of weights, and gives that."""
    if not (isinstance(method, type) and issubclass(method, prune.BasePruningMethod)):
        raise TypeError(f"the method is {method!r}, wanted a class of torch.nn.utils.prune such as L1Unstructured")

    def call(model: nn.Module, keep: int, probe: Probe) -> None:
        found, alive = _weights(model)
        prune.global_unstructured(found, pruning_method=method, amount=alive - keep)

    return in_place(f"torch.nn.utils.prune.{method.__name__}, global", call, claims=claims, masked=True)


def torch_local(function: Callable[..., Any], *, claims: Iterable[Claim] = (), **options: Any) -> Pruner:
    """A function such as l1_unstructured or ln_structured on each layer, with the same share of each.

    options: what the function takes besides, such as n and dim. Counts are rounded by layer, or by channel.
    """
    if not callable(function):
        raise TypeError(f"what is to prune is {function!r}, wanted a function of torch.nn.utils.prune")
    try:
        inspect.signature(function).bind(nn.Linear(1, 1), "weight", amount=0.5, **options)
    except TypeError as error:
        name = getattr(function, "__name__", function)
        raise TypeError(
            f"{name}(layer, 'weight', amount=...) can't be called with options {options}: {error}; "
            "wanted a function such as l1_unstructured, and what it takes besides"
        ) from None

    def call(model: nn.Module, keep: int, probe: Probe) -> None:
        found, alive = _weights(model)
        for layer, name in found:
            function(layer, name, amount=1 - keep / alive if alive else 0, **options)

    return in_place(f"torch.nn.utils.prune.{function.__name__}", call, claims=claims, masked=True)


def _weights(model: nn.Module) -> tuple[list[tuple[nn.Module, str]], int]:
    """Each layer with the name of its weight, all of which are masked already, and how many weights are alive."""
    masked = [n.removesuffix("_mask") for n, _ in model.named_buffers() if n.endswith("_mask")]
    found = [(layer, name) for layer, name, _ in owners(model, masked)]
    return found, sum(int(layer.get_buffer(f"{name}_mask").sum()) for layer, name in found)
