"""FORCE: SNIP's sensitivity of every weight, the pruned ones included, so that they can return (de Jorge et al. 2021).

The abstract (arXiv 2006.09081): "FORCE: iterative process that allows exploration by allowing already pruned parameters
to resurrect at later stages of skeletonization". So its masks are not nested, by design, nor does another round to the
same count leave them alone; what was masked before the first round may return as well.

Of equal scores the first are kept, so that the count is exact; the released code keeps all that reach the threshold.
"""

from torch import Tensor

from pruning.masks import Masks, Tensors, global_top_k
from pruning.network import Network
from pruning.problem import Probe
from pruning.pruner import Claim, State, scored

ROUNDS = 60  # --num_steps in the examples of the authors' repository, with its exponential schedule


def foresight_sensitivity(network: Network, state: State, probe: Probe) -> dict[str, Tensor]:
    """|theta * dL/dtheta| with theta the whole weight and the slope that of the pruned network."""
    gradient = probe.grad(network, state.effective)
    return {name: (weight * gradient[name]).abs() for name, weight in state.weights.items()}


def highest_of_all(scores: Tensors, masks: Masks, k: int) -> Masks:
    """The k highest scores, whatever was masked before."""
    return global_top_k(scores, Masks.full(scores), k)


force = scored(
    "force",
    foresight_sensitivity,
    select=highest_of_all,
    rounds=ROUNDS,
    claims={
        Claim.POSITIVE,
        Claim.RESCALE_INVARIANT,
        Claim.RESCALED_MASKS,
        Claim.PERMUTATION_EQUIVARIANT,
        Claim.SAMPLE_ORDER,
        Claim.GLOBAL_ORDER,
        Claim.EXACT_BUDGET,
        Claim.DETERMINISTIC,
    },
)
