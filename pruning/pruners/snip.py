"""SNIP: the absolute saliency of the loss on one batch (Lee et al. 2019)."""

from torch import Tensor

from pruning.masks import Tensors
from pruning.network import Network
from pruning.problem import Probe
from pruning.pruner import Claim, Saliency, scored


def loss(network: Network, weights: Tensors, probe: Probe) -> Tensor:
    """The loss of the batch, norms in evaluation mode."""
    return probe.loss(network, weights)


# with theta the masked weight it is 0 where pruned, unlike the mask's gradient
sensitivity = Saliency(loss, absolute=True)

snip = scored(
    "snip",
    sensitivity,
    objective=loss,
    claims={
        Claim.POSITIVE,
        Claim.RESCALE_INVARIANT,
        Claim.PERMUTATION_EQUIVARIANT,
        Claim.ZERO_WHEN_MASKED,
        Claim.PRUNED_AS_ZERO,
        Claim.SAMPLE_ORDER,
        Claim.GLOBAL_ORDER,
        Claim.RESCALED_MASKS,
        Claim.EXACT_BUDGET,
        Claim.NESTED_MASKS,
        Claim.IDEMPOTENT,
        Claim.DETERMINISTIC,
    },
)
