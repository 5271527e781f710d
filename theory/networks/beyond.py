"""Literal networks outside the hypotheses of the finite, matrix and softmax laws."""

from theory.networks.layers import Act, Dense
from theory.networks.shape import Shape
from theory.networks.spec import NetSpec

# 1 below the threshold is 0, 3 passes as it is: twice the input of the first unit is 2, which passes; twice its
# output is still 0. Its derivatives are those of a homogeneous unit everywhere
threshold_net = NetSpec(
    Shape((Dense(1, 2), Act("threshold"), Dense(2, 1)), (1,), 1),
    {"0.weight": [[1.0], [3.0]], "2.weight": [[1.0, 1.0]]},
    [[1.0]],
    [[0.0]],
    "squared-error",
    0,
)

# the first unit is dead: nothing comes back through it, though what enters it and what the second passes on agree
relu_pair = NetSpec(
    Shape((Dense(1, 2), Act("relu"), Dense(2, 1)), (1,), 1),
    {"0.weight": [[-2.0], [1.0]], "2.weight": [[1.0, 1.0]]},
    [[1.0]],
    [[0.0]],
    "squared-error",
    0,
)

# y = (1, 2): the squared error grows in both, a softmax does not see what all outputs share
shifted_pair = NetSpec(
    Shape((Dense(1, 2),), (1,), 1), {"0.weight": [[1.0], [2.0]]}, [[1.0]], [[0.0, 0.0]], "squared-error", 0
)
