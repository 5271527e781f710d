"""Laws of norms, for any objective: what little passes them, and what their gains and shifts carry."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from theory.case import Case
from theory.impostors import norms as impostors
from theory.law import Balances, Grade, Subject, folklore, law
from theory.networks import smallest
from theory.nodes.local import balanced, located
from theory.nodes.norms import Affine, Norm, affines_of, norms_of, summed_like
from theory.subjects import the_loss

ORDER = (Grade.ORDER,)


@folklore(the_loss, smallest.shifted_norm)
def shift_forgotten(case: Case) -> Iterator[Balances]:
    """The gain of a norm has the saliency that leaves the norm."""
    yield from _gains(case, counted=0)


@law(
    "1b.gain_and_shift",
    subject=Subject.MODULE,
    claim=None,
    source="derived: what leaves a norm is of degree 1 in its gain and shift together",
    impostor=impostors.gain_from_one,
    grades=ORDER,
    corrects=(shift_forgotten,),
)
def gain_and_shift(case: Case) -> Iterator[Balances]:
    """Entry by entry, the gain and the shift of a norm of any kind together have the saliency that leaves it."""
    yield from _gains(case)


def _gains(case: Case, counted: int = 1) -> Iterator[Balances]:
    for norm, local in located(case, [n for n in norms_of(case.graph) if n.gain]):
        out = local.flow(norm.node.name)
        gain, shift = local.saliency(norm.gain).flatten(1), counted * local.saliency(norm.shift).flatten(1)
        size = gain.abs() + shift.abs() + norm.per_parameter(out.abs())
        yield balanced(case, place(norm), gain + shift, norm.per_parameter(out), size)
    for affine, local in located(case, affines_of(case.graph)):
        out = local.flow(affine.sum.name)
        gain, shift = local.saliency(affine.scale), counted * local.saliency(affine.shift)
        if gain.shape != shift.shape:
            continue
        size = gain.abs() + shift.abs() + summed_like(out.abs(), gain)
        yield balanced(case, place(affine), gain + shift, summed_like(out, gain), size)


def place(norm: Norm | Affine) -> str:
    """The norm as people know it."""
    if isinstance(norm, Affine):
        return f"{norm.sum.where}: norm in evaluation"
    return f"{norm.node.where}: {norm.kind}"


@folklore(the_loss, smallest.shifted_affine)
def passed_in_evaluation(case: Case) -> Iterator[Balances]:
    """In evaluation mode a batch norm lets through what flows in."""
    yield from _in_evaluation(case, counted=0)


@law(
    "1b.batch_norm_eval",
    subject=Subject.MODULE,
    claim=None,
    source="derived: the shift is beta - gain * mean / deviation",
    impostor=impostors.of_the_batch,
    grades=ORDER,
    corrects=(passed_in_evaluation,),
)
def batch_norm_in_evaluation(case: Case) -> Iterator[Balances]:
    """In evaluation mode a batch norm lets through, channel by channel, what leaves it less its shift's saliency."""
    yield from _in_evaluation(case)


def _in_evaluation(case: Case, counted: int = 1) -> Iterator[Balances]:
    for affine, local in located(case, affines_of(case.graph)):
        x, y = (local.flow(p) for p in affine.points)
        shift = counted * local.saliency(affine.shift)
        size = summed_like(x.abs(), shift) + summed_like(y.abs(), shift) + shift.abs()
        yield balanced(case, place(affine), summed_like(x, shift), summed_like(y, shift) - shift, size)


def flows(case: Case, norms: list[Norm], *, damped: bool = True, whole: bool = True) -> Iterator[Balances]:
    """F_in = eps / (v + eps) <y - shift, dR/dy> per group, or member by member."""
    for norm, local in located(case, norms):
        into, out = norm.grouped(norm.entering(local)), norm.grouped(norm.leaving(local))
        damping = norm.damping(local)[0].unsqueeze(-1) if damped else 1
        size = norm.grouped(local.value[norm.reads[0]]).abs() * norm.driving(local)
        left, right = into, damping * out
        if whole:
            left, right, size = left.sum(-1), right.sum(-1), size.sum(-1)
        yield balanced(case, f"{place(norm)}, flow", left, right, size)


def sums_of_slopes(case: Case, norms: list[Norm]) -> Iterator[Balances]:
    """The dR/dx of a group add up to 0."""
    for norm, local in located(case, norms):
        slopes, size = norm.grouped(norm.slope(local)).sum(-1), norm.driving(local).sum(-1)
        yield balanced(case, f"{place(norm)}, sum of slopes", slopes, torch.zeros_like(slopes), size)


@folklore(the_loss, smallest.trained_norm)
def passed_in_training(case: Case) -> Iterator[Balances]:
    """What flows into a norm flows out of it, but for its shift."""
    yield from flows(case, norms_of(case.graph), damped=False)


@law(
    "1b.batch_norm",
    subject=Subject.MODULE,
    claim=None,
    source="derived: mean and scale of the values cancel but for eps",
    impostor=impostors.running,
    grades=ORDER,
    corrects=(passed_in_training,),
)
def batch_norm_in_training(case: Case) -> Iterator[Balances]:
    """A channel normalised by its own statistics lets eps / (v + eps) of its gain's flow through, and no sum of slopes.

    Batch norm in training, and instance norm for each sample.
    """
    norms = [n for n in norms_of(case.graph) if n.of_channels]
    yield from flows(case, norms)
    yield from sums_of_slopes(case, norms)


@folklore(the_loss, smallest.features_norm)
def feature_by_feature(case: Case) -> Iterator[Balances]:
    """A layer norm lets eps / (v + eps) of the flow through, feature by feature."""
    yield from flows(case, by_sample(case), whole=False)


def by_sample(case: Case) -> list[Norm]:
    """Layer, group and RMS norms."""
    return [n for n in norms_of(case.graph) if not n.of_channels]


@law(
    "1b.layer_norm",
    subject=Subject.MODULE,
    claim=None,
    source="derived from Euler's identity, operator by operator",
    impostor=impostors.still_norm,
    grades=ORDER,
    corrects=(feature_by_feature,),
)
def norms_of_samples(case: Case) -> Iterator[Balances]:
    """Layer, group and RMS norms let eps / (v + eps) of <y - shift, dR/dy> through, per sample and group."""
    yield from flows(case, by_sample(case))
