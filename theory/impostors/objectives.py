"""Objectives that are no plain functions of the network's outputs, or whose derivatives are not their own."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from pruning.masks import Tensors
from pruning.network import Network
from pruning.problem import Probe
from pruning.pruner import Claim, Pruner, saliency, scored

CLAIMS = frozenset(Claim)
Parameters = dict[str, Tensor]


def _everything(network: Network, weights: Tensors) -> Parameters:
    return {**network.fixed, **weights}


def _value(network: Network, parameters: Tensors, probe: Probe, temperature: float = 1.0) -> Tensor:
    fixed = {n: parameters[n] for n in network.fixed}
    return probe.loss(replace(network, fixed=fixed), {n: parameters[n] for n in network.weights}, temperature)


def _squares(parameters: Tensors) -> Tensor:
    return torch.stack([t.square().sum() for t in parameters.values()]).sum() / 2


def _still(parameters: Tensors) -> Parameters:
    return {n: t.detach() for n, t in parameters.items()}


def _with_slope_of(slope: Tensor, of: Callable[[Parameters], Tensor], parameters: Parameters) -> Tensor:
    """`slope` with the first derivatives of `of` put in the place of its own; the further ones stay."""
    here = _still(parameters)
    wanted: Parameters = torch.func.grad(of)(here)
    return slope + torch.stack([(wanted[n].detach() * (t - here[n])).sum() for n, t in parameters.items()]).sum()


def _penalised(network: Network, weights: Tensors, probe: Probe) -> Tensor:
    return probe.loss(network, weights) + _squares(_everything(network, weights))


def _damped(network: Network, weights: Tensors, probe: Probe) -> Tensor:
    parameters = _everything(network, weights)
    start = _still(parameters)
    return probe.loss(network, weights) + _squares({n: t - start[n] for n, t in parameters.items()})


def _first_order(network: Network, weights: Tensors, probe: Probe) -> Tensor:
    zero = torch.zeros((), dtype=probe.ones().dtype)
    return _with_slope_of(zero, lambda p: _value(network, p, probe), _everything(network, weights))


def _two_temperatures(network: Network, weights: Tensors, probe: Probe) -> Tensor:
    """The curvature is that of the loss at temperature 2, the slope that at 1."""
    parameters = _everything(network, weights)
    warm = _value(network, parameters, probe, 2.0)
    difference = lambda p: _value(network, p, probe) - _value(network, p, probe, 2.0)  # noqa: E731
    return _with_slope_of(warm, difference, parameters)


def _gauss_newton(network: Network, weights: Tensors, probe: Probe) -> Tensor:
    """The loss of outputs that are taken to be linear in the parameters: the same slope, another Hessian."""
    parameters = _everything(network, weights)
    here, x = _still(parameters), probe.batch()[0]
    change = {n: t - here[n] for n, t in parameters.items()}
    run = lambda p: network.graph.run(p, x)  # noqa: E731
    outputs, back, *_ = torch.func.vjp(run, here)
    _, forth, *_ = torch.func.vjp(lambda slope: back(slope)[0], torch.zeros_like(outputs))  # J, as J^T transposed
    moved = outputs.detach() + forth(change)[0]
    linear = lambda name, value: moved if name == network.graph.output else value  # noqa: E731
    return probe.loss(replace(network, fixed=_still(network.fixed), tap=linear), _still(weights))


def _quantised(network: Network, weights: Tensors, probe: Probe) -> Tensor:
    """Weights rounded to quarters on the way forward, and the slope taken as if they were not."""
    return probe.loss(network, {n: w + ((4 * w).round() / 4 - w).detach() for n, w in weights.items()})


def _shrunk_logits(network: Network, weights: Tensors, probe: Probe) -> Tensor:
    return probe.loss(network, weights) + network.forward(weights, probe.batch()[0]).square().mean()


def _squared_flow(network: Network, weights: Tensors, probe: Probe) -> Tensor:
    return network.neutralised().forward({n: w.square() for n, w in weights.items()}, probe.ones()).sum()


def _made(name: str, objective: Callable[[Network, Tensors, Probe], Tensor]) -> Pruner:
    return scored(name, saliency(objective), objective=objective, claims=CLAIMS)


penalised = _made("loss with weight decay in it", _penalised)
damped = _made("loss with damped curvature", _damped)
first_order = _made("loss known to first order", _first_order)
two_temperatures = _made("loss with slope and curvature of two temperatures", _two_temperatures)
gauss_newton = _made("loss with Gauss-Newton for a Hessian", _gauss_newton)
quantised = _made("loss of rounded weights", _quantised)
shrunk_logits = _made("cross-entropy with decay of the logits", _shrunk_logits)
squared_flow = _made("SynFlow of squared weights", _squared_flow)
