"""Residual and dense-skip networks: sums and concatenations of branches, identities among them, one in another."""

from hypothesis import strategies as st

from theory.networks.family import Family, integers, normals, small_integers
from theory.networks.layers import Act, Branches, Conv, Dense, Flatten, Layer
from theory.networks.shape import Shape

MAX_WIDTH, MAX_BLOCKS = 8, 3


def _weighted(draw: st.DrawFn, conv: bool, bias: bool, outputs: int) -> Layer:
    if not conv:
        return Dense(0, outputs, bias)
    kernel = draw(st.sampled_from([1, 3]))
    return Conv(0, outputs, kernel, 1, kernel // 2, 1, bias)


def _body(draw: st.DrawFn, conv: bool, bias: bool, width: int, nested: bool) -> tuple[Layer, ...]:
    inner: list[Layer] = [_weighted(draw, conv, bias, draw(st.integers(1, MAX_WIDTH))), Act("relu")]
    if nested and draw(st.booleans()):
        inner += _block(draw, conv, bias, inner[0].outputs, nested=False)  # type: ignore[attr-defined]
    return (*inner, _weighted(draw, conv, bias, width))


def _block(draw: st.DrawFn, conv: bool, bias: bool, width: int, nested: bool = True) -> list[Layer]:
    """A body beside the identity or beside a projection, added or concatenated."""
    join = draw(st.sampled_from(["sum", "sum", "cat"]))
    body = _body(draw, conv, bias, width, nested)
    beside = draw(st.sampled_from([(), (), (_weighted(draw, conv, bias, width),)]))
    return [Branches(join, (body, beside)), Act("relu")]


@st.composite
def residual_shapes(draw: st.DrawFn) -> Shape:
    """A stem, blocks, and a linear layer."""
    conv, bias, width = draw(st.booleans()), draw(st.booleans()), draw(st.integers(1, MAX_WIDTH))
    size = (draw(st.integers(1, 3)), 4, 4) if conv else (draw(st.integers(1, MAX_WIDTH)),)
    layers = [_weighted(draw, conv, bias, width), Act("relu")]
    for _ in range(draw(st.integers(1, MAX_BLOCKS))):
        layers += _block(draw, conv, bias, width)
    layers += ([Flatten()] if conv else []) + [Dense(0, draw(st.integers(1, 4)), bias)]
    return Shape(tuple(layers), size, draw(st.integers(1, 3))).fitted()


residual_integer = Family(
    "residual, integer",
    residual_shapes(),
    integers,
    small_integers,
    "squared-error",
    generic=False,
    order=4,
)
residual_real = Family("residual, real", residual_shapes(), normals, normals, "cross-entropy", generic=True, order=5)
