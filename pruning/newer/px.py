"""Path eXclusion: the paths that data reaches, each by its squared weights (Iurada, Ciccone, Tommasi 2024).

"Finding Lottery Tickets in Vision Models via Data-driven Spectral Foresight Pruning", CVPR 2024, arXiv 2406.01820:
theta^2 * dR/d(theta^2), where R multiplies, output by output, what two networks give: one with squared weights and an
input of ones, and one with ones for weights, the squared data for input and the rectifiers as open as the data finds
them. Of the paper "it takes the squared data as input, the parameters are all one, and the activations status is an
exact copy of that of f" was at hand, as issue 6 of the authors' repository quotes it, and no claim: what is claimed
follows from the formula. The score is that of the repository since February 2025; earlier versions of it multiply by
further powers of theta or of the derivative, which are not conserved.

Simplified: biases are left out of both networks, a norm's neutral scale counts as one more weight in each, and a
max-pool chooses anew in each.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from pruning.network import Network
from pruning.problem import Probe
from pruning.pruner import Claim, State, scored

RECTIFIERS = {"relu", "leaky_relu"}  # they pass nonnegative values on, so both networks are linear but for the gates


def gates(network: Network, state: State, x: Tensor) -> dict[str, Tensor]:
    """1 where a rectifier is open, by its name, and 0 where it is not."""
    found: dict[str, Tensor] = {}
    named = {node.name for node in network.graph.nodes if node.kind in RECTIFIERS}

    def see(name: str, value: Tensor) -> Tensor:
        if name in named:
            found[name] = (value > 0).to(value)
        return value

    replace(network, tap=see).forward(state.effective, x)
    return found


def bare(network: Network, change: Callable[[Tensor], Tensor]) -> Network:
    """The network without biases and shifts, each scale of its norms changed as a weight is."""
    own, neutral = {s.name for s in network.graph.attached}, network.neutral
    return replace(network, fixed={n: change(t) if n in own else t for n, t in neutral.items()})


def path_influence(network: Network, state: State, probe: Probe) -> dict[str, Tensor]:
    """theta^2 * |dR/d(theta^2)|: behind rectifiers nothing is negative, and taking the size changes nothing."""
    x, _ = probe.batch()
    status, ones = gates(network, state, x), {n: m.to(state.weights[n]) for n, m in state.masks.items()}
    gated = replace(bare(network, torch.sign), tap=lambda name, y: y * status[name] if name in status else y)
    reached, kernel = gated.forward(ones, x.square()), bare(network, torch.square)
    squares = {n: w.square() for n, w in state.effective.items()}
    slopes = torch.func.grad(lambda s: (reached * kernel.forward(s, probe.ones())).sum())(squares)
    return {n: squares[n] * slopes[n].abs() for n in squares}


px = scored(
    "px",
    path_influence,
    rounds=100,
    claims={
        Claim.NEURON_CONSERVED,
        Claim.LAYER_CONSERVED,
        Claim.POSITIVE,
        Claim.RESCALE_INVARIANT,
        Claim.PERMUTATION_EQUIVARIANT,
        Claim.ZERO_WHEN_MASKED,
        Claim.SAMPLE_ORDER,
        Claim.GLOBAL_ORDER,
        Claim.RESCALED_MASKS,
        Claim.EXACT_BUDGET,
        Claim.NESTED_MASKS,
        Claim.IDEMPOTENT,
        Claim.DETERMINISTIC,
    },
)
