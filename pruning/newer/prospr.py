"""ProsPr: the saliency of the loss after a few steps of training, by the weights before them (Alizadeh et al. 2022).

"Prospect Pruning: Finding Trainable Weights at Initialization using Meta-Gradients", ICLR 2022, arXiv 2202.08132. Its
abstract says that ProsPr "uses meta-gradients through the first few steps of optimization to determine which weights
to prune", "in a single shot"; of conservation or collapse nothing was found in what was at hand. The number of steps
and their size are those of the authors' repository.

Simplified: every step sees the one batch, where the paper takes a new one; the steps are plain gradient descent on
weights alone, where the repository has momentum .9 and trains biases and norms along; a pruned weight stays pruned.
Where a gradient is longer than all weights together it is cut down to their length, and that factor is taken for a
constant: the published size is meant for mean losses, and on a summed one three steps of it would overflow.
"""

import torch
from torch import Tensor

from pruning.masks import Tensors
from pruning.network import Network
from pruning.problem import Probe
from pruning.pruner import Claim, State, scored

STEPS = 3
STEP_SIZE = 0.5


def stepped(weights: dict[str, Tensor], slopes: Tensors) -> dict[str, Tensor]:
    """One step of descent."""
    weight, slope = (torch.cat([t.detach().flatten() for t in ts.values()]).norm() for ts in (weights, slopes))
    factor = STEP_SIZE * torch.where(slope > weight, weight / slope, 1)
    return {n: w - factor * slopes[n] for n, w in weights.items()}


def prospect(network: Network, state: State, probe: Probe) -> dict[str, Tensor]:
    """|theta_0 * dL(theta_T)/dtheta_0|, which is the size of the derivative by the mask of theta_0."""

    def trained(weights: dict[str, Tensor]) -> Tensor:
        for _ in range(STEPS):
            weights = stepped(weights, state.masks.apply(probe.grad(network, weights)))
        return probe.loss(network, weights)

    slopes = torch.func.grad(trained)(state.effective)
    return {n: (w * slopes[n]).abs() for n, w in state.effective.items()}


prospr = scored(
    "prospr",
    prospect,
    claims={
        Claim.POSITIVE,
        Claim.PERMUTATION_EQUIVARIANT,
        Claim.ZERO_WHEN_MASKED,
        Claim.SAMPLE_ORDER,
        Claim.GLOBAL_ORDER,
        Claim.EXACT_BUDGET,
        Claim.NESTED_MASKS,
        Claim.IDEMPOTENT,
        Claim.DETERMINISTIC,
    },
)
