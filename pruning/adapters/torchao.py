"""Sparsifiers of torchao, such as Wanda: the masks they come to on one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import nn

from pruning.inplace import in_place
from pruning.problem import Probe
from pruning.pruner import Claim, Pruner


def torchao(make: Callable[[float], Any], *, name: str | None = None, claims: Iterable[Claim] = ()) -> Pruner:
    """A sparsifier: make(sparsity) is given the fraction to prune, such as lambda s: WandaSparsifier(sparsity_level=s).

    It is prepared on the weights of every linear layer, sees the batch once, and makes one step. The other weights are
    kept whole, so its counts are of the linear layers alone.
    """

    def call(model: nn.Module, keep: int, probe: Probe) -> None:
        layers = [path for path, layer in model.named_modules() if type(layer) is nn.Linear]
        total = sum(p.numel() for n, p in model.named_parameters() if n.endswith("weight"))
        sparsifier = make(1 - keep / total)
        sparsifier.prepare(model, [{"tensor_fqn": f"{path}.weight"} for path in layers])
        model(probe.batch()[0])
        sparsifier.step()

    return in_place(name or str(getattr(make, "__name__", "a sparsifier of torchao")), call, claims=claims)
