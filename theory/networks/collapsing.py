"""Literal networks, the smallest found that lose their last path, or keep more than one, against what is often said."""

from itertools import pairwise
from typing import Any

from theory.networks.layers import Act, Branches, Dense, Layer
from theory.networks.shape import Shape
from theory.networks.spec import NetSpec


def _net(layers: tuple[Layer, ...], values: dict[str, Any]) -> NetSpec:
    shape = Shape(layers, (_inputs(layers[0]),), 1)
    return NetSpec(shape, values, [[1.0] * shape.input[0]], [[0.0] * shape.output[0]], "squared-error", 0)


def _inputs(layer: Layer) -> int:
    return _inputs(layer.branches[0][0]) if isinstance(layer, Branches) else layer.inputs  # type: ignore[attr-defined]


def _chain(activation: str, *weights: list[list[float]]) -> NetSpec:
    layers: list[Layer] = []
    for i, weight in enumerate(weights):
        layers += [Act(activation)] * bool(i) + [Dense(len(weight[0]), len(weight))]
    return _net(tuple(layers), {f"{2 * i}.weight": weight for i, weight in enumerate(weights)})


def _ones(*widths: int) -> NetSpec:
    return _chain("relu", *([[1.0] * a for _ in range(b)] for a, b in pairwise(widths)))


# the largest weight of the first layer leads to one unit, that of the last comes from the other
crossed_net = _chain("relu", [[2.0], [1.0]], [[1.0, 2.0]])

# relu^2: the weights score 2, 2, 2 and 1 times R, so the only one of the last layer goes first
square_fork = _chain("relu2", [[1.0, 1.0]], [[1.0]], [[1.0]])

# y = c2 c1 x + s x: s scores 1/10 and goes, c1 and c2 are left, where s alone would have been a path
shortcut_net = _net(
    (Branches("sum", ((Dense(1, 1), Dense(1, 1)), (Dense(1, 1),))),),
    {"0.0.0.weight": [[1.0]], "0.0.1.weight": [[1.0]], "0.1.0.weight": [[0.1]]},
)

# half of R each, and a third each: the three of the last layer go at once
one_shot_chain = _ones(2, 1, 3)

# two of the last layer go in the first of three rounds, and the other two, which have half of R each, in the second
thumb_chain = _ones(1, 2, 1, 4)

# 1.1 weights go in a round, so in some round two, which may be all that is left of a layer
long_chain = _ones(*[2, 1] * 40, 2)

# y = x + 1: R is 2, and pruning the first weight, which scores 1, leaves the bias alone
biased_pair = _net(
    (Dense(1, 1), Act("relu"), Dense(1, 1, True)), {"0.weight": [[1.0]], "2.weight": [[1.0]], "2.bias": [1.0]}
)
