"""Laws of attention's values and of the bias of its keys, for any objective."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from theory.case import Case
from theory.impostors import attention as impostors
from theory.law import Balances, Grade, Subject, folklore, law
from theory.networks import smallest
from theory.nodes.heads import Fed, Heads, Wired, heads_of
from theory.nodes.local import Local, Point, balanced, located
from theory.nodes.pairs import columns, matrices, rows, values_and_outputs_of
from theory.subjects import the_loss

ORDER = (Grade.ORDER,)


@folklore(the_loss, smallest.biased_attention)
def value_bias_forgotten(case: Case) -> Iterator[Balances]:
    """The weights of a head's values have the saliency of the weights that read them, bias or no bias."""
    yield from _mixed(case, counted=False)


@law(
    "1b.attention_values",
    subject=Subject.MODULE,
    claim=None,
    source="derived: linear bottleneck of W_V and W_O",
    impostor=impostors.unit_values,
    grades=ORDER,
    corrects=(value_bias_forgotten,),
)
def values_and_outputs(case: Case) -> Iterator[Balances]:
    """G_V W_V^T = W_O^T G_O head by head, biases of values included, summed over the heads that share values."""
    yield from _mixed(case)


def _mixed(case: Case, counted: bool = True) -> Iterator[Balances]:
    for pair, local in located(case, values_and_outputs_of(case)):
        (o, g), (v, h) = columns(pair.first, local), rows(pair.second, local, counted)
        sides = matrices(pair, (g, o), (h, v))  # W_O^T G_O against G_V W_V^T
        channels = tuple(t.diagonal(dim1=-2, dim2=-1) for t in sides)
        yield balanced(case, f"{pair.heads.node.where}: values and outputs", *channels)
        if counted and pair.direct:
            yield balanced(case, f"{pair.heads.node.where}: matrix of values and outputs", *sides)


@folklore(the_loss, smallest.rotary_attention)
def keys_need_no_bias(case: Case) -> Iterator[Balances]:
    """The bias of keys gets no gradient in any attention, rotary embedding or not."""
    yield from _key_biases(case, lambda keys: True)


@law(
    "1b.key_bias",
    subject=Subject.MODULE,
    claim=None,
    source="derived: softmax does not see a constant added to a row",
    impostor=impostors.with_sink,
    breaks_on=(the_loss, smallest.rotary_attention),
    grades=ORDER,
    corrects=(keys_need_no_bias,),
)
def key_bias(case: Case) -> Iterator[Balances]:
    """The slopes of a head's keys add up to 0 over the tokens, so that a bias straight before them gets no gradient."""
    for heads, local in located(case, heads_of(case.graph)):
        slope, size = _key_slopes(heads, local)
        yield balanced(case, f"{heads.node.where}: keys", slope.sum(-2), slope.sum(-2) * 0, size)
    yield from _key_biases(case, lambda keys: keys.way.direct or case.outside)


def _key_slopes(heads: Heads, local: Local) -> tuple[Tensor, Tensor]:
    """dR/dk, (problems, samples, heads, tokens, width), and what its sum over tokens is made of before softmax cancels.

    |q| times the largest of |dR/dy| |v| over the tokens: softmax may leave next to nothing of it.
    """
    slope = local.slope[heads.k].transpose(-1, -2) if heads.turned else local.slope[heads.k]
    q, v, g = local.value[heads.q].abs(), local.value[heads.v].abs(), local.slope[heads.mixed].abs()
    v = v.repeat_interleave(g.shape[-3] // v.shape[-3], -3) if v.dim() > 3 else v
    size = (q * (g @ v.transpose(-1, -2)).amax(-1, keepdim=True)).sum(-2)
    return slope, size.reshape(*size.shape[:-2], slope.shape[-3], -1, size.shape[-1]).sum(-2) if q.dim() > 4 else size


@dataclass(frozen=True, eq=False)
class Keys:
    """The projection of keys, and where its heads are read."""

    heads: Heads
    fed: Fed

    @property
    def points(self) -> list[Point]:
        """All that attention reads and makes."""
        return self.heads.points

    @property
    def parameters(self) -> list[str | None]:
        """The bias."""
        return [self.fed.bias]


def _key_biases(case: Case, chosen: Callable[[Fed], bool]) -> Iterator[Balances]:
    wired = Wired(case)
    found = ((heads, wired.fed(heads.k, heads.turned)) for heads in heads_of(case.graph))
    sites = [Keys(heads, fed) for heads, fed in found if fed is not None and fed.bias and chosen(fed)]
    for site, local in located(case, sites):
        _, each = _key_slopes(site.heads, local)
        order = site.fed.order.flatten().to(each.device)
        gradient = local.gradient[str(site.fed.bias)]
        size = torch.zeros_like(gradient).index_add(1, order, each.reshape(len(each), -1, len(order)).sum(1))
        own = torch.zeros_like(gradient).index_fill(1, order, 1)
        yield balanced(case, f"{site.heads.node.where}: bias of keys", gradient * own, gradient * 0, size)
