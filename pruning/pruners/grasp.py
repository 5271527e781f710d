"""GraSP: keep what preserves gradient flow, theta * Hg at temperature 200 (Wang et al. 2020)."""

from torch import Tensor

from pruning.network import Network
from pruning.problem import Probe
from pruning.pruner import Claim, State, scored

TEMPERATURE = 200.0  # divides the outputs; the score's order depends on it


def gradient_signal(network: Network, state: State, probe: Probe) -> dict[str, Tensor]:
    """theta * Hg. The paper removes the largest -theta * Hg, so the largest of this is kept.

    Its scalar, half the squared gradient norm, is no function of the outputs: there is no objective
    in the sense of the conservation laws.
    """
    weights = state.effective
    product = probe.hvp(network, weights, temperature=TEMPERATURE)
    return {name: weights[name] * product[name] for name in weights}


grasp = scored(
    "grasp",
    gradient_signal,
    claims={
        Claim.PERMUTATION_EQUIVARIANT,
        Claim.ZERO_WHEN_MASKED,
        Claim.PRUNED_AS_ZERO,
        Claim.SAMPLE_ORDER,
        Claim.GLOBAL_ORDER,
        Claim.GRADIENT_SIGNAL,
        Claim.EXACT_BUDGET,
        Claim.NESTED_MASKS,
        Claim.IDEMPOTENT,
        Claim.DETERMINISTIC,
    },
)
