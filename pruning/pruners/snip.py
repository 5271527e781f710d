"""SNIP: the absolute saliency of the loss on one batch (Lee et al. 2019)."""

from torch import Tensor

from pruning.masks import Tensors
from pruning.network import Network
from pruning.problem import Probe
from pruning.pruner import Claim, State, saliency, scored


def loss(network: Network, weights: Tensors, probe: Probe) -> Tensor:
    """The loss of the batch, norms in evaluation mode."""
    return probe.loss(network, weights)


def sensitivity(network: Network, state: State, probe: Probe) -> dict[str, Tensor]:
    """|theta * dL/dtheta|. With theta the masked weight it is 0 where pruned, unlike the mask's gradient."""
    return {name: score.abs() for name, score in saliency(loss)(network, state, probe).items()}


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
