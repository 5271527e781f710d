"""Networks with an operator that is wrong on purpose: another formula than the one sold, or not its own derivative."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pruning.graph import Graph
from pruning.masks import Tensors
from pruning.network import Network
from pruning.problem import Probe
from pruning.pruner import Claim, Objective, Pruner, saliency, scored
from pruning.pruners.snip import loss
from theory.nodes.ways import map_of

Op = Callable[..., Any]
Swap = Callable[[Graph], dict[str, Op]]  # by name of a node, what is run in place of its operator


def swapped(name: str, swap: Swap, of: Objective = loss, claims: Iterable[Claim] = ()) -> Pruner:
    """The saliency, of the loss if nothing else is said, of a network some of whose operators are replaced."""

    def objective(network: Network, weights: Tensors, probe: Probe) -> Tensor:
        ops = swap(network.graph)
        nodes = tuple(replace(n, op=ops.get(n.name, n.op)) for n in network.graph.nodes)
        return of(replace(network, graph=replace(network.graph, nodes=nodes)), weights, probe)

    return scored(name, saliency(objective), objective=objective, claims=claims)


def each(kinds: str, change: Callable[[Op], Op]) -> Swap:
    """Replace every operator of some kinds by what is made of it."""
    return lambda graph: {n.name: change(n.op) for n in graph.nodes if n.kind in kinds.split()}


# operators without parameters


def _unsplit(x: Tensor, size: list[int], stride: list[int]) -> Tensor:
    """A max-pool that passes its gradient to every tied entry, whole."""
    channels = functional.unfold(x.flatten(0, 1).unsqueeze(1), tuple(size), stride=tuple(stride))
    largest = functional.max_pool2d(x, size, stride).detach()
    tied = (channels == largest.flatten(0, 1).flatten(1).unsqueeze(1)).to(x.dtype) * channels
    passed = tied.sum(1).view(largest.shape)
    return largest + passed - passed.detach()


def _activity(network: Network, weights: Tensors, probe: Probe) -> Tensor:
    """The loss and a penalty on every value on the way."""
    seen: list[Tensor] = []
    outer = network.tap

    def keep(name: str, value: Tensor) -> Tensor:
        found = outer(name, value) if outer else value
        seen.append(
            torch.where(found.isfinite(), found, 0).square().sum() if found.is_floating_point() else 0 * found.sum()
        )
        return found

    return loss(replace(network, tap=keep), weights, probe) + torch.stack(seen).sum()


def _quantised(network: Network, weights: Tensors, probe: Probe) -> Tensor:
    """Weights rounded to thirds on the way forward, and the slope taken as if they were not."""
    return loss(network, {n: w + ((3 * w).round() / 3 + 1 / 8 - w).detach() for n, w in weights.items()}, probe)


def _products(change: Op) -> Swap:
    """Replace products of two values by a function of the factors."""
    return lambda graph: {n.name: change for n in graph.nodes if n.kind == "mul" and len(n.values()) == 2}


# weights


def _second_use_still(graph: Graph) -> dict[str, Op]:
    """A weight that is read more than once is trained by its first reader alone."""
    reads, seen, found = map_of(graph).reads, set[str](), dict[str, Op]()
    for edge in graph.edges:
        if reads[edge.weight] > 1 and edge.weight in seen:
            op = edge.node.op
            found[edge.node.name] = lambda x, w, *rest, op=op: op(x, w.detach(), *rest)
        seen.add(edge.weight)
    return found


def _by_frequency(table: Tensor, index: Tensor, *rest: object) -> Tensor:
    """Each row's gradient over the number of times it is read."""
    rows = functional.embedding(index, table)
    count = (index.flatten().unsqueeze(1) == index.flatten()).sum(1).view(index.shape).unsqueeze(-1)
    return rows / count + (rows - rows / count).detach()


def _padding(table: Tensor, index: Tensor, *rest: object) -> Tensor:
    """Row 0 counts as padding, and is no zero."""
    rows = functional.embedding(index, table)
    return torch.where((index == 0).unsqueeze(-1), rows.detach(), rows)


def _exponential(x: Tensor, slope: Tensor) -> Tensor:
    by = slope.reshape(1, -1, *[1] * (x.dim() - 2))
    return torch.where(x > 0, x, by * torch.expm1(x.clamp(max=0)))


def _still_length(direction: Tensor, gain: Tensor) -> Tensor:
    return gain * direction / direction.square().sum(1, keepdim=True).sqrt().detach()


def _still_sigma(weight: Tensor) -> Tensor:
    sigma: Tensor = torch.linalg.matrix_norm(weight, 2).detach()
    return weight / sigma


unsplit_max = swapped("max-pool that passes its gradient to all ties", each("max_pool2d", lambda op: _unsplit))
quantised = scored("weights in thirds, straight through", saliency(_quantised), objective=_quantised)
activity = scored("a penalty on hidden values", saliency(_activity), objective=_activity)
still_factor = swapped("a product whose first factor is held", _products(lambda a, b: a.detach() * b))
one_more = swapped("a gated unit of 1 + up", _products(lambda a, b: a * (1 + b)))
second_use_still = swapped("a tied weight trained at its first use", _second_use_still)
by_frequency = swapped("an embedding scaled by frequency", each("embedding", lambda op: _by_frequency))
padding = swapped("an embedding with a padding row", each("embedding", lambda op: _padding))
exponential = swapped("PReLU with an exponential", each("prelu", lambda op: _exponential))
still_length = swapped("weight norm by a constant length", each("weight_normed", lambda op: _still_length))
still_sigma = swapped("spectral norm by a constant", each("spectral_normed", lambda op: _still_sigma))
