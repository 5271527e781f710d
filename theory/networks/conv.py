"""Convolutional networks: strides, dilation, padding, groups, transposed convolutions, pools that may overlap."""

from hypothesis import strategies as st

from theory.networks.family import Family, integers, normals, small_integers
from theory.networks.layers import Act, Conv, Dense, Flatten, Layer, Misfit, Pool, Resize
from theory.networks.shape import Shape

MAX_CHANNELS, MAX_CONVS = 8, 4


@st.composite
def conv_shapes(draw: st.DrawFn, pools: tuple[str, ...] = ("max", "avg"), moves: bool = True) -> Shape:
    """Convolutions with ReLU and now and then a pool; flattened before the linear layer."""
    channels, side = draw(st.sampled_from([1, 2, 3])), draw(st.sampled_from([4, 6, 8]))
    bias, samples = draw(st.booleans()), draw(st.integers(1, 3))
    layers: list[Layer] = []
    for _ in range(draw(st.integers(1, MAX_CONVS))):
        for group in (_convolution(draw, bias), _between(draw, pools, moves)):
            layers = _lengthened(layers, group, (channels, side, side))
    layers += [Flatten(), Dense(0, draw(st.integers(1, 5)), bias)]
    return Shape(tuple(layers), (channels, side, side), samples).fitted()


def _lengthened(layers: list[Layer], group: list[Layer], size: tuple[int, ...]) -> list[Layer]:
    """With the group behind, where it fits and leaves the network small."""
    try:
        channels, *sides = Shape((*layers, *group), size, 1).output
    except Misfit:
        return layers
    return layers + group if channels * max(sides) ** 2 <= 400 else layers


def _convolution(draw: st.DrawFn, bias: bool) -> list[Layer]:
    kernel, groups = draw(st.sampled_from([1, 2, 3])), draw(st.sampled_from([1, 1, 2]))
    outputs = groups * draw(st.integers(1, MAX_CHANNELS // groups))
    stride, padding = draw(st.sampled_from([1, 1, 2])), draw(st.integers(0, kernel // 2))
    dilation = draw(st.sampled_from([1, 1, 2])) if kernel > 1 else 1
    transposed = draw(st.integers(0, 4)) == 0
    return [Conv(0, outputs, kernel, stride, padding, groups, bias, dilation, transposed), Act("relu")]


def _between(draw: st.DrawFn, pools: tuple[str, ...], moves: bool) -> list[Layer]:
    kind = draw(st.sampled_from(["none", "none", "pool", "move" if moves else "pool"]))
    if kind == "pool" and pools:
        size = draw(st.sampled_from([2, 3]))
        return [Pool(draw(st.sampled_from(pools)), size, draw(st.integers(1, size)))]
    if kind == "move":
        return [Resize(draw(st.sampled_from(["reflect", "circular", "replicate", "upsample", "shuffle"])))]
    return []


conv_integer = Family(
    "conv, integer",
    conv_shapes(("max",), False),
    integers,
    small_integers,
    "squared-error",
    generic=False,
    order=2,
)
conv_real = Family("conv, real", conv_shapes(), normals, normals, "cross-entropy", generic=True, order=3)
