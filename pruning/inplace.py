"""In place: pruners that change a module, or return masks for one; what they did is read off it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from pruning.masks import Tensors
from pruning.network import Network
from pruning.problem import Probe
from pruning.pruner import Claim, Pruner, State, masking
from pruning.rebuilt import Rebuilt
from pruning.surroundings import as_they_were, reseed
from pruning.unwrap import unwrap

Call = Callable[[nn.Module, int, Probe], Any]


def in_place(name: str, call: Call, *, claims: Iterable[Claim] = (), rounds: int = 1, masked: bool = False) -> Pruner:
    """A pruner that changes a module: call(model, keep, probe) prunes `model` down to `keep` weights in all.

    The model holds torch's own linear and convolution layers, in evaluation mode, its weights under the network's
    names and pruned ones 0; it is the call's to change. `masked` gives it pruned weights as torch.nn.utils.prune does,
    with masks beside them. What was pruned is read from such masks and those of parametrizations (buffers called
    `mask`), where there are any; else from weights that are 0 afterwards, parametrizations included; or from boolean
    tensors by weight name, where the call returns a mapping of these. What it draws from the CPU's generators (torch's,
    numpy's, Python's) the problem's seed decides.
    probe.batch() gives inputs and targets, probe.criterion their loss. Kept weights must stay as they were. Raises as
    `masking` does.
    """
    if not callable(call):
        raise TypeError(f"what pruner {name!r} is to call is {call!r}, wanted a function call(model, keep, probe)")

    def choose(network: Network, state: State, keep: int, probe: Probe) -> dict[str, Tensor]:
        model = Rebuilt(network, state.weights if masked else state.effective).eval()
        if masked:
            for layer, weight, name in owners(model, state.weights):
                torch_prune.custom_from_mask(layer, weight, state.masks[name])  # type: ignore[no-untyped-call]
        weights = {name for n in state.weights for name in (n, f"{n}_orig")}
        beside = {n: p.detach().clone() for n, p in model.named_parameters() if n not in weights}
        with torch.enable_grad(), as_they_were():
            reseed(_number(probe))
            returned = call(model, keep, probe)
        if isinstance(returned, Mapping):
            return dict(returned)
        if returned is not None:
            kind = type(returned).__name__
            raise TypeError(f"it returned {kind}; wanted nothing, the model being changed in place, or masks by name")
        _refuse_changes(model, beside)
        return _read(model, state, keep)

    return masking(name, choose, claims=claims, rounds=rounds)


def _number(probe: Probe) -> int:
    """A whole number that the problem's seed decides, another at each call."""
    return int(probe.rand({"seed": torch.zeros(1, dtype=torch.float64)})["seed"] * 2**32)


def _refuse_changes(model: nn.Module, beside: Tensors) -> None:
    """Raise ValueError where a bias or the like was changed: masks of weights would not tell of it."""
    after = dict(model.named_parameters())
    changed = [n for n, p in beside.items() if n in after and not torch.equal(after[n].detach(), p)]
    if changed:
        raise ValueError(f"{changed[0]!r} was changed, which is no prunable weight: masks can't tell of that")


def owners(model: nn.Module, names: Iterable[str]) -> list[tuple[nn.Module, str, str]]:
    """The module that holds each weight, its name there, and its name in the network."""
    found = [(*name.rpartition("."), name) for name in names]
    return [(model.get_submodule(path), own, name) for path, _, own, name in found]


def _read(model: nn.Module, state: State, keep: int) -> dict[str, Tensor]:
    """The masks that a model has come to. Raises ValueError where a weight is gone or a kept one changed."""
    marked = unwrap(model)
    after = dict(model.named_parameters(remove_duplicate=False))
    gone = [n for n in state.weights if n not in after or after[n].shape != state.weights[n].shape]
    if gone:
        raise ValueError(f"the weight {gone[0]!r} is gone, or has another shape; wanted masks or zeros in its place")
    found = {n: after[n].detach() for n in state.weights}
    if marked:
        masks = {n: marked.get(n, torch.ones_like(m)) & m for n, m in state.masks.items()}
    else:
        masks = _unmarked(found, state, keep)
    for name, weight in found.items():
        kept = masks[name]
        if not torch.equal(weight[kept], state.effective[name][kept]):
            raise ValueError(f"kept weights of {name!r} were changed: this is a pruner that trains, not one that masks")
    return masks


def _unmarked(after: Tensors, state: State, keep: int) -> dict[str, Tensor]:
    """By zeros. A weight that was 0 before says nothing: as many of those are kept, by index, as the count asks for."""
    alive = {n: (after[n] != 0) & m for n, m in state.masks.items()}
    mute = {n: (state.weights[n] == 0) & (after[n] == 0) & m for n, m in state.masks.items()}
    room = keep - sum(int(m.sum()) for m in alive.values())
    order = torch.cat([m.flatten() for m in mute.values()])
    chosen = order & (torch.cumsum(order, 0) <= room)
    pieces = torch.split(chosen, [m.numel() for m in mute.values()])
    return {n: alive[n] | piece.view_as(alive[n]) for n, piece in zip(alive, pieces, strict=True)}
