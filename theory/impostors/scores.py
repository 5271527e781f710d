"""Pruners whose scores are wrong on purpose, each with the claims it does not deserve."""

from collections.abc import Callable

import torch
from torch import Tensor

from pruning.masks import Tensors
from pruning.network import Network
from pruning.problem import Probe
from pruning.pruner import Claim, Score, State, saliency, scored
from pruning.pruners.grasp import TEMPERATURE
from pruning.pruners.snip import loss
from pruning.pruners.synflow import flow

CLAIMS = frozenset(Claim)
_synflow = saliency(flow)


def _changed(change: Callable[[dict[str, Tensor]], Tensors]) -> Score:
    def score(network: Network, state: State, probe: Probe) -> Tensors:
        return change(dict(_synflow(network, state, probe)))

    return score


def _nudged(scores: dict[str, Tensor]) -> Tensors:
    name = next(iter(scores))
    flat = scores[name].flatten()
    is_largest = torch.arange(flat.numel(), device=flat.device) == flat.abs().argmax()
    return {**scores, name: torch.where(is_largest, flat * (1 + 1e-9), flat).view(scores[name].shape)}


def _over_fan_in(scores: dict[str, Tensor]) -> Tensors:
    return {n: s / (7 + s[0].numel()) for n, s in scores.items()}


def _favouring_early(scores: dict[str, Tensor]) -> Tensors:
    return {n: s + torch.arange(s.numel(), dtype=s.dtype, device=s.device).view(s.shape) for n, s in scores.items()}


def _raw_gradient(network: Network, state: State, probe: Probe) -> Tensors:
    slopes: dict[str, Tensor] = torch.func.grad(lambda w: flow(network, w, probe))(state.effective)
    return slopes


def _mask_gradient(network: Network, state: State, probe: Probe) -> Tensors:
    slopes = torch.func.grad(lambda w: loss(network, w, probe))(state.effective)
    return {n: (state.weights[n] * slopes[n]).abs() for n in slopes}


def _with_signs(network: Network, weights: Tensors, probe: Probe) -> Tensor:
    return network.neutralised().forward(weights, probe.ones()).sum()


def _with_biases(network: Network, weights: Tensors, probe: Probe) -> Tensor:
    return network.forward({n: w.abs() for n, w in weights.items()}, probe.ones()).sum()


def _squared(network: Network, weights: Tensors, probe: Probe) -> Tensor:
    return network.neutralised().forward({n: w.square() for n, w in weights.items()}, probe.ones()).sum()


def _rooted(network: Network, weights: Tensors, probe: Probe) -> Tensor:
    return flow(network, weights, probe).sqrt()


def _nudged_loss(network: Network, state: State, probe: Probe) -> Tensors:
    return _nudged(dict(saliency(loss)(network, state, probe)))


def _without_small(scores: dict[str, Tensor]) -> Tensors:
    largest = torch.stack([s.abs().amax() for s in scores.values()]).amax()
    return {n: torch.where(s < largest / 2, 0, s) for n, s in scores.items()}


def _mutating(network: Network, state: State, probe: Probe) -> Tensors:
    for weight in network.weights.values():
        weight.abs_()
    return _synflow(network, state, probe)


def _peeking(network: Network, state: State, probe: Probe) -> Tensors:
    probe.batch()
    return _synflow(network, state, probe)


def _unseeded(network: Network, state: State, probe: Probe) -> Tensors:
    return {n: torch.rand(w.shape, dtype=w.dtype) for n, w in state.weights.items()}


def _stale(network: Network, state: State, probe: Probe) -> Tensors:
    """The slopes of the network as it was before anything was pruned."""
    slopes = torch.func.grad(lambda w: flow(network, w, probe))(dict(state.weights))
    return {n: w * slopes[n] for n, w in state.effective.items()}


def _over_layer(network: Network, state: State, probe: Probe) -> Tensors:
    return {n: w.abs() / w.abs().sum().clamp(min=1e-300) for n, w in state.effective.items()}


def _only_unpruned(network: Network, state: State, probe: Probe) -> Tensors:
    if not all(bool(mask.all()) for mask in state.masks.values()):
        raise RuntimeError("this scorer was never tried on a pruned network")
    return _synflow(network, state, probe)


