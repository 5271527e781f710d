"""Laws of gated units, down(f(gate x) * up x), for any objective."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pruning.graph import Edge, Node
from theory.case import Case
from theory.impostors import modules as impostors
from theory.law import Balances, Grade, Subject, folklore, law
from theory.laws.weights import into_channels, out_of_channels
from theory.networks import smallest
from theory.nodes.heads import Wired, bias_of, way_edge
from theory.nodes.local import Local, Point, balanced, located
from theory.nodes.ways import axis_of, channels, way_on, way_to
from theory.subjects import the_loss

ORDER = (Grade.ORDER,)


@dataclass(frozen=True, eq=False)
class Factor:
    """A layer that makes a factor of a product, and the layer that reads the product.

    order: for each channel that the product's reader has, the channel of this layer. plain: nothing but moves lies
    between layer and product.
    """

    node: Node
    layer: Edge
    reader: Edge
    order: Tensor
    plain: bool

    @property
    def points(self) -> list[Point]:
        """What the layer reads, and the product."""
        return [(self.layer.node.name, 0), self.node.name]

    @property
    def parameters(self) -> list[str | None]:
        """Its weight and bias, and the reader's weight."""
        return [self.layer.weight, bias_of(self.layer), self.reader.weight]


def _factors(case: Case, strange: bool = False) -> Iterator[Factor]:
    wired = Wired(case)
    for node in case.graph.nodes:
        if node.kind != "mul" or len(set(node.values())) != 2:
            continue
        on = way_on(case.graph, node.name)
        if on is None or way_edge(case.graph, on).node.name not in wired.own:
            continue
        for value in node.values():
            back = way_to(case.graph, value, node.name, wired.own, strange)
            if back is None:
                continue
            layer, reader = wired.own[back.start], way_edge(case.graph, on)
            numbers = back.numbered(channels(wired.shapes[back.start], axis_of(layer)))[value]
            if tuple(numbers.shape) != wired.shapes[node.name]:
                continue
            order = on.numbered(numbers)[on.end].movedim(axis_of(reader), 0).flatten(1)[:, 0]
            yield Factor(node, layer, reader, order, back.direct)


def _against_reader(case: Case, sites: list[Factor], counted: int = 1) -> Iterator[Balances]:
    for site, local in located(case, sites):
        own, down = local.saliency(site.layer.weight), local.saliency(site.reader.weight)
        bias = counted * local.saliency(bias_of(site.layer)).flatten(1)
        left, read = into_channels(site.layer, own) + bias, out_of_channels(site.reader, down)
        size = into_channels(site.layer, own.abs()) + bias.abs()
        right = torch.zeros_like(left).index_add(1, site.order.to(left.device), read)
        size = size.index_add(1, site.order.to(left.device), out_of_channels(site.reader, down.abs()))
        yield balanced(case, f"{site.layer.node.where} against {site.reader.node.where}", left, right, size)


@folklore(the_loss, smallest.biased_gate)
def up_bias_forgotten(case: Case) -> Iterator[Balances]:
    """Unit by unit, the weights of up and of down have one saliency, bias or no bias."""
    yield from _against_reader(case, [f for f in _factors(case) if f.plain], counted=0)


@law(
    "1b.glu",
    subject=Subject.MODULE,
    claim=None,
    source="derived; Shazeer 2020",
    impostor=impostors.one_more,
    grades=ORDER,
    corrects=(up_bias_forgotten,),
)
def gated_units(case: Case) -> Iterator[Balances]:
    """Unit by unit, up with its bias has the saliency of down, whatever function gates it."""
    yield from _against_reader(case, [f for f in _factors(case) if f.plain])


@folklore(the_loss, smallest.swish_gate)
def any_gate(case: Case) -> Iterator[Balances]:
    """Unit by unit, the gate with its bias has the saliency of down, SwiGLU's too."""
    yield from _against_reader(case, [f for f in _factors(case, strange=True) if not f.plain])


@law(
    "1b.reglu",
    subject=Subject.MODULE,
    claim=None,
    source="derived from Euler's identity, operator by operator",
    impostor=impostors.still_factor,
    breaks_on=(the_loss, smallest.swish_gate),
    grades=ORDER,
    corrects=(any_gate,),
)
def homogeneous_gates(case: Case) -> Iterator[Balances]:
    """With a gate of degree 1 the gate too has the saliency of down, so what enters is twice what leaves."""
    found = list(_factors(case, strange=case.outside))
    yield from _against_reader(case, [f for f in found if not f.plain])
    for node in {f.node.name: f.node for f in found if not f.plain}.values():
        both = [f for f in found if f.node is node]
        if len(both) == 2:
            for site, local in located(case, [_Both(*both)]):
                yield _twice(case, site, local)


@dataclass(frozen=True, eq=False)
class _Both:
    """Both factors of a product."""

    first: Factor
    second: Factor

    @property
    def points(self) -> list[Point]:
        return [*self.first.points, *self.second.points]

    @property
    def parameters(self) -> list[str | None]:
        return [*self.first.parameters, *self.second.parameters]


def _twice(case: Case, site: _Both, local: Local) -> Balances:
    """What the two layers read and their biases' saliency, against twice the product."""
    terms = [local.flow(f.points[0]) for f in (site.first, site.second)]
    terms += [local.saliency(bias_of(f.layer)) for f in (site.first, site.second)]
    out = local.flow(site.first.node.name)
    flat = torch.cat([t.flatten(1) for t in terms], 1)
    size = flat.abs().sum(1, keepdim=True) + out.flatten(1).abs().sum(1, keepdim=True)
    left, right = flat.sum(1, keepdim=True), 2 * out.flatten(1).sum(1, keepdim=True)
    return balanced(case, f"{site.first.node.where}: in against twice out", left, right, size)
