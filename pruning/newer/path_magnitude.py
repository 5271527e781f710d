"""Path magnitude: what the path norm loses, to first order, with a weight (Gonon et al. 2025).

"A Rescaling-Invariant Lipschitz Bound Based on Path-Metrics for Modern ReLU Network Parameterizations", ICML 2025,
arXiv 2405.15006: theta * dR/dtheta, where R is the l1 norm of the path lifting, the sum over the paths from inputs and
from biases of the product of the absolute parameters on them. From its abstract: "we derive from it a symmetry-aware
pruning criterion and show [...] that its pruning performance matches that of classical magnitude pruning, while
becoming totally immune to arbitrary neuron-wise rescalings." Biases and shifts are the difference to SynFlow, with
which it agrees where there are none, and that norms keep their measured scales.

Simplified: a max-pool passes its largest input on, where the paper's lifting counts the paths through all of them.
"""

from dataclasses import replace

from torch import Tensor

from pruning.masks import Tensors
from pruning.network import Network
from pruning.problem import Probe
from pruning.pruner import Claim, saliency, scored


def path_norm(network: Network, weights: Tensors, probe: Probe) -> Tensor:
    """The sum of the outputs for an input of ones, with every weight, bias, shift and scale its absolute value."""
    own = {s.name for s in network.graph.attached}
    absolute = replace(network, fixed={n: t.abs() if n in own else t for n, t in network.fixed.items()})
    return absolute.forward({n: w.abs() for n, w in weights.items()}, probe.ones()).sum()


path_magnitude = scored(
    "path-magnitude",
    saliency(path_norm),
    objective=path_norm,
    claims={
        Claim.NEURON_CONSERVED,
        Claim.LAYER_CONSERVED,
        Claim.POSITIVE,
        Claim.LEAVE_ONE_OUT,
        Claim.RESCALE_INVARIANT,
        Claim.RESCALED_MASKS,
        Claim.SIGN_INVARIANT,
        Claim.PERMUTATION_EQUIVARIANT,
        Claim.ZERO_WHEN_MASKED,
        Claim.PRUNED_AS_ZERO,
        Claim.DATA_FREE,
        Claim.SAMPLE_ORDER,
        Claim.GLOBAL_ORDER,
        Claim.EXACT_BUDGET,
        Claim.NESTED_MASKS,
        Claim.IDEMPOTENT,
        Claim.DETERMINISTIC,
    },
)
