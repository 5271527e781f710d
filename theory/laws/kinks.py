"""Conservation where an activation has a kink or a maximum is tied: algebra, whatever slope is taken there."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from pruning.graph import Graph, Node
from pruning.pruners.synflow import synflow
from theory.calculus import unit_balances
from theory.case import Case
from theory.impostors.scores import nudged_loss
from theory.law import Balances, Grade, Subject, law
from theory.networks.outside import tanh_net
from theory.numerics import Bound
from theory.traits import Trait

SLOPES = (0.0, 0.5, 1.0, 3 / 7)  # what the derivative of relu at 0 is taken to be


@law(
    "A9",
    subject=Subject.OBJECTIVE,
    claim=None,
    needs={Trait.HOMOGENEOUS},
    local=True,
    source="z * phi'(0) = 0 at z = 0; the shares of a tied maximum sum to 1",
    impostor=nudged_loss,
    breaks_on=(synflow, tanh_net),
    grades=(Grade.EXACT, Grade.ROUNDED, Grade.ORDER),
)
def kinks(case: Case) -> Iterator[Balances]:
    """Units balance at preactivations of 0 and at tied maxima, whatever slope and shares are taken there."""
    if not len(case.units):
        return
    for slope in SLOPES:
        network = case.batch.network
        there = replace(case, batch=replace(case.batch, network=replace(network, graph=bent(case.graph, slope))))
        into, out = there.graph.incoming(there.scores) + there.entering, there.graph.outgoing(there.scores)
        bound = there.flow_bound()
        at_units = None if bound is None else Bound(bound.size[:, case.units], bound.exact)
        scale = there.absolute[:, case.units]
        name = f"slope {slope:.3g} at 0"
        yield unit_balances(case, name, into[:, case.units], out[:, case.units], scale, bound=at_units)


def bent(graph: Graph, slope: float) -> Graph:
    """The graph with relu's slope at 0 as given, and maxima that share among ties."""
    nodes = {n.name: replace(n, op=_with_slope(slope)) for n in graph.nodes if n.kind == "relu"}
    nodes |= {n.name: replace(n, op=_shared_max) for n in graph.nodes if _is_plain_max(n)}
    swapped = {n.name: nodes.get(n.name, n) for n in graph.nodes}
    junctions = tuple(replace(j, inner=tuple(swapped[n.name] for n in j.inner)) for j in graph.junctions)
    return replace(graph, nodes=tuple(swapped.values()), junctions=junctions)


def _with_slope(slope: float) -> Callable[[Tensor], Tensor]:
    def relu(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, torch.where(x == 0, slope * x, 0 * x))

    def leaky_relu(x: Tensor) -> Tensor:  # by this name it counts as rounding: a cotangent is multiplied by the slope
        return relu(x)

    return relu if slope in (0, 1) else leaky_relu


def _is_plain_max(node: Node) -> bool:
    """A square pool without overlap or padding, which can be had by reshaping."""
    return node.kind == "max_pool2d" and len(node.args) == 3 and node.args[1] == node.args[2]


def _shared_max(x: Tensor, size: list[int], stride: list[int]) -> Tensor:
    rows, columns = x.shape[-2] // size[0], x.shape[-1] // size[1]
    cut = x[..., : rows * size[0], : columns * size[1]]
    return cut.reshape(*x.shape[:-2], rows, size[0], columns, size[1]).amax((-3, -1))


_shared_max.__name__ = "max_pool2d"
