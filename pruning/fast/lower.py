"""Lowering: the operators of a network, without its biases and on an input of ones, as steps on classes of places."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from pruning.fast.fold import View, folded
from pruning.fast.links import Links
from pruning.fast.places import Bins, Indices, Places, Windows, beside
from pruning.fast.steps import Flat, Highest, Lowered, Mixed, Scaled, Step, Summed, Weighted
from pruning.fast.store import Array, Store
from pruning.graph import INPUT, Edge, Node, Param, Value
from pruning.network import Network


class NotLoweredError(Exception):
    """The network holds what the fast path can't do; the message says what and where."""


def lower(network: Network, weights: dict[str, Array]) -> Lowered:
    """The steps of a network, on `weights`: nonnegative, by name, of the weights' own shapes; steps write into them.

    Raises NotLoweredError.
    """
    made = _Lowering(network, weights)
    for node in network.graph.nodes:
        made.take(node)
    output = made.name(network.graph.output)
    read = {output, *(name for step in made.steps for name in step.reads)}
    for idle in [step.name for step in made.steps if step.name not in read]:
        raise NotLoweredError(f"{idle} is read by nothing")
    places = made.places[output]
    counts = np.bincount(places.grid.ravel(), minlength=places.classes).astype(np.float64)
    ends = np.repeat(counts[None], places.channels, 0)
    found = Lowered(made.steps, {n: p.channels for n, p in made.places.items()}, made.joined, output, ends)
    return folded(found, made.views, made.places)


# what changes no nonnegative number
_SAME = {"relu", "leaky_relu", "abs", "dropout", "feature_dropout", "contiguous", "clone", "alias", "detach"}


