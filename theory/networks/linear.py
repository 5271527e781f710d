"""Linear networks: layers with nothing between them, the bottlenecks of factorised weights and of queries and keys."""

from itertools import pairwise

from hypothesis import strategies as st

from theory.networks.family import Family, integers, normals, small_integers
from theory.networks.layers import Dense, Layer
from theory.networks.shape import Shape

MAX_WIDTH, MAX_DEPTH = 6, 4


@st.composite
def linear_shapes(draw: st.DrawFn) -> Shape:
    """Dense layers, one straight after the other."""
    depth = draw(st.integers(2, MAX_DEPTH))
    widths = draw(st.lists(st.integers(1, MAX_WIDTH), min_size=depth + 1, max_size=depth + 1))
    bias = draw(st.booleans())
    layers: tuple[Layer, ...] = tuple(Dense(inputs, outputs, bias) for inputs, outputs in pairwise(widths))
    return Shape(layers, (widths[0],), draw(st.integers(1, 3)))


linear_integer = Family(
    "linear, integer", linear_shapes(), integers, small_integers, "squared-error", generic=False, order=17
)
linear_real = Family("linear, real", linear_shapes(), normals, normals, "cross-entropy", generic=True, order=18)
