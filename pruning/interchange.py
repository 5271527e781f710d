"""Interchange: masks from and to a user's own module, in the three ways that people keep them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils import prune as torch_prune

from pruning.errors import ModelError
from pruning.held import Place, chains, mask_on, parametrized, places, pruned, refuse_without_values, value_on
from pruning.masks import Masks, Tensors, check_against
from pruning.network import check_finite
from pruning.trace import trace

Objection = Callable[[nn.Module, str], str]  # why a module's own parameter can't have a layout, or nothing
Put = Callable[[nn.Module, str, Tensor], None]
_UNCALLED = (nn.modules.linear.NonDynamicallyQuantizableLinear, nn.ParameterList, nn.ParameterDict)


class Masked(nn.Module):
    """A parametrization: the weight times a mask, a boolean buffer of its shape."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask.clone())

    def forward(self, weight: Tensor) -> Tensor:
        """The weight, 0 where it is pruned."""
        return weight * self.mask


def read_masks(module: nn.Module, example: Tensor, zeros: bool = False) -> Masks:
    """The masks that `module` bears: one per prunable weight, by the names of `trace(module, example)`.

    Read are the masks of torch.nn.utils.prune, and those of parametrizations that keep them in a buffer called `mask`.
    A weight without one is whole: a weight may be 0 without being pruned. With `zeros`, weights that are 0 count as
    pruned too. The module is not changed. Raises ModelError as `trace` does, ValueError for NaN or infinite weights.
    """
    network = trace(module, example)
    check_finite(network.weights)
    if not zeros:
        return network.initial
    return Masks({n: mask & (network.weights[n] != 0) for n, mask in network.initial.items()})


def apply_masks(module: nn.Module, masks: Tensors, layout: str = "orig_mask") -> None:
    """Put `masks` on the weights of `module`, in place: boolean, of each weight's shape, by the names of `trace`.

    Weights without a mask stay as they are; tied ones are masked wherever they are used. Biases and the like can be
    masked as well, but `read_masks` gives the prunable weights alone. Parameters stay the objects that an optimiser
    holds, and mask buffers are copies. Layouts:

    - "orig_mask": `weight_orig` and `weight_mask` of torch.nn.utils.prune. Training revives nothing. A hook of the
      layer computes its weight, so the layer itself has to be called. deepcopy is torch's to refuse after a forward
      pass with gradients; after one without, it works.
    - "parametrization": torch.nn.utils.parametrize, after other parametrizations. Training revives nothing. torch
      pickles no parametrized module: save its state_dict.
    - "zeros": zeros in the weights, and nothing else. A training step may revive them, whatever the optimiser.

    On weights with masks: more may be pruned in the layout that is there, but a pruned weight never returns. "zeros"
    and "orig_mask" want weights without parametrizations. A state_dict with masks is loaded into a module on which
    masks were put in the same layout, whichever they are.

    Raises ValueError for an unknown layout, for names or shapes that are not the module's, for weights that are NaN or
    infinite, and for a weight that can't have this layout; TypeError for masks that are not boolean; ModelError for
    weights without plain values (lazy, sharded, quantised, on meta). Nothing is changed then.
    """
    if layout not in _LAYOUTS:
        raise ValueError(f"there is no layout {layout!r}; wanted one of {', '.join(_LAYOUTS)}")
    objection, put = _LAYOUTS[layout]
    masks, where = Masks(masks), _places(module)
    found = {name: where[name] for name in masks if name in where}
    check_against(_values(found), masks, "mask")
    for name, mask in masks.items():
        for place in found[name]:
            _refuse_return(name, mask, place)
            text = objection(*place)
            if text:
                raise ValueError(f"{name!r} can't be masked by layout {layout!r}: {text}")
    if layout == "zeros":
        _refuse_overlap(module, found)
    # a weight that a hook has computed with its gradient can't be deep-copied, nor one of inference mode trained
    with torch.inference_mode(False), torch.no_grad():
        for name, mask in masks.items():
            for owner, own in found[name]:
                put(owner, own, mask)


