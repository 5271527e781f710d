"""Importances of torch-pruning: one number per group of channels, as a score that all weights into a channel share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from pruning.network import Network
from pruning.problem import Probe
from pruning.pruner import Claim, Pruner, State, scored
from pruning.rebuilt import Rebuilt


def torch_pruning(
    importance: Callable[[Any], Tensor], *, name: str | None = None, slopes: bool = False, claims: Iterable[Claim] = ()
) -> Pruner:
    """An importance, such as GroupMagnitudeImportance(p=2), of every group of the network's dependency graph.

    slopes: run the loss of the batch backward first, for importances that read gradients. A weight whose channel the
    package prunes in no group scores 0. Raises ImportError without the package torch-pruning.
    """
    from torch_pruning import DependencyGraph  # type: ignore[import-untyped]

    def score(network: Network, state: State, probe: Probe) -> dict[str, Tensor]:
        model = Rebuilt(network, state.effective).eval()
        with torch.enable_grad():
            if slopes:
                inputs, targets = probe.batch()
                probe.criterion(model(inputs), targets).backward()  # type: ignore[no-untyped-call]
            graph = DependencyGraph().build_dependency(model, network.example)
        names = {layer: f"{path}.weight" for path, layer in model.named_modules()}
        found = {n: torch.zeros_like(w) for n, w in state.weights.items()}
        for group in graph.get_all_groups(root_module_types=[nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d]):
            layer, channels = group[0].dep.target.module, group[0].root_idxs
            per_channel = importance(group)
            weight = names[layer]
            if per_channel is not None and weight in found:
                axis = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
                shape = [-1 if i == axis else 1 for i in range(found[weight].dim())]
                spread = per_channel.detach().to(found[weight]).reshape(shape).expand_as(found[weight])
                found[weight] = found[weight].index_copy(axis, torch.tensor(channels), spread)
        return found

    return scored(name or type(importance).__name__, score, claims=claims)
