"""Literal networks outside the hypotheses: each shows why a law needs what it asks for."""

from dataclasses import replace

from theory.networks.layers import Act, Branches, Conv, Dense, Flatten, Layer, Pool
from theory.networks.shape import Shape
from theory.networks.spec import NetSpec


def _dense(activation: str, *weights: list[list[float]]) -> NetSpec:
    layers: list[Layer] = []
    for i, weight in enumerate(weights):
        layers += [Act(activation)] * bool(i) + [Dense(len(weight[0]), len(weight))]
    names = [str(2 * i) for i in range(len(weights))]
    values = {f"{n}.weight": w for n, w in zip(names, weights, strict=True)}
    inputs, outputs = len(weights[0][0]), len(weights[-1])
    shape = Shape(tuple(layers), (inputs,), 1)
    return NetSpec(shape, values, [[1.0] * inputs], [[0.0] * outputs], "squared-error", 0)


# tanh is not homogeneous: 2 tanh'(1) enters its unit, 2 tanh(1) leaves it
tanh_net = _dense("tanh", [[1.0]], [[2.0]])

# relu^2 has degree 2: with k inputs left the weights score 4/k (k times), 2 and 1, so from k = 3 on, if not
# from 4, the only weight of the last layer goes first
square_chain = _dense("square", [[1.0] * 5], [[1.0]], [[1.0]])

# R is the maximum of four weights: without the largest, 4, it is 3, so the loss is 1 and the score 4
max_net = NetSpec(
    Shape((Conv(1, 1, 2, stride=2, padding=1), Act("relu"), Pool("max", 2), Flatten(), Dense(1, 1)), (1, 2, 2), 1),
    {"0.weight": [[[[1.0, 2.0], [3.0, 4.0]]]], "4.weight": [[1.0]]},
    [[[[1.0, 1.0], [1.0, 1.0]]]],
    [[0.0]],
    "squared-error",
    0,
)

# tanh saturates: with fewer inputs its slope is larger, and so are the scores of those that are left
saturated_net = _dense("tanh", [[1.0] * 6], [[2.0]])

# y = 3 tanh(x/2) + tanh(x): the weights of the first unit score most, until it is multiplied and saturates
two_tanh_net = replace(_dense("tanh", [[0.5], [1.0]], [[3.0, 1.0]]), seed=2)

# the least of x and 10 x is x: pruning the 10, which scores nothing, leaves nothing
min_net = NetSpec(
    Shape((Branches("min", ((Dense(1, 1),), (Dense(1, 1),))), Act("relu"), Dense(1, 1)), (1,), 1),
    {"0.0.0.weight": [[1.0]], "0.1.0.weight": [[10.0]], "2.weight": [[1.0]]},
    [[1.0]],
    [[0.0]],
    "squared-error",
    0,
)

# the square of a tanh has no degree: 2 tanh(1) tanh'(1) enters its unit, 2 tanh(1)^2 leaves its square
tanh_square_net = NetSpec(
    Shape((Dense(1, 1), Act("tanh"), Act("square"), Dense(1, 1)), (1,), 1),
    {"0.weight": [[1.0]], "3.weight": [[1.0]]},
    [[1.0]],
    [[0.0]],
    "squared-error",
    0,
)
