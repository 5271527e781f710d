"""Collapse, told as what it is: layers without weights, no live path, ends that nothing joins, weights of no use.

On a chain a layer without weights is a network without a path; elsewhere neither follows from the other.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pruning.graph import INPUT, Graph, Node
from pruning.masks import Masks, Tensors
from pruning.network import Network
from pruning.problem import Probe, Problem, squared_error
from pruning.pruner import State, saliency
from pruning.pruners.synflow import flow
from theory.optype import types_of

_CONVOLVED: dict[str, Callable[..., Tensor]] = {
    "1d": functional.conv1d,
    "2d": functional.conv2d,
    "3d": functional.conv3d,
}

_AVERAGED: dict[str, Callable[..., Tensor]] = {  # with the places of what they take
    "max": lambda x, *axis: x.mean(*axis),
    "adaptive_max_pool1d": functional.adaptive_avg_pool1d,
    "adaptive_max_pool2d": functional.adaptive_avg_pool2d,
    "adaptive_max_pool3d": functional.adaptive_avg_pool3d,
}

synflow_saliency = saliency(flow)


class UnreadablePaths(ValueError):
    """A network in which a value may be zero though a path leads to it, or the other way round."""


@dataclass(frozen=True)
class Collapse:
    """What is left of a network under masks.

    A live path leads from an input to an output and no weight on it is pruned or 0; an average or a maximum passes all
    that it reads. kept, live: per layer the weights that are kept, and those of them that are on a live path.
    connected: whether there is a live path. inputs_cut, outputs_cut: entries of one sample that no live path joins.
    shortest: the fewest weights that a path has in this network, pruned or not, 0 where identities reach from end to
    end: what a pruner that keeps one path can't go below. Where a weight is read several times, a bound from below.
    """

    layers: tuple[str, ...]
    sizes: tuple[int, ...]
    kept: tuple[int, ...]
    live: tuple[int, ...]
    connected: bool
    inputs: int
    inputs_cut: int
    outputs: int
    outputs_cut: int
    shortest: int

    @property
    def emptied(self) -> tuple[str, ...]:
        """Layers without a weight that is kept."""
        return tuple(name for name, kept in zip(self.layers, self.kept, strict=True) if not kept)

    @property
    def direct_density(self) -> float:
        """Fraction of the weights that is kept."""
        return sum(self.kept) / sum(self.sizes)

    @property
    def effective_density(self) -> float:
        """Fraction of the weights that is kept and on a live path (Vysogorets and Kempe 2021)."""
        return sum(self.live) / sum(self.sizes)


def emptied_layers(masks: Masks) -> tuple[str, ...]:
    """Layers without a weight that is kept, of any network."""
    return tuple(name for name, kept in zip(masks, masks.kept_by_layer(), strict=True) if not kept)


def carried(network: Network) -> dict[str, float]:
    """Per layer the share of SynFlow's R that its weights carry: 1 for a cut, less for what paths pass by.

    Empty where nothing flows, or R is beyond what the network's type holds.
    """
    full = State(network.weights, network.initial)
    scores, total = synflow_saliency.with_objective(network, full, Probe(Problem(network, None, squared_error, 0)))
    if not 0 < float(total) < math.inf:
        return {}
    return {n: float(s.sum() / total) for n, s in scores.items()}


class Paths:
    """The paths of a network, to be asked under any masks: one pass forward and one back, of zeros and ones."""

    def __init__(self, network: Network) -> None:
        """Raises UnreadablePaths, with the operators, for a network that is not all sums and maxima of its paths."""
        neutral = network.neutralised()
        sizes = {n: w.abs() for n, w in network.weights.items()}
        types = types_of(network.graph, {**neutral.fixed, **sizes})
        told = [
            f"{node.where}: {node.kind} follows one of several paths" for node in network.graph.nodes if _picks(node)
        ]
        if why := (*types[network.graph.output].why, *told):
            raise UnreadablePaths("; ".join(why))
        self.network = network
        self.shortest = _shortest(network.graph)
        self._graph = replace(network.graph, nodes=tuple(map(_passing_all, network.graph.nodes)))
        self._there = {n: w != 0 for n, w in network.weights.items()}
        self._fixed = {n: t.abs().gt(0).float() if t.is_floating_point() else t for n, t in neutral.fixed.items()}

    def connected(self, masks: Masks) -> bool:
        """Whether a live path is left."""
        with torch.no_grad():
            output, _ = self._forward(self._present(masks))
        return bool(output.any())

    def under(self, masks: Masks) -> Collapse:
        """All that is to be told of the network under masks. Raises ValueError for masks of another network."""
        present = {n: p.requires_grad_() for n, p in self._present(masks).items()}
        output, x = self._forward(present)
        output.sum().backward()  # type: ignore[no-untyped-call]
        slopes = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in present.items()}
        return Collapse(
            layers=tuple(masks),
            sizes=tuple(m.numel() for m in masks.values()),
            kept=tuple(masks.kept_by_layer()),
            live=tuple(int(((slopes[n] > 0) & (p > 0)).sum()) for n, p in present.items()),
            connected=bool(output.any()),
            inputs=x.numel(),
            inputs_cut=x.numel() - (0 if x.grad is None else int(x.grad.count_nonzero())),
            outputs=output.numel(),
            outputs_cut=output.numel() - int(output.count_nonzero()),
            shortest=self.shortest,
        )

    def _present(self, masks: Masks) -> dict[str, Tensor]:
        return {n: w.float() for n, w in masks.apply({n: t.float() for n, t in self._there.items()}).items()}

    def _forward(self, present: Tensors) -> tuple[Tensor, Tensor]:
        """Where the output is reached, and the input of ones."""
        x = torch.ones_like(self.network.example[:1], dtype=torch.float32).requires_grad_()

        def reached(name: str, value: Tensor) -> Tensor:
            found: Tensor = _Reached.apply(value)  # type: ignore[no-untyped-call]
            return value if name == INPUT else found

        return self._graph.run({**self._fixed, **present}, x, reached), x


class _Reached(torch.autograd.Function):
    """1 where a value is positive, and its slope 1 where that is: no count of paths overflows or underflows."""

    @staticmethod
    def forward(context: object, value: Tensor) -> Tensor:
        return value.gt(0).to(value)

    @staticmethod
    def backward(context: object, slope: Tensor) -> Tensor:
        return slope.gt(0).to(slope)


def _passing_all(node: Node) -> Node:
    """What takes the greatest, as what takes a sum or a mean: autograd would follow one path of several."""
    if node.kind in ("max_pool1d", "max_pool2d", "max_pool3d"):
        return replace(node, op=_summing(node.op, node.kind[-2:]))
    return replace(node, op=_averaging(node.op, _AVERAGED[node.kind])) if node.kind in _AVERAGED else node


def _averaging(greatest: Callable[..., Any], average: Callable[..., Tensor]) -> Callable[..., Any]:
    def averaged(*args: Any) -> Any:
        if len(args) < 2 or isinstance(args[1], Tensor):  # the greatest of all, or of two: their slopes go to each
            return greatest(*args)
        return average(*args), None

    return averaged


def _picks(node: Node) -> bool:
    """Whether it takes the greatest in a way that has no other here."""
    return node.kind == "topk" or node.kind.endswith("_with_indices") or node.kind.startswith("fractional_max_pool")


def _summing(pool: Callable[..., Tensor], rank: str) -> Callable[..., Tensor]:
    sides, convolved = int(rank[0]), _CONVOLVED[rank]

    def summed(x: Tensor, window: list[int], stride: list[int] | None = None, *rest: Any) -> Tensor:
        padding, dilation = [*rest, *[0, 1][len(rest) :]][:2]
        kernel = x.new_ones(x.shape[1], 1, *_each(window, sides))
        with torch.no_grad():
            wanted = pool(x, window, stride or window, *rest).shape[2:]
        room = [side for _ in range(sides) for side in (0, max(_each(stride or window, sides)))]  # of a window beyond
        roomy = functional.pad(x, room)
        made: Tensor = convolved(roomy, kernel, None, stride or window, padding, dilation, groups=x.shape[1])
        for axis, side in enumerate(wanted, 2):
            made = made.narrow(axis, 0, side)
        return made

    return summed


def _each(size: int | list[int], sides: int) -> list[int]:
    found = [size] if isinstance(size, int) else list(size)
    return found * sides if len(found) == 1 else found


def _shortest(graph: Graph) -> int:
    """The fewest weights between input and output; a weight that is read m times counts 1/m each time."""
    uses = Counter(edge.weight for edge in graph.edges)
    weighted = {edge.node.name: Fraction(1, uses[edge.weight]) for edge in graph.edges}
    fewest: dict[str, Fraction | float] = {INPUT: 0}
    for node in graph.nodes:
        found = [fewest[name] for name in node.values()]
        fewest[node.name] = min(found, default=math.inf) + weighted.get(node.name, 0)
    return math.ceil(fewest[graph.output])