class _Lowering:
    def __init__(self, network: Network, weights: dict[str, Array]) -> None:
        self.network, self.weights = network, weights
        self.steps: list[Step] = []
        self.views: dict[str, View | None] = {}
        self.places: dict[str, Places] = {}
        self.joined: dict[str, str] = {}
        self.names: dict[str, str] = {}
        graph = network.graph
        self.edges: dict[str, Edge] = {e.node.name: e for e in graph.edges}
        if len(self.edges) < len(graph.edges) or len({e.weight for e in graph.edges}) < len(graph.edges):
            raise NotLoweredError("a weight is used more than once, or an operator has two")
        _, channels, *positions = network.example.shape
        self._known(INPUT, Places.alike(channels, positions))

    def name(self, value: str) -> str:
        """The value that it is another name of."""
        return self.names.get(value, value)

    def take(self, node: Node) -> None:
        """Lower one operator."""
        plain = node.kind in _SAME or node.kind == "add" or not node.kwargs
        self.need(node, plain, "has arguments by name")
        if node.name in self.edges:
            self._weighted(node, self.edges[node.name])
        elif node.kind in _SAME:
            self._alias(node)
        elif node.kind in _RULES:
            _RULES[node.kind](self, node)
        else:
            self.refuse(node, "is no operator that the fast path knows")

    def refuse(self, node: Node, why: str) -> None:
        """Raise NotLoweredError."""
        raise NotLoweredError(f"{node.where or node.name}: {node.kind} {why}")

    def need(self, node: Node, met: bool, why: str) -> None:
        """Refuse unless something holds."""
        if not met:
            self.refuse(node, why)

    def _made(self, step: Step, places: Places, view: View | None, like: Iterable[str] = ()) -> None:
        """A step is the next; like: the values that have its channels."""
        self.steps.append(step)
        self.views[step.name] = view
        self._known(step.name, places)
        for other in like:
            self._join(other, step.name)

    def _known(self, name: str, places: Places) -> None:
        self.places[name] = places
        self.joined[name] = name

    def _join(self, one: str, other: str) -> None:
        first, second = self.root(one), self.root(other)
        for name, root in self.joined.items():
            if root == second:
                self.joined[name] = first

    def root(self, name: str) -> str:
        """The first of the values that have the same channels."""
        return self.joined[name]

    def _alias(self, node: Node) -> None:
        (value,) = node.values()
        self.names[node.name] = self.name(value)

    def _source(self, node: Node) -> tuple[str, Places]:
        first = node.args[0]
        self.need(node, isinstance(first, Value) and len(node.values()) == 1, "reads more than one value")
        assert isinstance(first, Value)
        name = self.name(first.name)
        return name, self.places[name]

    # operators

    def _weighted(self, node: Node, edge: Edge) -> None:
        name, before = self._source(node)
        self.need(node, node.kind in {"linear", "conv1d", "conv2d", "conv3d"}, "is no layer that the fast path knows")
        self.need(node, not edge.transposed, "has its weight laid out (in, out)")
        bias = [p for p in node.parameters() if p != edge.weight]
        self.need(node, all(self._is_zero(p) for p in bias), "keeps a bias without data")
        weight = self.weights[edge.weight]
        self.need(node, weight.size > 0, "has no weights")
        outputs, inputs, *kernel = weight.shape
        groups = edge.groups
        if node.kind == "linear":
            self.need(node, before.grid.shape == (), "is applied to each of several places")
            windows, table, grid = Windows((), (), (), ()), np.zeros((1, 1), dtype=np.intp), before.grid
        else:
            axes = len(kernel)
            self.need(node, len(before.grid.shape) == axes, "has other axes than its input")
            windows = Windows(kernel, *(_per_axis(node, i, axes, d) for i, d in ((3, 1), (4, 0), (5, 1))))
            table, grid = before.seen(windows)
        store = Store(weight.reshape(groups, outputs // groups, inputs * windows.taps))
        step = Weighted(node.name, (name,), store, groups, Links.seen(table, before.classes), name == INPUT)
        self._made(step, Places(outputs, grid, table.shape[1]), _through(windows, before))

    def _is_zero(self, parameter: str) -> bool:
        found = self.network.neutral.get(parameter)
        return found is not None and not bool(found.any())

    def scaled(self, node: Node) -> None:
        """A product with a constant for each channel."""
        name, before = self._source(node)
        factors = self._constant(node, before)
        self.need(node, bool((factors >= 0).all()), "multiplies by a negative number")
        self._made(Scaled(node.name, (name,), factors), before, View(lambda grid, _: grid[None]), [name])

    def added(self, node: Node) -> None:
        """A sum of values, or a shift that is 0 without data."""
        values = [self.name(v) for v in node.values()]
        self.need(node, dict(node.kwargs).get("alpha", 1) == 1, "has a factor of its own")
        if len(values) == 1:
            self.need(node, all(map(self._is_zero, node.parameters())) and len(node.args) == 2, "adds a constant")
            self.need(node, bool(node.parameters()), "adds a number")
            return self._alias(node)
        one, other = (self.places[v] for v in values)
        self.need(node, one.channels == other.channels, "adds values of other channels")
        self.need(node, one.grid.shape == other.grid.shape, "adds values of other places")
        tables, grid = beside(one, other)
        links = [Links.seen(t[None], p.classes) for t, p in zip(tables, (one, other), strict=True)]
        places = Places(one.channels, grid, tables.shape[1])
        self._made(Summed(node.name, tuple(values), tuple(links)), places, View(lambda grid, _: grid[None]), values)
        return None

    def highest(self, node: Node) -> None:
        """A max-pool."""
        name, before = self._source(node)
        axes = len(before.grid.shape)
        kernel = _per_axis(node, 1, axes, None)
        windows = Windows(kernel, *(_per_axis(node, i, axes, d) for i, d in ((2, kernel), (3, 0), (4, 1))))
        self.need(node, not _argument(node, 5, False), "rounds its size up")
        table, grid = before.seen(windows)
        places = Places(before.channels, grid, table.shape[1])
        self._made(Highest(node.name, (name,), table, before.classes), places, None, [name])

    def averaged(self, node: Node) -> None:
        """An average pool."""
        name, before = self._source(node)
        axes = len(before.grid.shape)
        kernel = _per_axis(node, 1, axes, None)
        windows = Windows(kernel, _per_axis(node, 2, axes, kernel), _per_axis(node, 3, axes, 0), [1] * axes)
        self.need(node, not _argument(node, 4, False), "rounds its size up")
        self.need(node, bool(_argument(node, 5, True)) or not any(windows.padding), "counts without its padding")
        self.need(node, _argument(node, 6, None) is None, "has a divisor of its own")
        table, grid = before.seen(windows)
        mixture = _mixture(list(table.T), before.classes, [len(table)] * table.shape[1])
        places = Places(before.channels, grid, table.shape[1])
        through = _through(windows, before)
        view = View(lambda *seen: np.sort(through.seers(*seen), 0), [windows.taps])  # by which tap makes no difference
        self._made(Mixed(node.name, (name,), mixture), places, view, [name])

    def adaptive(self, node: Node) -> None:
        """An adaptive average pool."""
        name, before = self._source(node)
        bins = Bins(_per_axis(node, 1, len(before.grid.shape), None))
        covered, grid = before.bins(bins)
        mixture = _mixture(covered, before.classes, [len(c) for c in covered])
        sizes = [before.grid[cut].size for cut in bins.cuts(before.grid.shape)]
        places = Places(before.channels, grid, len(covered))
        self._made(Mixed(node.name, (name,), mixture), places, _through(bins, before, sizes), [name])

    def flat(self, node: Node) -> None:
        """Channels and places as features."""
        name, before = self._source(node)
        shape = node.args[1:] if node.kind == "flatten" else _sizes(node)
        wanted = ((1,), (1, -1)) if node.kind == "flatten" else ((-1, before.channels * before.grid.size),)
        self.need(node, tuple(shape) in wanted, f"to {list(shape)} is not (samples, features)")
        if before.grid.shape == ():
            return self._alias(node)
        features = np.arange(before.channels * before.grid.size)
        step = Flat(node.name, (name,), before.grid, before.classes, features, before.channels)
        view = View(lambda grid, _: grid.reshape(1, *before.grid.shape)) if before.grid.size == 1 else None
        self._made(step, Places(len(features), np.zeros((), dtype=np.intp), 1), view)
        return None

    def _constant(self, node: Node, places: Places) -> Array:
        (name,) = [a.name for a in node.args if isinstance(a, Param)] or [""]
        found = self.network.neutral.get(name)
        self.need(node, found is not None, "multiplies by something else than one constant")
        assert found is not None
        if found.dim() == len(places.grid.shape) + 2 and found.shape[0] == 1:
            found = found[0]
        per_channel = found.numel() == 1 or (
            found.dim() == len(places.grid.shape) + 1 and found.shape[0] == found.numel() == places.channels
        )
        self.need(node, per_channel, "multiplies by a constant that is not one for each channel")
        return found.detach().double().cpu().numpy().reshape(-1, 1).copy()


def _through(windows: Windows | Bins, before: Places, sizes: Sequence[int] = (1,)) -> View:
    return View(lambda grid, nobody: windows.seers(grid, nobody, before.grid.shape), sizes)


def _mixture(covered: Sequence[Indices], classes: int, sizes: Sequence[int]) -> Array:
    """(classes, new classes): how much of each class is in each mixture; what lies in the padding is nothing."""
    counts = [np.bincount(seen, minlength=classes + 1)[:classes] for seen in covered]
    return np.stack([c / n for c, n in zip(counts, sizes, strict=True)], 1)


def _argument(node: Node, place: int, default: object) -> object:
    return node.args[place] if len(node.args) > place else default


def _per_axis(node: Node, place: int, axes: int, default: int | Sequence[int] | None) -> list[int]:
    """An argument that is a number, or one for each axis; empty is the default."""
    given = _argument(node, place, default)
    given = default if given == [] or given == () else given
    numbers = list(given) if isinstance(given, (list, tuple)) else [given]
    numbers = numbers * axes if len(numbers) == 1 else numbers
    if len(numbers) != axes or not all(isinstance(n, int) for n in numbers):
        raise NotLoweredError(f"{node.where or node.name}: {node.kind} by {given!r} is not one number for each axis")
    return [n for n in numbers if isinstance(n, int)]


def _sizes(node: Node) -> tuple[object, ...]:
    given = node.args[1:]
    return tuple(given[0]) if len(given) == 1 and isinstance(given[0], (list, tuple)) else given


_RULES: dict[str, Callable[[_Lowering, Node], None]] = {
    "mul": _Lowering.scaled,
    "add": _Lowering.added,
    "max_pool2d": _Lowering.highest,
    "max_pool1d": _Lowering.highest,
    "avg_pool2d": _Lowering.averaged,
    "avg_pool1d": _Lowering.averaged,
    "adaptive_avg_pool2d": _Lowering.adaptive,
    "adaptive_avg_pool1d": _Lowering.adaptive,
    "flatten": _Lowering.flat,
    "view": _Lowering.flat,
    "reshape": _Lowering.flat,
}
