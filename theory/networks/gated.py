"""Gated networks: products of two branches, one of them behind an activation (ReGLU, SwiGLU, bilinear)."""

from hypothesis import strategies as st

from theory.networks.family import Family, integers, normals, small_integers
from theory.networks.layers import Act, Branches, Dense, Layer
from theory.networks.shape import Shape

MAX_WIDTH, MAX_BLOCKS = 6, 2


@st.composite
def gated_shapes(draw: st.DrawFn, activations: tuple[str, ...]) -> Shape:
    """Gated blocks, with or without an identity around them."""
    widths = draw(st.lists(st.integers(2, MAX_WIDTH), min_size=2, max_size=1 + MAX_BLOCKS))
    bias, width = draw(st.booleans()), widths[0]
    layers: list[Layer] = [Dense(0, width, bias), Act("relu")]
    for hidden in widths[1:]:
        activation = draw(st.sampled_from((*activations, None)))
        gate: tuple[Layer, ...] = (Dense(0, hidden, bias), *([Act(activation)] if activation else []))
        block = (Branches("product", (gate, (Dense(0, hidden, bias),))), Dense(0, width, bias))
        layers += [Branches("sum", (block, ()))] if draw(st.booleans()) else block
    layers += [Act("relu"), Dense(0, draw(st.integers(1, 3)), bias)]
    return Shape(tuple(layers), (draw(st.integers(1, MAX_WIDTH)),), draw(st.integers(1, 3))).fitted()


gated_integer = Family(
    "gated, integer", gated_shapes(("relu",)), integers, small_integers, "squared-error", generic=False, order=9
)
gated_real = Family(
    "gated, real", gated_shapes(("relu", "silu", "gelu")), normals, normals, "squared-error", generic=True, order=10
)
