"""RIA: a weight's part of its row and of its column, times a root of the norm of its input (Zhang et al. 2024).

The formula and the exponent are those of the authors' repository; what the paper says of "channel corruption" is not
quoted and not claimed: the text was not at hand.

Left out: channel permutation, which is for N:M sparsity. As in Wanda's rewrite all layers are scored on one pass, and a
convolution's input is taken patch by patch, a group by itself. Layers keep equal shares, as published, but rounded so
that the count of all is exact.
"""

import torch
from torch import Tensor

from pruning.inputs import layers
from pruning.masks import layer_top_k
from pruning.network import Network
from pruning.problem import Probe
from pruning.pruner import Claim, State, scored

EXPONENT = 0.5  # a, the default of the authors' repository


def relative_importance(network: Network, state: State, probe: Probe) -> dict[str, Tensor]:
    """(|W_ij| / sum_i |W_ij| + |W_ij| / sum_j |W_ij|) * ||X_j||^a; 0 where a row or column is all 0."""
    weights, found = state.effective, {}
    for name, layer in layers(network, weights, probe.batch()[0]).items():
        size = layer.matrix(weights[name]).abs()
        norm = torch.linalg.vector_norm(layer.inputs, dim=1, keepdim=True)
        found[name] = layer.entries((_part(size, 1) + _part(size, 2)) * norm**EXPONENT)
    return found


def _part(size: Tensor, axis: int) -> Tensor:
    return torch.where(size > 0, size / size.sum(axis, keepdim=True), 0)


ria = scored(
    "ria",
    relative_importance,
    select=layer_top_k,
    claims={
        Claim.POSITIVE,
        Claim.PERMUTATION_EQUIVARIANT,
        Claim.ZERO_WHEN_MASKED,
        Claim.PRUNED_AS_ZERO,
        Claim.SAMPLE_ORDER,
        Claim.EXACT_BUDGET,
        Claim.NESTED_MASKS,
        Claim.IDEMPOTENT,
        Claim.DETERMINISTIC,
    },
)
