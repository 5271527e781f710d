"""Networks of higher degree: relu^2 and relu^3 between linear layers."""

from itertools import pairwise

from hypothesis import strategies as st

from theory.networks.family import Family, integers, normals, small_integers
from theory.networks.layers import Act, Dense, Layer
from theory.networks.shape import Shape

MAX_WIDTH, MAX_DEPTH = 8, 4


@st.composite
def power_shapes(draw: st.DrawFn, names: tuple[str, ...]) -> Shape:
    """Dense layers with powers of ReLU, and now and then a plain one, between them."""
    depth = draw(st.integers(2, MAX_DEPTH))
    widths = draw(st.lists(st.integers(1, MAX_WIDTH), min_size=depth + 1, max_size=depth + 1))
    bias = draw(st.booleans())
    layers: list[Layer] = []
    for i, (inputs, outputs) in enumerate(pairwise(widths)):
        layers += [Act(draw(st.sampled_from(names)))] * bool(i) + [Dense(inputs, outputs, bias)]
    return Shape(tuple(layers), (widths[0],), draw(st.integers(1, 3)))


power_integer = Family(
    "power, integer",
    power_shapes(("relu", "relu2")),
    integers,
    small_integers,
    "squared-error",
    generic=False,
    order=11,
)
power_real = Family(
    "power, real", power_shapes(("relu2", "relu3")), normals, normals, "squared-error", generic=True, order=12
)
