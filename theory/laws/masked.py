"""What a pruned weight counts for: nothing, in its own score and in those of the others."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from pruning.pruner import Claim
from theory.case import Case
from theory.impostors.scores import mask_gradient, stale_gradient
from theory.law import Balances, Grade, Subject, counted, equal, law, told

EXACT = (Grade.EXACT,)


@law(
    "S3",
    subject=Subject.SCORES,
    claim=Claim.ZERO_WHEN_MASKED,
    source="theta * g with theta the masked weight; public iterative SNIP breaks it",
    impostor=mask_gradient,
    grades=EXACT,
)
def zero_when_masked(case: Case) -> Iterator[Balances]:
    """A pruned weight scores zero."""
    masks = random_masks(case)
    scores = replace(case, masks=masks).scores
    for name, score in scores.items():
        pruned = torch.where(masks[name], 0, score).flatten(1)
        there = torch.where(masks[name], 0, case.batch.weights[name]).flatten(1)
        yield equal(
            f"pruned weight of {name}",
            pruned,
            torch.zeros_like(pruned),
            bound=counted(pruned),
            scale=there.abs(),
            label=lambda b, u, n=name, s=pruned: f"the pruned weight {n}[{u}] scores {float(s[b, u]):.6g}",  # type: ignore[misc]
        )


@law(
    "S9",
    subject=Subject.SCORES,
    claim=Claim.PRUNED_AS_ZERO,
    source="Tanaka et al. 2020, Algorithm 1: each round scores the masked network",
    impostor=stale_gradient,
    grades=EXACT,
)
def masked_as_zero(case: Case) -> Iterator[Balances]:
    """The weights that are left score as if the pruned ones were zero, to the bit."""
    masks = random_masks(case)
    zeros = case.moved({n: torch.where(masks[n], w, 0) for n, w in case.batch.weights.items()})
    masked, wanted = replace(case, masks=masks).scores, zeros.scores
    for name, score in masked.items():
        left, right = (torch.where(masks[name], s, 0).flatten(1) for s in (score, wanted[name]))
        yield equal(
            f"weight of {name}",
            left,
            right,
            bound=counted(left),
            label=lambda b, u, n=name, x=left, y=right: (  # type: ignore[misc]
                f"weight {n}[{u}] scores {' and not '.join(told(x[b, u], y[b, u]))}"
            ),
        )


def random_masks(case: Case) -> dict[str, Tensor]:
    """About half of what the case keeps; one draw for all problems, so that each meets it alone as well."""
    source = case.source(6)
    drawn = {n: torch.rand(w.shape[1:], generator=source).lt(0.5).to(w.device) for n, w in case.batch.weights.items()}
    kept = case.masks or {n: torch.ones_like(w, dtype=torch.bool) for n, w in case.batch.weights.items()}
    return {n: kept[n] & half for n, half in drawn.items()}
