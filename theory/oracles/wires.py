"""The wires of a network, one by one: what leads from node to node by which factor, and which weight gives it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Any

from theory.networks.layers import Act, Branches, Conv, Dense, Flatten, Layer, Norm, Pool, PReLU, Resize, TokenMean

Place = tuple[int, ...]  # (feature), (token, feature) or (channel, row, column); in a weight its indices
Wire = tuple[int, int]  # from a node to a later one


@dataclass(frozen=True)
class Value:
    """Where the paths have come to: the node at each place. What arrives there is counted in parts of 1 / `over`."""

    nodes: Mapping[Place, int]
    over: int

    @property
    def sizes(self) -> list[int]:
        """How many places there are along each axis."""
        return [1 + n for n in max(self.nodes)]


@dataclass(frozen=True)
class Bundle:
    """Wires of one factor, and the parameter and place in it that the factor comes from, or None."""

    factor: int
    wires: list[Wire]
    weight: tuple[str, Place] | None


class Web:
    """Nodes and wires as they are laid, and how much arrives at each node.

    Everything is counted in whole numbers, for these are much faster than fractions: a layer multiplies its
    factors by a common denominator, which all paths to its heads then have in them.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        self.arriving: list[int] = []
        self.bundles: list[Bundle] = []

    def grown(self, places: Iterable[Place], arriving: int = 0) -> dict[Place, int]:
        """A new node for each place."""
        nodes = {place: n for n, place in enumerate(places, len(self.arriving))}
        self.arriving += [arriving] * len(nodes)
        return nodes

    def lay(self, factor: int, wires: list[Wire], weight: tuple[str, Place] | None = None) -> None:
        """Lay wires, whose tails must have got all that arrives at them."""
        self.bundles.append(Bundle(factor, wires, weight))
        if factor:
            for tail, head in wires:
                self.arriving[head] += factor * self.arriving[tail]

    def factors(self, name: str) -> tuple[dict[Place, int], int]:
        """The absolute numbers of a parameter by place, as whole numbers, and their common denominator."""
        exact = {place: abs(Fraction(number)) for place, number in _placed(self.values[name], ())}
        over = math.lcm(*(f.denominator for f in exact.values()))
        return {place: int(f * over) for place, f in exact.items()}, over


def followed(layers: tuple[Layer, ...], web: Web, value: Value, path: str = "") -> Value:
    """Where the paths have come to behind layers in sequence; their wires are laid in `web`. Raises ValueError."""
    for i, layer in enumerate(layers):
        value = _through(layer, web, value, f"{path}{i}")
    return value


def _through(layer: Layer, web: Web, value: Value, name: str) -> Value:
    if isinstance(layer, Dense) and not layer.tied:
        return _dense(layer, web, value, f"{name}.weight")
    if isinstance(layer, Conv):
        return _conv(layer, web, value, f"{name}.weight")
    if isinstance(layer, Pool) and layer.kind in ("max", "avg"):
        return _pooled(layer, web, value)
    if isinstance(layer, Resize):
        return Value(dict(_moved(layer, value)), value.over)
    if isinstance(layer, Flatten):
        return Value({(n,): value.nodes[place] for n, place in enumerate(sorted(value.nodes))}, value.over)
    if isinstance(layer, PReLU) or (isinstance(layer, Act) and layer.name in ("relu", "leaky", "abs")):
        return value  # nothing negative arrives
    if isinstance(layer, TokenMean):
        tokens, features = map(range, value.sizes)
        return _mean(web, value, {(i,): [(t, i) for t in tokens] for i in features})
    if isinstance(layer, Norm) and layer.kind == "batch":
        return _scaled(web, value, f"{name}.scale")
    if isinstance(layer, Branches) and layer.join in ("sum", "cat"):
        return _joined(layer, web, value, name)
    raise ValueError(f"R is no sum over paths through {layer}")


def _placed(numbers: Any, place: Place) -> Iterator[tuple[Place, Any]]:
    if not isinstance(numbers, list):
        yield place, numbers
        return
    for i, entry in enumerate(numbers):
        yield from _placed(entry, (*place, i))


def _dense(layer: Dense, web: Web, value: Value, weight: str) -> Value:
    factors, over = web.factors(weight)
    rows = list(product(*map(range, value.sizes[:-1])))  # the tokens; without any the one empty row
    heads = web.grown((*row, o) for row in rows for o in range(layer.outputs))
    for (o, i), factor in factors.items():
        web.lay(factor, [(value.nodes[*row, i], heads[*row, o]) for row in rows], (weight, (o, i)))
    return Value(heads, value.over * over)


