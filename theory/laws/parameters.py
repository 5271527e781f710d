"""Laws of parameters that are no weights of an operator, for any objective: slopes of PReLU, tables of embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from pruning.graph import Node
from theory.case import Case
from theory.impostors import modules as impostors
from theory.law import Balances, Grade, Subject, folklore, law
from theory.networks import smallest
from theory.nodes.local import Point, balanced, located, total
from theory.nodes.ways import argument, map_of, parameter
from theory.subjects import the_loss

ORDER = (Grade.ORDER,)


@dataclass(frozen=True, eq=False)
class Held:
    """An operator with one parameter that nobody else reads."""

    node: Node
    name: str

    @property
    def points(self) -> list[Point]:
        """What it reads and makes; the numbers of rows have no slope."""
        return [(self.node.name, 0), self.node.name]

    @property
    def parameters(self) -> list[str | None]:
        """The parameter."""
        return [self.name]


def _held(case: Case, kind: str, position: int) -> Iterator[Held]:
    reads = map_of(case.graph).reads
    for node in case.graph.nodes:
        name = parameter(node, position)
        if node.kind == kind and name is not None and reads[name] == 1:
            yield Held(node, name)


@folklore(the_loss, smallest.prelu_net)
def slope_is_a_cut(case: Case) -> Iterator[Balances]:
    """The slope of a PReLU has the saliency that leaves it, as a layer of weights would."""
    for site, local in located(case, _held(case, "prelu", 1)):
        out = local.flow(site.node.name)
        yield balanced(case, site.node.where, total(local.saliency(site.name)), total(out), total(out.abs()))


@law(
    "1b.prelu",
    subject=Subject.MODULE,
    claim=None,
    source="derived from Euler's identity, operator by operator",
    impostor=impostors.exponential,
    grades=ORDER,
    corrects=(slope_is_a_cut,),
)
def prelu(case: Case) -> Iterator[Balances]:
    """A PReLU passes on, sample by sample and channel by channel, what flows in; its slope has what is negative."""
    for site, local in located(case, _held(case, "prelu", 1)):
        x, y, s = local.flow((site.node.name, 0)), local.flow(site.node.name), local.saliency(site.name)
        by, size = (t.flatten(3).sum(3) if t.dim() > 3 else t for t in (x, x.abs() + y.abs()))
        out = y.flatten(3).sum(3) if y.dim() > 3 else y
        yield balanced(case, f"{site.node.where}: prelu", by, out, size)
        negative = torch.where(local.value[(site.node.name, 0)] < 0, y, 0).transpose(1, 2).flatten(2)
        own, size = (t.sum(2) if s.shape[1] > 1 else total(t) for t in (negative, negative.abs()))
        yield balanced(case, f"{site.node.where}: slope", s.flatten(1), own, size)


@folklore(impostors.padding, smallest.table_net)
def any_table(case: Case) -> Iterator[Balances]:
    """A table has the saliency that leaves it, whatever its options, a padding row that is not 0 among them."""
    yield from _tables(case)


@law(
    "1b.embedding",
    subject=Subject.MODULE,
    claim=None,
    source="derived: no padding row, no scaling by frequency",
    impostor=impostors.by_frequency,
    grades=ORDER,
    corrects=(any_table,),
)
def embedding(case: Case) -> Iterator[Balances]:
    """A table of embeddings has, feature by feature, the saliency that leaves it: it is a first layer."""
    yield from _tables(case)


def _tables(case: Case) -> Iterator[Balances]:
    plain = (s for s in _held(case, "embedding", 0) if argument(s.node, 2) in (None, -1) and not argument(s.node, 3))
    for site, local in located(case, plain):
        s, out = local.saliency(site.name), local.flow(site.node.name).flatten(1, -2)
        size = s.abs().sum(1) + out.abs().sum(1)
        yield balanced(case, f"{site.node.where}: table", s.sum(1), out.sum(1), size)
