"""SynFlow: the saliency of the summed output for all-ones input and absolute weights (Tanaka et al. 2020)."""

from torch import Tensor

from pruning.masks import Tensors
from pruning.network import Network
from pruning.problem import Probe
from pruning.pruner import Claim, saliency, scored


def flow(network: Network, weights: Tensors, probe: Probe) -> Tensor:
    """R_SF: the sum of the outputs for an input of ones, every weight |w|, biases 0, norms neutral."""
    return network.neutralised().forward({n: w.abs() for n, w in weights.items()}, probe.ones()).sum()


synflow = scored(
    "synflow",
    saliency(flow),
    objective=flow,
    rounds=100,
    claims=frozenset(Claim) - {Claim.GRADIENT_SIGNAL},
)