def _conv(layer: Conv, web: Web, value: Value, weight: str) -> Value:
    """A convolution reads, and a transposed one writes, a far place s x + d u - p for each near place x and tap u."""
    factors, over = web.factors(weight)
    heads = web.grown(product(range(layer.outputs), *(range(_made(layer, n)) for n in value.sizes[1:])))
    made = Value(heads, value.over * over)
    near, far = (value, made) if layer.transposed else (made, value)
    channels, *sides = near.sizes
    positions = list(product(*map(range, sides)))
    s, d, p, per_group = layer.stride, layer.dilation, layer.padding, far.sizes[0] // layer.groups
    for (a, b, u, v), factor in factors.items():
        channel, down, right = a * layer.groups // channels * per_group + b, d * u - p, d * v - p
        places = ((near.nodes[a, x, y], far.nodes.get((channel, s * x + down, s * y + right))) for x, y in positions)
        ends = [(one, other) for one, other in places if other is not None]  # the padding is nowhere
        web.lay(factor, ends if layer.transposed else [(t, h) for h, t in ends], (weight, (a, b, u, v)))
    return made


def _made(layer: Conv, n: int) -> int:
    """The side of what a convolution makes of a side of n."""
    reach = layer.dilation * (layer.kernel - 1) + 1 - 2 * layer.padding
    return (n - 1) * layer.stride + reach if layer.transposed else (n - reach) // layer.stride + 1


def _pooled(layer: Pool, web: Web, value: Value) -> Value:
    stride, taps = layer.stride or layer.size, list(product(range(layer.size), repeat=2))
    channels, *sides = value.sizes
    starts = [range((n - layer.size) // stride + 1) for n in sides]
    windows: dict[Place, list[Place]] = {
        (c, x, y): [(c, x * stride + u, y * stride + v) for u, v in taps]
        for c, x, y in product(range(channels), *starts)
    }
    if layer.kind == "avg":
        return _mean(web, value, windows)
    winners: dict[Place, int] = {  # max() takes the first of equals
        place: max((value.nodes[tap] for tap in window), key=web.arriving.__getitem__)
        for place, window in windows.items()
    }
    return Value(winners, value.over)


def _mean(web: Web, value: Value, windows: Mapping[Place, list[Place]]) -> Value:
    heads = web.grown(windows)
    web.lay(1, [(value.nodes[tap], heads[place]) for place, window in windows.items() for tap in window])
    return Value(heads, value.over * len(next(iter(windows.values()))))


def _scaled(web: Web, value: Value, scale: str) -> Value:
    factors, over = web.factors(scale)
    heads = web.grown(value.nodes)
    for (channel, *_), factor in factors.items():
        web.lay(factor, [(node, heads[place]) for place, node in value.nodes.items() if place[0] == channel])
    return Value(heads, value.over * over)


def _moved(layer: Resize, value: Value) -> Iterator[tuple[Place, int]]:
    channels, rows, columns = value.sizes
    if layer.kind == "shuffle":
        for c, x, y in product(range(channels // 4), range(2 * rows), range(2 * columns)):
            yield (c, x, y), value.nodes[4 * c + 2 * (x % 2) + y % 2, x // 2, y // 2]
        return
    xs, ys = (_origins(layer, n) for n in (rows, columns))
    for c, (x, old_x), (y, old_y) in product(range(channels), enumerate(xs), enumerate(ys)):
        yield (c, x, y), value.nodes[c, old_x, old_y]


def _origins(layer: Resize, n: int) -> list[int]:
    """Along one axis of n entries, which of them each new one was."""
    if layer.kind == "upsample":
        return [i // 2 for i in range(2 * n)]
    if layer.kind == "circular":
        return [i % n for i in range(-1, n + 1)]
    if layer.kind == "replicate":
        return [min(max(i, 0), n - 1) for i in range(-1, n + 1)]
    if layer.kind == "reflect":
        return [n - 1 - abs(n - 1 - abs(i)) for i in range(-1, n + 1)]
    raise ValueError(f"R is no sum over paths through {layer}")


def _joined(layer: Branches, web: Web, value: Value, name: str) -> Value:
    """Wires of factor 1 from each branch into common nodes, next to each other for 'cat'; over one denominator."""
    ends = [followed(branch, web, value, f"{name}.{b}.") for b, branch in enumerate(layer.branches)]
    axis, first, over = layer.axis - 1, 0, math.lcm(*(end.over for end in ends))
    heads: dict[Place, int] = {}
    for end in ends:
        moved = {place: (*place[:axis], place[axis] + first, *place[axis + 1 :]) for place in end.nodes}
        heads |= web.grown(new for new in moved.values() if new not in heads)
        web.lay(over // end.over, [(node, heads[moved[place]]) for place, node in end.nodes.items()])
        first += end.sizes[axis] if layer.join == "cat" else 0
    return Value(heads, over)
