"""Ways: how values get from one operator to another by operators of degree 1, and which channel ends up where."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from pruning.graph import Edge, Graph, Node, Param, Value
from pruning.roundings import shapes_of as values_of
from theory.case import Case

_MOVES = {
    "view", "reshape", "flatten", "unflatten", "permute", "transpose", "t", "unsqueeze", "squeeze", "expand",
    "expand_as", "slice", "select", "narrow", "cat", "stack", "repeat", "repeat_interleave", "flip", "roll",
    "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "movedim", "swapaxes", "_unsafe_view", "clone", "alias",
    "contiguous",
}  # fmt: skip
_POOLS = {
    *(f"{kind}_pool{n}d" for kind in ("max", "avg", "adaptive_avg", "adaptive_max") for n in (1, 2, 3)),
    *("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d"),
    *("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d", "upsample_bicubic2d"),
}
_BENDS = {"relu", "leaky_relu", "abs", "prelu", "hardshrink", "mean", "sum", "amax", "amin", "cumsum"}
_SUMS = {"add", "sub", "cat", "stack", "maximum", "minimum"}
_ASIDE = {"type_as", "rotated", "neg", "to", "dropout", "feature_dropout", "unfold"}


@dataclass(frozen=True, eq=False)
class Map:
    """Who makes and who reads each value of a graph, and how often each parameter is read."""

    maker: Mapping[str, Node]
    readers: Mapping[str, list[Node]]
    reads: Counter[str]
    edges: Mapping[str, Edge]


@lru_cache(maxsize=512)
def map_of(graph: Graph) -> Map:
    """The map of a graph; the network's output counts as read by something else besides."""
    readers: dict[str, list[Node]] = defaultdict(list)
    for node in graph.nodes:
        for name in node.values():
            readers[name].append(node)
    readers[graph.output].append(Node("", max, (), ""))
    reads = Counter(name for node in graph.nodes for name in node.parameters())
    return Map({n.name: n for n in graph.nodes}, readers, reads, {e.node.name: e for e in graph.edges})


def argument(node: Node, position: int) -> object:
    """An argument; None where there are fewer."""
    return node.args[position] if len(node.args) > position else None


def parameter(node: Node, position: int) -> str | None:
    """The name of an argument that is a parameter."""
    found = argument(node, position)
    return found.name if isinstance(found, Param) else None


def passes(node: Node) -> bool:
    """Whether an operator is of degree 1 in all its values together: F_in = F_out, but for added parameters."""
    count = len(node.values())
    if node.kind in ("mul", "div"):
        divided = node.kind == "mul" or isinstance(argument(node, 0), Value)  # and what divides it is given
        return count == 1 and not node.kwargs and divided
    if node.kind in ("add", "sub"):
        numbers = [a for a in node.args[:2] if isinstance(a, (int, float))]
        return not any(numbers)
    if node.kind.endswith("dropout"):
        return argument(node, 2) is False  # at random otherwise
    if node.kind == "threshold":
        return argument(node, 2) == 0
    if node.kind in ("clamp", "clamp_min"):
        return node.args[1:] in ((0,), (0.0,))
    if node.kind in ("pad", "constant_pad_nd"):
        constant = node.kind != "pad" or argument(node, 2) in (None, "constant")
        value = argument(node, 3 if node.kind == "pad" else 2)
        return not (constant and value)
    if node.kind == "to":
        return count == 1 and getattr(argument(node, 1), "is_floating_point", True)
    if node.kind in _MOVES - _SUMS and node.parameters():
        return False  # it repeats a parameter, as often as there are samples
    return node.kind in _MOVES | _POOLS | _BENDS | _SUMS | _ASIDE


def added(node: Node) -> list[str]:
    """Parameters that an operator adds to the values, or sets beside them."""
    return node.parameters() if node.kind in _SUMS else []


def _moves_alone(node: Node) -> bool:
    scales = node.kind in ("mul", "div") and not node.parameters()
    return node.kind in _MOVES or scales or node.kind in ("type_as", "to", "dropout")


@dataclass(frozen=True, eq=False)
class Way:
    """From the value `start` to the value `end`, by the nodes between."""

    start: str
    end: str
    nodes: tuple[Node, ...]

    @property
    def direct(self) -> bool:
        """Whether entries are moved, and at most all multiplied by one number."""
        return all(map(_moves_alone, self.nodes))

    def numbered(self, numbers: Tensor) -> dict[str, Tensor]:
        """The numbers of the entries of `start`, carried along: where an operator does more than move, its first
        operand's go on."""
        found = {self.start: numbers}
        for node in self.nodes:
            first = next(n for n in node.values() if n in found)
            found[node.name] = node.run(found, {}) if node.kind in _MOVES and not added(node) else found[first]
        return found


def way_to(graph: Graph, end: str, reader: str, stops: Mapping[str, object], strange: bool = False) -> Way | None:
    """From one of the values `stops` to `end`, by operators of degree 1; None where there is none, or are several.

    strange: activations of no degree are let through as well.
    """
    known, todo, seen, starts = map_of(graph), [end], set[str](), set[str]()
    while todo:
        name = todo.pop()
        node = known.maker.get(name)
        if name in stops:
            starts.add(name)
        elif node is None or added(node) or not (passes(node) or (strange and len(node.args) == 1)):
            return None
        elif name not in seen:
            seen.add(name)
            todo += node.values()
    if len(starts) != 1:
        return None
    start = starts.pop()
    nodes = tuple(node for node in graph.nodes if node.name in seen)
    leaving = [n for name in (start, *seen) for n in known.readers[name] if n.name not in {*seen, reader}]
    return Way(start, end, nodes) if all(n.kind in ("slice", "select", "narrow") for n in leaving) else None


def way_on(graph: Graph, start: str) -> Way | None:
    """From a value to the one weighted operator that reads what operators of degree 1 make of it."""
    known, value, nodes = map_of(graph), start, list[Node]()
    while len(known.readers[value]) == 1:
        node = known.readers[value][0]
        if node.name in known.edges:
            return Way(start, value, tuple(nodes))
        if not passes(node) or added(node) or node.values() != [value]:
            return None
        nodes.append(node)
        value = node.name
    return None


def undivided(way: Way, graph: Graph, numbers: Mapping[str, Tensor]) -> bool:
    """Whether the numbers that reach the end go nowhere else: slices of the way's values must hold other ones."""
    inside = {node.name for node in way.nodes}
    own = torch.unique(numbers[way.end])
    leaving = (
        torch.isin(node.run({name: numbers[name]}, {}), own).any()
        for name in (way.start, *inside)
        for node in map_of(graph).readers[name]
        if node.kind in ("slice", "select", "narrow") and node.name not in inside
    )
    return not any(map(bool, leaving))


def shapes_of(case: Case) -> dict[str, tuple[int, ...]]:
    """The shape of each value of a case's network."""
    batch = case.batch
    device = None if batch.shape is not None else "meta"  # a small network is run sooner than on the meta device
    params = {n: t[0] for n, t in {**batch.fixed, **batch.weights}.items()}
    values = values_of(case.graph, params, batch.network.example, device)
    return {name: tuple(value.shape) for name, value in values.items()}


def channels(shape: tuple[int, ...], axis: int) -> Tensor:
    """The number along an axis, for each entry of a value."""
    column = torch.arange(shape[axis]).reshape(-1, *[1] * (len(shape) - 1 - axis % len(shape)))
    return column.expand(shape).contiguous()


def axis_of(edge: Edge) -> int:
    """Where the channels of a weighted operator's output and input lie: (samples, channels, ...) or the last axis."""
    return 1 if edge.node.kind.startswith("conv") else -1
