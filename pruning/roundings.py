"""Roundings: how often each operator rounds what goes through it, forward and backward together."""

from __future__ import annotations

import math
from typing import overload

import torch
from torch import Tensor

from pruning.graph import Graph, Junction, Node
from pruning.masks import Tensors

# operators that move entries, each to at most one place, or change them without rounding
_MOVES = {
    "view", "reshape", "flatten", "unflatten", "permute", "transpose", "t", "unsqueeze", "squeeze", "slice", "select",
    "narrow", "split", "split_with_sizes", "chunk", "unbind", "getitem", "cat", "stack", "flip", "roll", "movedim",
    "swapaxes", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "constant_pad_nd", "_unsafe_view", "clone",
    "alias", "contiguous", "relu", "abs", "neg", "dropout", "feature_dropout", "threshold", "hardshrink", "clamp",
    "clamp_min", "where", "masked_fill",
}  # fmt: skip
# and those that may copy one to several places
_COPIES = {
    "expand", "repeat", "repeat_interleave", "pad", "unfold", "upsample_nearest1d", "upsample_nearest2d",
    "upsample_nearest3d", "_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "_upsample_nearest_exact3d",
}  # fmt: skip


def unit_roundoff(dtype: torch.dtype) -> float:
    """u: half the distance from 1 to the next number."""
    return torch.finfo(dtype).eps / 2


@overload
def gamma(k: int, dtype: torch.dtype) -> float: ...


@overload
def gamma(k: Tensor, dtype: torch.dtype) -> Tensor: ...


def gamma(k: int | Tensor, dtype: torch.dtype) -> float | Tensor:
    """gamma_k, or that of each of many k; raises ValueError where k u >= 1, when nothing can be said."""
    most = int(k.max()) if isinstance(k, Tensor) else k
    if most * unit_roundoff(dtype) >= 1:
        raise ValueError(f"{most} roundings in {dtype} have no bound")
    ku = k.to(dtype) * unit_roundoff(dtype) if isinstance(k, Tensor) else k * unit_roundoff(dtype)
    return ku / (1 - ku)


class UnreadableFlow(ValueError):
    """An objective that does not run the network exactly once: there is no one flow to read."""


def only_sums(node: Node) -> bool:
    """Whether all that an operator could round are sums, which of integers are exact."""
    return node.kind in {"add", "sub"} | _COPIES or node.kind.startswith("max_pool")


def roundings(node: Node, values: Tensors) -> int:
    """Roundings that an operator without weights adds to a unit's flow, forward and backward together.

    Raises UnreadableFlow for an operator whose roundings were not counted.
    """
    kind, operands = node.kind, node.values()
    if kind in _MOVES:
        return 0
    if not operands or operands[0] not in values:
        raise UnreadableFlow(f"{node.where}: how {kind} rounds is not derived where it reads no one value")
    x, y = values[operands[0]], values[node.name]
    if kind in _COPIES:
        return _most_copies(node, values) - 1
    if kind in ("leaky_relu", "prelu") or (kind in ("mul", "div", "add", "sub") and not node.kwargs):
        # of what is broadcast, slopes are summed
        return 1 + max(y.numel() // max(values[n].numel(), 1) for n in operands)
    if kind.startswith(("max_pool", "avg_pool")):
        rank = int(kind[-2])
        window, stride = _sides(node, 1, rank, None), _sides(node, 2, rank, 1)
        apart = kind.startswith("avg") or len(node.args) < 5 or set(_sides(node, 4, rank, None)) == {1}
        overlap = math.prod(-(-w // s) if apart else w for w, s in zip(window, stride, strict=True))
        if kind.startswith("max"):
            return 0 if overlap == 1 else overlap
        return math.prod(window) + overlap + 2
    if kind in ("mean", "sum"):
        return x.numel() // y.numel() + 2
    if kind.startswith("adaptive_avg_pool"):
        sides = [(a // b + 2, b // a + 2) for a, b in zip(x.shape[2:], y.shape[2:], strict=True)]
        return 2 + math.prod(a for a, _ in sides) + math.prod(b for _, b in sides)
    raise UnreadableFlow(f"{node.where}: how {kind} rounds is not derived")


def _most_copies(node: Node, values: Tensors) -> int:
    """To how many places an entry goes at most."""
    name = node.values()[0]
    x = values[name]
    numbers = torch.arange(1, x.numel() + 1, dtype=torch.float64).reshape(x.shape)
    made = node.run({**values, name: numbers}, {}).long().flatten()
    return int(torch.bincount(made[made > 0]).max())


def _sides(node: Node, position: int, rank: int, same_as: int | None) -> list[int]:
    sides = node.args[position] if len(node.args) > position else []
    if not sides and same_as is not None:
        return _sides(node, same_as, rank, None)
    assert isinstance(sides, (list, tuple))
    return [int(s) for s in sides] if len(sides) == rank else [int(sides[0])] * rank


def path_roundings(graph: Graph, shapes: Tensors) -> int:
    """K: roundings on the longest way through a network whose terms are all nonnegative.

    Nothing cancels there, so R, and every score after a backward pass, has a relative error below
    gamma_K: the forward sums, the backward sums, the sum over samples and positions, and R's own.
    A power or a product of values multiplies their errors by its degree, so K by the degrees of all that there are.
    shapes: the value of each node, for its size. Raises UnreadableFlow as `roundings` does.
    """
    k = 2
    weighted = {edge.node.name for edge in graph.edges}
    for edge in graph.edges:
        made = shapes[edge.node.name]
        k += edge.fan_in * edge.channels_per_head + edge.fan_out * edge.channels_per_tail
        k += made.numel() // max(len(edge.heads), 1) + 3
    k += sum(extra_uses(graph, junction) for junction in graph.junctions)
    plain = [n for n in graph.nodes if n.name not in weighted and n.name in shapes]
    k += sum(2 * (_power(n) or roundings(n, shapes)) for n in plain)
    return (k + shapes[graph.output].numel()) * _degree(graph)


def _power(node: Node) -> int:
    """The exponent of a whole power, which as many products make, and as many its slope; 0 for what is none."""
    exponent = 2 if node.kind == "square" else node.args[1] if node.kind == "pow" else 0
    return exponent if isinstance(exponent, int) and exponent > 1 else 0


def _degree(graph: Graph) -> int:
    """The degrees of all powers and products, multiplied."""
    found: dict[str, float] = {}
    for transfer in graph.transfers:
        found[transfer.node.name] = found.get(transfer.node.name, 0) + transfer.degree
    return math.prod(max(1, math.ceil(degree)) for degree in found.values())


def shapes_of(graph: Graph, params: Tensors, example: Tensor, device: str | None = "meta") -> dict[str, Tensor]:
    """The value of each node for an example; on the meta device nothing is computed, None is where they are."""
    shapes: dict[str, Tensor] = {}

    def keep(name: str, value: Tensor) -> Tensor:
        shapes[name] = value
        return value

    graph.run({n: t.to(device) for n, t in params.items()}, example.to(device), keep)
    return shapes


def extra_uses(graph: Graph, junction: Junction) -> int:
    """Reads of a unit's values beyond the first of each: their slopes are added up."""
    inside = set(junction.values)
    uses = [name for node in graph.nodes for name in node.values() if name in inside]
    return len(uses) - len(set(uses))
