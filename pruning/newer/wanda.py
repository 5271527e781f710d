"""Wanda: the weight times the norm of its input, compared output by output (Sun et al. 2024).

The authors' README: Wanda "removes weights on a *per-output* basis, by the product of weight magnitudes and input
activation norms".

Left out: the released code prunes block after block and feeds each what the pruned ones before it give; here all layers
are scored on one pass. Rows keep equal shares, as published, but rounded so that the count of all is exact. The paper
is about linear layers: a convolution's input is taken patch by patch here, a group by itself. A weight that is used
more than once is scored by the inputs of all uses.
"""

import torch
from torch import Tensor

from pruning.inputs import layers, per_output
from pruning.network import Network
from pruning.problem import Probe
from pruning.pruner import Claim, State, scored


def weight_by_input(network: Network, state: State, probe: Probe) -> dict[str, Tensor]:
    """|W_ij| * ||X_j||: input j over the batch, in the Euclidean norm."""
    weights, found = state.effective, {}
    for name, layer in layers(network, weights, probe.batch()[0]).items():
        norm = torch.linalg.vector_norm(layer.inputs, dim=1, keepdim=True)
        found[name] = weights[name].abs() * layer.entries(norm)
    return found


wanda = scored(
    "wanda",
    weight_by_input,
    choose=per_output(weight_by_input),
    claims={
        Claim.POSITIVE,
        Claim.PERMUTATION_EQUIVARIANT,
        Claim.ZERO_WHEN_MASKED,
        Claim.PRUNED_AS_ZERO,
        Claim.RESCALED_MASKS,
        Claim.SAMPLE_ORDER,
        Claim.EXACT_BUDGET,
        Claim.NESTED_MASKS,
        Claim.IDEMPOTENT,
        Claim.DETERMINISTIC,
    },
)
