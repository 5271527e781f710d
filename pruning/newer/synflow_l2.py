"""SynFlow-L2: SynFlow on squared weights, so that paths are measured by the path kernel (Gebhart et al. 2021).

"A Unified Paths Perspective for Pruning at Initialization", arXiv 2101.10552: theta^2 * dR/d(theta^2), where R is the
sum over all paths of the product of the squared weights on them. It is SynFlow's score of the network that has
theta^2 for weights, and all that is claimed follows from that. Nothing is quoted: beyond the abstract the paper's text
was not at hand. The number of rounds is SynFlow's.
"""

from dataclasses import replace

from torch import Tensor

from pruning.masks import Tensors
from pruning.network import Network
from pruning.problem import Probe
from pruning.pruner import Claim, saliency, scored


def half_kernel(network: Network, weights: Tensors, probe: Probe) -> Tensor:
    """R/2, for theta * d(R/2)/dtheta = theta^2 * dR/d(theta^2): an input of ones, biases 0, neutral scales squared."""
    bare, own = network.neutralised(), {s.name for s in network.graph.attached}
    squared = replace(bare, fixed={n: t.square() if n in own else t for n, t in bare.fixed.items()})
    return squared.forward({n: w.square() for n, w in weights.items()}, probe.ones()).sum() / 2


synflow_l2 = scored(
    "synflow-l2",
    saliency(half_kernel),
    objective=half_kernel,
    rounds=100,
    claims={
        Claim.NEURON_CONSERVED,
        Claim.LAYER_CONSERVED,
        Claim.POSITIVE,
        Claim.RESCALE_INVARIANT,
        Claim.SIGN_INVARIANT,
        Claim.PERMUTATION_EQUIVARIANT,
        Claim.ZERO_WHEN_MASKED,
        Claim.PRUNED_AS_ZERO,
        Claim.DATA_FREE,
        Claim.SAMPLE_ORDER,
        Claim.GLOBAL_ORDER,
        Claim.RESCALED_MASKS,
        Claim.EXACT_BUDGET,
        Claim.NESTED_MASKS,
        Claim.IDEMPOTENT,
        Claim.DETERMINISTIC,
        Claim.MAXIMAL_CRITICAL,
    },
)
