"""Tied networks: a square linear layer used more than once, with a bias of its own for each use."""

from hypothesis import strategies as st

from theory.networks.family import Family, integers, normals, small_integers
from theory.networks.layers import Act, Dense, Layer
from theory.networks.shape import Shape

MAX_WIDTH, MAX_USES = 6, 4


@st.composite
def tied_shapes(draw: st.DrawFn) -> Shape:
    """A linear layer in, one used over and over, one out."""
    width, bias = draw(st.integers(2, MAX_WIDTH)), draw(st.booleans())
    layers: list[Layer] = [Dense(0, width, bias), Act("relu"), Dense(0, width, bias)]
    for _ in range(draw(st.integers(1, MAX_USES - 1))):
        layers += [Act("relu"), Dense(0, width, bias, tied="2")]
    layers += [Act("relu"), Dense(0, draw(st.integers(1, 3)), bias)]
    return Shape(tuple(layers), (draw(st.integers(1, MAX_WIDTH)),), draw(st.integers(1, 3))).fitted()


tied_integer = Family(
    "tied, integer", tied_shapes(), integers, small_integers, "squared-error", generic=False, order=13
)
tied_real = Family("tied, real", tied_shapes(), normals, normals, "cross-entropy", generic=True, order=14)
