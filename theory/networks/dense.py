"""Multilayer perceptrons: up to width 16 and depth 6, with and without biases."""

from itertools import pairwise

from hypothesis import strategies as st

from theory.networks.family import Family, integers, normals, small_integers
from theory.networks.layers import Act, Dense, Layer
from theory.networks.shape import Shape

MAX_WIDTH, MAX_DEPTH = 16, 6


@st.composite
def mlp_shapes(draw: st.DrawFn, activation: str = "relu") -> Shape:
    """Dense layers with an activation between them."""
    depth = draw(st.integers(2, MAX_DEPTH))
    widths = draw(st.lists(st.integers(1, MAX_WIDTH), min_size=depth + 1, max_size=depth + 1))
    bias = draw(st.booleans())
    layers: list[Layer] = []
    for i, (inputs, outputs) in enumerate(pairwise(widths)):
        layers += [Act(activation)] * bool(i) + [Dense(inputs, outputs, bias)]
    return Shape(tuple(layers), (widths[0],), draw(st.integers(1, 4)))


dense_integer = Family(
    "dense, integer", mlp_shapes(), integers, small_integers, "squared-error", generic=False, order=0
)
dense_real = Family("dense, real", mlp_shapes(), normals, normals, "cross-entropy", generic=True, order=1)
