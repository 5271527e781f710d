"""NTK-SAP: how much a weight's mask changes the trace of the tangent kernel, for random weights and inputs.

Wang, Li, Sun, "NTK-SAP: Improving neural network pruning by aligning training dynamics", ICLR 2023, arXiv 2304.02840:
|d/dm of |f(z; m w) - f(z; m (w + dw))|^2|, summed over draws of weights w, steps dw and inputs z. From its abstract:
"Note that our approach is weight-agnostic, which is different from most existing methods that are weight-dependent.
In addition, we use random inputs to compute the fixed-weight-NTK, making our method data-agnostic as well." Hence the
claims that scores don't depend on weights and data. The paper draws anew for each batch, so that hidden units are
alike on average only: no permutation is claimed. The constants are those of the authors' repository for CIFAR-10.

Simplified: biases are 0, and norms, in evaluation mode, have scale 1 where the repository measures the noise.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor

from pruning.masks import Tensors
from pruning.network import Network
from pruning.problem import Probe
from pruning.pruner import Claim, State, scored

STEP = 0.01  # the standard deviation of each entry of dw
DRAWS = 5  # of weights, steps and inputs


def normal(probe: Probe, like: Tensors) -> dict[str, Tensor]:
    """Standard normal numbers from two uniform ones each, for a probe gives no others (Box and Muller 1958)."""
    size, angle = probe.rand(like), probe.rand(like)
    return {n: (-2 * torch.log1p(-size[n])).sqrt() * (2 * math.pi * angle[n]).cos() for n in like}


def initialised(network: Network) -> Network:
    """The network with constants as a new one has them: shifts 0, scales 1."""
    shifts = {s.name for s in network.graph.sources}
    scales = {s.name for s in network.graph.attached} - shifts
    fixed = {
        n: torch.zeros_like(t) if n in shifts else torch.ones_like(t) if n in scales else t
        for n, t in network.fixed.items()
    }
    return replace(network, fixed=fixed)


def draw(network: Network, probe: Probe, like: Tensors) -> tuple[Tensors, Tensors, Tensor]:
    """Weights as He et al. 2015 initialise them, weights a short step from there, and inputs."""
    deviation = {edge.weight: math.sqrt(2 / edge.fan_in) for edge in network.graph.edges}
    start = {n: deviation[n] * w for n, w in normal(probe, like).items()}
    nearby = {n: start[n] + STEP * w for n, w in normal(probe, like).items()}
    return start, nearby, normal(probe, {"z": network.example})["z"]


def kernel_influence(network: Network, state: State, probe: Probe) -> dict[str, Tensor]:
    """|m * d/dm| of the summed squared changes."""
    fresh, masks = initialised(network), {n: m.to(state.weights[n]) for n, m in state.masks.items()}

    def change(masks: Tensors, drawn: tuple[Tensors, Tensors, Tensor]) -> Tensor:
        *ends, z = drawn
        here, there = (fresh.forward({n: m * w[n] for n, m in masks.items()}, z) for w in ends)
        return (here - there).square().sum()

    slopes = [torch.func.grad(change)(masks, draw(network, probe, masks)) for _ in range(DRAWS)]
    return {n: (m * torch.stack([slope[n] for slope in slopes]).sum(0)).abs() for n, m in masks.items()}


ntk_sap = scored(
    "ntk-sap",
    kernel_influence,
    rounds=20,
    claims={
        Claim.POSITIVE,
        Claim.RESCALE_INVARIANT,
        Claim.SIGN_INVARIANT,
        Claim.ZERO_WHEN_MASKED,
        Claim.DATA_FREE,
        Claim.SAMPLE_ORDER,
        Claim.GLOBAL_ORDER,
        Claim.RESCALED_MASKS,
        Claim.EXACT_BUDGET,
        Claim.NESTED_MASKS,
        Claim.IDEMPOTENT,
        Claim.DETERMINISTIC,
    },
)