def _places(module: nn.Module) -> dict[str, list[Place]]:
    if not isinstance(module, nn.Module) or any(isinstance(m, torch.jit.ScriptModule) for m in module.modules()):
        raise ModelError(f"got {type(module).__name__}, wanted an nn.Module, and no part of it compiled by torch.jit")
    return places(module)


def _values(found: Mapping[str, list[Place]]) -> dict[str, Tensor]:
    """The weights as they are now. Raises ModelError and ValueError for those that have no values, NaN or infinity."""
    values: dict[str, Tensor] = {}
    for name, ((owner, own), *_) in found.items():
        plain = owner._parameters.get(own)
        if plain is not None:
            refuse_without_values(name, plain)
        values[name] = value = value_on(owner, own)
        refuse_without_values(name, value)
        bad = int((~torch.isfinite(value)).sum())
        if bad:
            raise ValueError(
                f"the weight {name!r} holds {bad} NaN or infinite values of {value.numel()}, and NaN times a mask "
                "stays NaN; mend the weights first"
            )
    return values


def _refuse_return(name: str, mask: Tensor, place: Place) -> None:
    before = mask_on(*place)
    again = 0 if before is None else int((mask.to(before.device) & ~before).sum())
    if again:
        raise ValueError(
            f"the mask of {name!r} keeps {again} weights that the module's own mask has pruned, and a pruned weight "
            "never returns; give masks that keep fewer, or a module without masks"
        )


def _refuse_overlap(module: nn.Module, found: Mapping[str, list[Place]]) -> None:
    """Zeros written to one parameter may not be another's."""
    mine = {value_on(*where[0]).untyped_storage().data_ptr(): name for name, where in found.items()}
    for name, parameter in module.named_parameters():
        other = mine.get(parameter.untyped_storage().data_ptr(), name)
        if name != other and parameter.numel():
            raise ValueError(
                f"{other!r} and {name!r} are two parameters in the same memory: zeros in one would be the other's; "
                "make one a copy, or choose layout 'parametrization'"
            )


def _no_orig_mask(owner: nn.Module, own: str) -> str:
    if own in parametrized(owner):
        return "it has parametrizations; choose layout 'parametrization'"
    if isinstance(owner, _UNCALLED):
        return f"a {type(owner).__name__} is not called, so its hooks don't run; choose layout 'parametrization'"
    taken = [n for n in (f"{own}_orig", f"{own}_mask") if hasattr(owner, n) and own not in pruned(owner)]
    return f"its layer has something called {taken[0]!r} already; choose layout 'parametrization'" if taken else ""


def _no_parametrization(owner: nn.Module, own: str) -> str:
    return _TAKE_OFF.format(own) if own in pruned(owner) else ""


def _no_zeros(owner: nn.Module, own: str) -> str:
    if own in parametrized(owner):
        return "it has parametrizations; choose layout 'parametrization'"
    return _no_parametrization(owner, own)


_TAKE_OFF = "torch.nn.utils.prune masks it; choose layout 'orig_mask', or call torch.nn.utils.prune.remove(layer, {!r})"


def _put_orig_mask(owner: nn.Module, own: str, mask: Tensor) -> None:
    held = owner.get_parameter(f"{own}_orig" if own in pruned(owner) else own)
    torch_prune.custom_from_mask(owner, own, mask.to(held.device))  # type: ignore[no-untyped-call]


def _put_parametrization(owner: nn.Module, own: str, mask: Tensor) -> None:
    last = [*chains(owner)[own].children()][-1] if own in parametrized(owner) else None
    if isinstance(last, Masked):
        last.mask.copy_(mask)
    else:
        parametrize.register_parametrization(owner, own, Masked(mask.to(value_on(owner, own).device)))


def _put_zeros(owner: nn.Module, own: str, mask: Tensor) -> None:
    weight = owner.get_parameter(own)
    weight.masked_fill_(~mask.to(weight.device), 0)


_LAYOUTS: Mapping[str, tuple[Objection, Put]] = {
    "orig_mask": (_no_orig_mask, _put_orig_mask),
    "parametrization": (_no_parametrization, _put_parametrization),
    "zeros": (_no_zeros, _put_zeros),
}
