"""Laws of the layer just before a norm, for any objective: what is left of its weights' saliency and of its bias's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from pruning.graph import Edge
from theory.case import Case
from theory.impostors import norms as impostors
from theory.law import Balances, Grade, Subject, folklore, law
from theory.laws.norms import by_sample, sums_of_slopes
from theory.laws.weights import by_channel, into_channels, weighted_in
from theory.networks import smallest
from theory.nodes.heads import bias_of
from theory.nodes.local import Local, Point, balanced, located
from theory.nodes.norms import Norm, norms_of
from theory.nodes.ways import map_of
from theory.subjects import the_loss

ORDER = (Grade.ORDER,)


@dataclass(frozen=True, eq=False)
class Before:
    """A norm and the weighted operator just before it."""

    norm: Norm
    edge: Edge

    @property
    def points(self) -> list[Point]:
        """The norm's."""
        return self.norm.points

    @property
    def parameters(self) -> list[str | None]:
        """Those of both."""
        return [*self.norm.parameters, self.edge.weight, bias_of(self.edge)]


def _before(case: Case) -> Iterator[Before]:
    known = map_of(case.graph)
    own = {site.node.name: site.edge for site in weighted_in(case.graph)}
    for norm in norms_of(case.graph):
        made = known.maker[norm.reads[0][0]].values()[norm.reads[0][1]]
        if made in own and len(known.readers[made]) == len(norm.reads):
            yield Before(norm, own[made])


@folklore(the_loss, smallest.trained_norm)
def masses_alike(case: Case) -> Iterator[Balances]:
    """A layer's weights have as much saliency as the gain of the norm behind them."""
    yield from _weights_before(case, damped=False)


@law(
    "1b.layer_before_norm",
    subject=Subject.MODULE,
    claim=None,
    source="derived: from the law of the norm",
    impostor=impostors.still_batch,
    breaks_on=(the_loss, smallest.features_norm),
    grades=ORDER,
    corrects=(masses_alike,),
)
def layer_before_norm(case: Case) -> Iterator[Balances]:
    """Before a norm of its channel, a channel's weights have eps / (v + eps) of the gain's saliency, its bias none."""
    yield from _weights_before(case)


def _weights_before(case: Case, damped: bool = True) -> Iterator[Balances]:
    for site, local in located(case, [s for s in _before(case) if s.norm.of_channels or case.outside]):
        norm, edge = site.norm, site.edge
        if not norm.of_channels:  # looked at outside the hypotheses alone
            slope = local.gradient[str(bias_of(edge))]
            yield balanced(
                case, f"{edge.node.where}: bias before {norm.kind}", slope, slope * 0, _bias_size(site, local)
            )
            continue
        out = norm.grouped(norm.leaving(local)).sum(-1)
        passed = (out * norm.damping(local)[0] if damped else out).reshape(len(out), -1, len(edge.heads)).sum(1)
        s = into_channels(edge, local.saliency(edge.weight))
        size = norm.grouped(local.value[norm.reads[0]]).abs() * norm.driving(local)
        size = size.sum(-1).reshape(len(out), -1, len(edge.heads)).sum(1)
        yield balanced(case, f"{edge.node.where}: weights before {norm.kind}", s, passed, size)
        if damped and bias_of(edge):
            slope, size = local.gradient[str(bias_of(edge))], _bias_size(site, local)
            yield balanced(case, f"{edge.node.where}: bias before {norm.kind}", slope, slope * 0, size)


def _bias_size(site: Before, local: Local) -> torch.Tensor:
    """What a bias's gradient is made of before it cancels: (problems, channels)."""
    x = local.value[site.norm.reads[0]]
    return by_channel(site.edge, site.norm.ungrouped(site.norm.driving(local), x))


@folklore(the_loss, smallest.features_norm)
def idle_bias(case: Case) -> Iterator[Balances]:
    """A bias before a norm of any kind gets no gradient."""
    yield from _biases(case, each=True)


@law(
    "1b.group_bias",
    subject=Subject.MODULE,
    claim=None,
    source="derived: the group's mean is taken off",
    impostor=impostors.uncentred,
    breaks_on=(the_loss, smallest.rms_net),
    grades=ORDER,
    corrects=(idle_bias,),
)
def group_bias(case: Case) -> Iterator[Balances]:
    """Before a layer or group norm the slopes of a group add up to 0, and so do its biases' gradients; not for RMS."""
    norms = [n for n in by_sample(case) if n.centred or case.outside]
    yield from sums_of_slopes(case, norms)
    yield from _biases(case)


def _biases(case: Case, each: bool = False) -> Iterator[Balances]:
    sites = [s for s in _before(case) if not s.norm.of_channels and (s.norm.centred or case.outside)]
    for site, local in located(case, [s for s in sites if bias_of(s.edge)]):
        slope, size = local.gradient[str(bias_of(site.edge))], _bias_size(site, local)
        groups = site.norm.axes if site.norm.kind == "group_norm" else 1
        if not each:
            slope, size = (t.reshape(len(t), groups, -1).sum(-1) for t in (slope, size))
        yield balanced(case, f"{site.edge.node.where}: biases before {site.norm.kind}", slope, slope * 0, size)
