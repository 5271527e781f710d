"""Laws of weights that are computed of parameters, for any objective: weight norm and spectral norm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from pruning.graph import Node
from theory.case import Case
from theory.impostors import modules as impostors
from theory.law import Balances, Grade, Subject, folklore, law
from theory.networks import smallest
from theory.nodes.local import Local, Point, balanced, located, total
from theory.nodes.ways import map_of, parameter
from theory.subjects import the_loss

ORDER = (Grade.ORDER,)


@dataclass(frozen=True, eq=False)
class Computed:
    """A linear operator whose weight is computed from parameters by a node of some kind."""

    node: Node
    linear: Node

    @property
    def points(self) -> list[Point]:
        """What it makes."""
        return [self.linear.name]

    @property
    def parameters(self) -> list[str | None]:
        """Those of the weight, and the bias."""
        return [*self.node.parameters(), parameter(self.linear, 2)]


def _computed(case: Case, kind: str) -> Iterator[Computed]:
    known = map_of(case.graph)
    for node in case.graph.nodes:
        readers = known.readers[node.name]
        own = all(known.reads[p] == 1 for p in node.parameters())
        if node.kind == kind and own and len(readers) == 1 and readers[0].kind == "linear":
            yield Computed(node, readers[0])


def _leaving(site: Computed, local: Local) -> tuple[Tensor, Tensor]:
    """What leaves each row less its bias's saliency, and the absolute terms of it."""
    out, bias = local.flow(site.linear.name), local.saliency(parameter(site.linear, 2)).flatten(1)
    flat = out.flatten(1, -2)
    return flat.sum(1) - bias, flat.abs().sum(1) + bias.abs()


@folklore(the_loss, smallest.weight_norm_net)
def direction_carries(case: Case) -> Iterator[Balances]:
    """With weight norm the direction, which is what is pruned, has the saliency that leaves its row."""
    for site, local in located(case, _computed(case, "weight_normed")):
        out, size = _leaving(site, local)
        s = local.saliency(parameter(site.node, 0)).sum(-1)
        yield balanced(case, f"{site.node.where}: direction", s, out, size)


@law(
    "1b.weight_norm",
    subject=Subject.MODULE,
    claim=None,
    source="derived: v / |v| is of degree 0; Salimans and Kingma 2016",
    impostor=impostors.still_length,
    grades=ORDER,
    corrects=(direction_carries,),
)
def weight_norm(case: Case) -> Iterator[Balances]:
    """With weight norm a row's direction has no saliency in all; its gain and bias have what leaves it."""
    for site, local in located(case, _computed(case, "weight_normed")):
        out, size = _leaving(site, local)
        v, gain = (local.saliency(parameter(site.node, i)) for i in (0, 1))
        drawn = (local.gradient[str(parameter(site.node, 1))] * local.parameter[str(parameter(site.node, 1))]).abs()
        yield balanced(case, f"{site.node.where}: direction", v.sum(-1), v.sum(-1) * 0, v.abs().sum(-1) + drawn.sum(-1))
        yield balanced(case, f"{site.node.where}: gain", gain.sum(-1), out, size)


@folklore(the_loss, smallest.spectral_net)
def matrix_carries(case: Case) -> Iterator[Balances]:
    """With spectral norm the matrix has the saliency that leaves the layer less its bias's, as any other."""
    for site, local in located(case, _computed(case, "spectral_normed")):
        out, size = _leaving(site, local)
        s = local.saliency(parameter(site.node, 0))
        yield balanced(case, f"{site.node.where}: matrix", total(s), total(out), total(size))


@law(
    "1b.spectral_norm",
    subject=Subject.MODULE,
    claim=None,
    source="derived: W over its norm is of degree 0; Miyato et al. 2018",
    impostor=impostors.still_sigma,
    grades=ORDER,
    corrects=(matrix_carries,),
)
def spectral_norm(case: Case) -> Iterator[Balances]:
    """With spectral norm the matrix has no saliency in all."""
    for site, local in located(case, _computed(case, "spectral_normed")):
        s = local.saliency(parameter(site.node, 0))
        size = total(s.abs()) + total(_leaving(site, local)[1])
        yield balanced(case, f"{site.node.where}: matrix", total(s), total(s) * 0, size)
