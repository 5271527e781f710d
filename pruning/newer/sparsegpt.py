"""SparseGPT's mask: what a weight's removal costs its output if the weights behind it adapt (Frantar & Alistarh 2023).

The authors' code (of arXiv 2301.00774) ranks by w_c^2 / U_cc^2, where U is the upper Cholesky factor of the inverse of
H = X X^T + lambda * I. That is w_c^2 times the squared distance of input c to the span of the inputs behind it. In this
form it needs no inverse and has a meaning where H is singular: what the inputs behind it make up costs nothing. It
hangs on the order of the columns, so that permutation equivariance is not claimed.

"sparsegpt" is damped as published, and compares within a whole layer. "sparsegpt undamped" has lambda = 0 and compares
output by output, each of which is a problem of its own: either alone would lose the invariance that it claims.

Left out: the update of the weights that are kept, for a pruner here gives masks. So the masks of later blocks of
columns are not chosen from updated weights, and there are no blocks of 128 columns: a layer is one. All layers are
scored on one pass. A convolution's input is taken patch by patch, and a group is a problem by itself, with a lambda of
its own. Shares are rounded so that the count of all is exact.
"""

import torch
from torch import Tensor

from pruning.inputs import layers, per_output
from pruning.masks import layer_top_k
from pruning.network import Network
from pruning.problem import Probe
from pruning.pruner import Claim, Score, State, scored

DAMPING = 0.01  # lambda over the mean of H's diagonal: --percdamp of the authors' repository


def reconstruction_error(damping: float) -> Score:
    """w_c^2 times the squared distance of input c to those behind it; 0 for an input that is always 0, as released."""

    def score(network: Network, state: State, probe: Probe) -> dict[str, Tensor]:
        weights, found = state.effective, {}
        for name, layer in layers(network, weights, probe.batch()[0]).items():
            norms = layer.inputs.square().sum(1, keepdim=True)
            ridge = (damping * norms.mean(2, keepdim=True)).sqrt() * torch.eye(norms.shape[2]).to(norms)
            distance = squared_distances(torch.cat([layer.inputs, ridge], 1))
            found[name] = weights[name].square() * layer.entries(torch.where(norms > 0, distance, 0))
        return found

    return score


def squared_distances(inputs: Tensor) -> Tensor:
    """(..., samples, columns) -> (..., 1, columns): of each column to the span of those behind it.

    By Gram-Schmidt from the last, done twice so that what is left is orthogonal up to rounding. Each of the products
    rounds by at most an eps of the column for each sample: what is left and below all of these is nothing. It is
    measured by the column itself, so that a power of two on one column changes what the others get by not a bit.
    """
    samples, columns = inputs.shape[-2:]
    nothing = 2 * samples * columns * torch.finfo(inputs.dtype).eps
    basis, found = torch.zeros_like(inputs[..., :0]), []
    for column in reversed(inputs.unbind(-1)):
        rest = column.unsqueeze(-1)
        size = nothing * torch.linalg.vector_norm(rest, dim=-2, keepdim=True)
        for _ in range(2):
            rest = rest - basis @ (basis.mT @ rest)
        left = torch.linalg.vector_norm(rest, dim=-2, keepdim=True)
        left = torch.where(left > size, left, 0)
        basis = torch.cat([basis, torch.where(left > 0, rest / left, 0)], -1)
        found.append(left.square())
    return torch.cat(found[::-1], -1)


CLAIMS = {
    Claim.POSITIVE,
    Claim.ZERO_WHEN_MASKED,
    Claim.PRUNED_AS_ZERO,
    Claim.SAMPLE_ORDER,
    Claim.EXACT_BUDGET,
    Claim.NESTED_MASKS,
    Claim.IDEMPOTENT,
    Claim.DETERMINISTIC,
}

sparsegpt = scored("sparsegpt", reconstruction_error(DAMPING), select=layer_top_k, claims=CLAIMS)
undamped = scored(
    "sparsegpt undamped",
    reconstruction_error(0.0),
    choose=per_output(reconstruction_error(0.0)),
    claims={*CLAIMS, Claim.RESCALED_MASKS},
)
