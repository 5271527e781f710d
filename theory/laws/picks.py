"""Laws of what a pruner picks: by its scores over all layers, and whatever the scale of the hidden units."""

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from pruning.masks import Masks, Tensors
from pruning.pruner import Claim
from pruning.pruners.synflow import synflow
from theory.calculus import rescaled
from theory.case import Case, Plan
from theory.impostors.scores import raw_gradient
from theory.impostors.selections import layer_by_layer
from theory.law import Balances, Grade, Subject, at_most, counted, law, none_of
from theory.networks.outside import two_tanh_net
from theory.traits import Trait

EXACT = (Grade.EXACT,)


@law(
    "M5",
    subject=Subject.SCORES,
    claim=Claim.GLOBAL_ORDER,
    source="Tanaka et al. 2020, Algorithm 1: one threshold for all layers",
    impostor=layer_by_layer,
    grades=EXACT,
    one_by_one=True,
)
def global_order(case: Case) -> Iterator[Balances]:
    """No weight that a round removes, of whatever layer, scores above one that it keeps."""
    if case.pruner.choose is not None:  # it goes by more than its scores
        return
    rounds = [_ranked(case, i) for i in range(case.batch.size)]
    gone, left = (torch.stack([torch.stack(side) for side in sides]) for sides in zip(*rounds, strict=True))
    there = gone.isfinite() & left.isfinite()
    gone, left = torch.where(there, gone, 0), torch.where(there, left, 0)
    yield at_most(
        "round",
        gone,
        left,
        bound=counted(gone),
        scale=there.to(gone),
        label=lambda b, u: (
            f"round {u + 1} removes a weight of score {float(gone[b, u]):.6g} and keeps {left[b, u]:.6g}"
        ),
    )


def _ranked(case: Case, index: int) -> tuple[list[Tensor], list[Tensor]]:
    """Over the rounds of a run: the largest score removed, and the smallest that is kept; infinite where none is."""
    gone, left = list[Tensor](), list[Tensor]()

    def select(scores: Tensors, masks: Masks, k: int) -> Masks:
        after = case.pruner.select(scores, masks, k)
        fallen = [scores[n].masked_fill(~masks[n] | after[n], -math.inf).amax() for n in masks]
        staying = [scores[n].masked_fill(~masks[n] | ~after[n], math.inf).amin() for n in masks]
        gone.append(torch.stack(fallen).amax())
        left.append(torch.stack(staying).amin())
        return after

    watched = replace(case, pruner=replace(case.pruner, select=select))
    watched.pruned(index, _plan(case))
    return gone, left


@law(
    "M6",
    subject=Subject.TRACE,
    claim=Claim.RESCALED_MASKS,
    needs={Trait.HOMOGENEOUS},
    local=True,
    source="the function stays, so should what is pruned; powers of two change no mantissa",
    impostor=raw_gradient,
    breaks_on=(synflow, two_tanh_net),
    grades=EXACT,
)
def rescaled_masks(case: Case) -> Iterator[Balances]:
    """The same weights are pruned when hidden units are rescaled by powers of two and the function stays."""
    exponents = 2 * torch.randint(0, 3, (case.graph.units,), generator=case.source(11))
    moved = rescaled(case, exponents)
    changed = {n: (moved.batch.weights[n] != w).flatten(1).any(1) for n, w in case.batch.weights.items()}
    looked = torch.stack(list(changed.values())).any(0)
    count = torch.tensor([[_differing(case, moved, i)] for i in range(case.batch.size)])
    yield none_of(
        "run",
        count,
        lambda b, u: f"pruned to {_plan(case).keep} of {case.total}, the masks differ at {int(count[b, u])} weights",
        looked=looked.unsqueeze(1).to(count),
    )


def _differing(case: Case, moved: Case, index: int) -> float:
    first, second = (c.pruned(index, _plan(case)).masks for c in (case, moved))
    return float(sum((first[n] != second[n]).sum() for n in first))


def _plan(case: Case) -> Plan:
    """To a third of the weights; on a full-size model in one round: more would take long, and show no more."""
    return Plan(math.ceil(case.total / 3), 4 if case.batch.shape is not None else 1)
