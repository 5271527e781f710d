"""Mistakes that public pruning code is known for, each in a pruner that claims all that it would deserve without."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from pruning.masks import Tensors
from pruning.network import Network
from pruning.problem import Probe
from pruning.pruner import Pruner, saliency
from pruning.pruners.grasp import grasp
from pruning.pruners.snip import snip
from pruning.pruners.synflow import flow, synflow
from theory.impostors.mutations import counting
from theory.impostors.norms import in_training
from theory.impostors.scores import (
    half_by_half,
    last_half,
    lowering_flow,
    mask_gradient,
    stale_gradient,
)
from theory.impostors.selections import by_threshold, layer_by_layer, one_too_many, unpinned, untouched


@dataclass(frozen=True)
class Famous:
    """A mistake, where it was seen, and the pruner that makes it."""

    mistake: str
    seen: str
    pruner: Pruner


def _all_absolute(network: Network, weights: Tensors, probe: Probe) -> Tensor:
    """Absolute values of all that there is, biases and what norms subtract among it."""
    absolute = replace(network, fixed={n: t.abs() if t.is_floating_point() else t for n, t in network.fixed.items()})
    return absolute.forward({n: w.abs() for n, w in weights.items()}, probe.ones()).sum()


def _in_float32(network: Network, weights: Tensors, probe: Probe) -> Tensor:
    fixed = {n: t.float() if t.is_floating_point() else t for n, t in network.neutral.items()}
    return (
        replace(network, fixed=fixed)
        .forward({n: w.abs().float() for n, w in weights.items()}, probe.ones().float())
        .sum()
    )


_flow_by_calls = replace(synflow, name="SynFlow by number of calls", score=counting(saliency(flow)), objective=None)
_flow_of_all = replace(synflow, name="SynFlow, all absolute", score=saliency(_all_absolute), objective=_all_absolute)
_flow_in_float32 = replace(synflow, name="SynFlow in float32", score=saliency(_in_float32))
_mask_snip = replace(snip, name="SNIP by the mask's gradient", score=mask_gradient.score)
_split_snip = replace(snip, name="SNIP half by half", score=half_by_half.score)
_last_snip = replace(snip, name="SNIP of the last half", score=last_half.score, objective=None)
_turned_grasp = replace(grasp, name="GraSP, wrong sign", score=lowering_flow.score)
_stale_flow = replace(synflow, name="SynFlow by a stale gradient", score=stale_gradient.score)
_flow_in_training = replace(in_training, name="SynFlow, norms training", claims=synflow.claims)

FAMOUS = (
    Famous("ties are pruned together", "Synaptic-Flow, mil-ad/snip, GraSP: `score <= threshold`", by_threshold),
    Famous("one weight too many is pruned", "open_lth: `sort[k]` compared by `>`", one_too_many),
    Famous("pruned weights come back", "Synaptic-Flow: the lines that pin them are commented out", unpinned),
    Famous("the state outlives a call", "running means of scores kept in a module", _flow_by_calls),
    Famous("the gradient is stale", "`.grad` of an earlier round is read again", _stale_flow),
    Famous("the mask's gradient for a saliency", "Synaptic-Flow's SNIP since 50ace95", _mask_snip),
    Famous("the sign of GraSP", "Synaptic-Flow before e329c2e; zero-cost-nas", _turned_grasp),
    Famous("norms score in training mode", "Synaptic-Flow issue 11", _flow_in_training),
    Famous("running means made absolute", "Synaptic-Flow's linearize, over the whole state_dict", _flow_of_all),
    Famous("scores in float32", "Synaptic-Flow; zero-cost-nas issue 23", _flow_in_float32),
    Famous("thresholds per layer sold as global", "forks of Synaptic-Flow", layer_by_layer),
    Famous("nothing is pruned, silently", "sparseml issue 1675; Synaptic-Flow's `k < 1`", untouched),
    Famous("a batch in parts, absolute values added", "SNIP over several batches", _split_snip),
    Famous("the last part of a batch decides", "zero-cost-nas: GraSP keeps the last chunk's gradient", _last_snip),
)
