"""Random pruning: the control that every method should beat."""

from torch import Tensor

from pruning.network import Network
from pruning.problem import Probe
from pruning.pruner import Claim, Entrywise, State, scored


def noise(network: Network, state: State, probe: Probe) -> dict[str, Tensor]:
    """Uniform in [0, 1), anew in each round."""
    return probe.rand(state.weights)


random = scored(
    "random",
    Entrywise(noise),
    claims={
        Claim.POSITIVE,
        Claim.DATA_FREE,
        Claim.SAMPLE_ORDER,
        Claim.GLOBAL_ORDER,
        Claim.EXACT_BUDGET,
        Claim.NESTED_MASKS,
        Claim.IDEMPOTENT,
        Claim.DETERMINISTIC,
    },
)
