"""LAMP: the squared weight over the squares of its layer that are still there when its turn comes (Lee et al. 2021).

The paper (arXiv 2010.07611), caption of Figure 1: "Global pruning by LAMP is equivalent to the layerwise
magnitude-based pruning with an automatically chosen layerwise sparsity." What it says of layer collapse is not quoted
and not claimed: the text was not at hand. By the formula the largest weight of a layer scores 1, so that no layer
empties as long as there is one weight for each; nothing sees to it that these lie on one path.

Left out: training between rounds.
"""

import torch
from torch import Tensor

from pruning.network import Network
from pruning.problem import Probe
from pruning.pruner import Claim, State, scored


def layer_adaptive(network: Network, state: State, probe: Probe) -> dict[str, Tensor]:
    """w^2 over the sum of the squares from w upwards. Equal weights go in order, the first being the largest.

    So their scores differ and hang on the order: with ties, the score is not equivariant under permutations.
    """
    return {name: _lamp(weight.flatten()).view_as(weight) for name, weight in state.effective.items()}


def _lamp(weight: Tensor) -> Tensor:
    squares, order = weight.square().sort(descending=True, stable=True)
    above = squares.cumsum(0)  # its own square and those of all that are larger
    return torch.zeros_like(weight).scatter(0, order, torch.where(above > 0, squares / above, 0))


lamp = scored(
    "lamp",
    layer_adaptive,
    claims={
        Claim.POSITIVE,
        Claim.SIGN_INVARIANT,
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
