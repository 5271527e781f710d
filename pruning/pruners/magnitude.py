"""Global magnitude: the absolute weight (Janowsky 1989; Han et al. 2015)."""

from torch import Tensor

from pruning.network import Network
from pruning.problem import Probe
from pruning.pruner import Claim, Entrywise, State, scored


def absolute(network: Network, state: State, probe: Probe) -> dict[str, Tensor]:
    """|theta|."""
    return {name: weight.abs() for name, weight in state.effective.items()}


magnitude = scored(
    "magnitude",
    Entrywise(absolute),
    claims={
        Claim.POSITIVE,
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