def _by_parts(parts: slice) -> Score:
    """The absolute saliency of the loss of each half of the batch, added up over some of the halves."""

    def score(network: Network, state: State, probe: Probe) -> Tensors:
        inputs, targets = probe.batch()
        half = len(inputs) // 2
        batches = [(inputs[:half], targets[:half]), (inputs[half:], targets[half:])]
        total = {n: torch.zeros_like(w) for n, w in state.effective.items()}
        for x, y in batches[parts]:
            slopes = torch.func.grad(lambda w, x=x, y=y: probe.criterion(network.forward(w, x), y))(state.effective)
            total = {n: t + (state.effective[n] * slopes[n]).abs() for n, t in total.items()}
        return total

    return score


def _signal(sign: float, temperature: float) -> Score:
    """GraSP's theta * Hg by another sign or temperature."""

    def score(network: Network, state: State, probe: Probe) -> Tensors:
        slopes = probe.grad(network, state.effective, temperature)
        product = probe.hvp(network, state.effective, slopes, temperature)
        return {n: sign * w * product[n] for n, w in state.effective.items()}

    return score


nudged = scored("SynFlow, one score off by 1e-9", _changed(_nudged), objective=flow, claims=CLAIMS)
over_fan_in = scored("SynFlow over fan-in", _changed(_over_fan_in), objective=flow, claims=CLAIMS)
halved = scored("half of SynFlow", _changed(lambda s: {n: t / 2 for n, t in s.items()}), objective=flow, claims=CLAIMS)
nudged_loss = scored("saliency, one score off by 1e-9", _nudged_loss, objective=loss, claims=CLAIMS)
doubled = scored("twice SynFlow", _changed(lambda s: {n: 2 * t for n, t in s.items()}), objective=flow, claims=CLAIMS)
squared_flow = scored("SynFlow-L2", saliency(_squared), objective=_squared, claims=CLAIMS)
rooted_flow = scored("root of SynFlow", saliency(_rooted), objective=_rooted, claims=CLAIMS)
without_small = scored("SynFlow without small scores", _changed(_without_small), objective=flow, claims=CLAIMS)
logarithmic = scored("log SynFlow", _changed(lambda s: {n: t.log() for n, t in s.items()}), claims=CLAIMS)
favouring_early = scored("SynFlow plus position", _changed(_favouring_early), objective=flow, claims=CLAIMS)
raw_gradient = scored("gradient without weight", _raw_gradient, objective=flow, claims=CLAIMS)
mask_gradient = scored("gradient by the mask", _mask_gradient, objective=loss, claims=CLAIMS)
signed_saliency = scored("signed saliency of the loss", saliency(loss), objective=loss, claims=CLAIMS)
signed_flow = scored("SynFlow without absolute weights", saliency(_with_signs), objective=_with_signs, claims=CLAIMS)
biased_flow = scored("SynFlow with biases left in", saliency(_with_biases), objective=_with_biases, claims=CLAIMS)
only_unpruned = scored("SynFlow that raises once pruned", _only_unpruned, objective=flow, claims=CLAIMS)
mutating = scored("SynFlow that leaves absolute weights", _mutating, objective=flow, claims=CLAIMS)
peeking = scored("SynFlow that reads a batch", _peeking, objective=flow, claims=CLAIMS)
unseeded = scored("random without a seed", _unseeded, claims=CLAIMS)
over_layer = scored("magnitude over the layer's total", _over_layer, claims=CLAIMS)
stale_gradient = scored("SynFlow by the first round's gradient", _stale, objective=flow, claims=CLAIMS)
last_half = scored("SNIP of the last half of the batch", _by_parts(slice(1, None)), claims=CLAIMS)
half_by_half = scored("SNIP half by half of the batch", _by_parts(slice(None)), objective=loss, claims=CLAIMS)
lowering_flow = scored("GraSP with the wrong sign", _signal(-1.0, TEMPERATURE), claims=CLAIMS)
cold_signal = scored("GraSP at temperature 1", _signal(1.0, 1.0), claims=CLAIMS)
