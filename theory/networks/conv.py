"""Convolutional chains: strides, padding, groups, max and average pools, a linear layer at the end."""

from hypothesis import strategies as st

from theory.networks.family import Family, integers, normals, small_integers
from theory.networks.shape import Act, Conv, Dense, Flatten, Layer, Pool, Shape

MAX_CHANNELS, MAX_CONVS = 8, 4


@st.composite
def conv_shapes(draw: st.DrawFn, pools: tuple[str, ...] = ("max", "avg")) -> Shape:
    """Convolutions with ReLU and now and then a pool; flattened or pooled away before the linear layer."""
    channels = draw(st.sampled_from([1, 2, 3]))
    size = start = draw(st.sampled_from([4, 6, 8]))
    first, bias = channels, draw(st.booleans())
    layers: list[Layer] = []
    for _ in range(draw(st.integers(1, MAX_CONVS))):
        kernel = draw(st.sampled_from([1, 2, 3]))
        stride, padding = draw(st.sampled_from([1, 1, 2])), draw(st.integers(0, kernel // 2))
        if size + 2 * padding < kernel:
            break
        groups = draw(st.sampled_from([g for g in (1, 2) if channels % g == 0]))
        outputs = groups * draw(st.integers(1, MAX_CHANNELS // groups))
        layers += [Conv(channels, outputs, kernel, stride, padding, groups, bias), Act("relu")]
        channels, size = outputs, (size + 2 * padding - kernel) // stride + 1
        if pools and size >= 2 and draw(st.booleans()):
            layers.append(Pool(draw(st.sampled_from(pools)), 2))
            size //= 2
    layers += [Flatten(), Dense(channels * size * size, draw(st.integers(1, 5)), bias)]
    return Shape(tuple(layers), (first, start, start), draw(st.integers(1, 3)))


conv_integer = Family(
    "conv, integer", conv_shapes(("max",)), integers, small_integers, "squared-error", generic=False, order=2
)
conv_real = Family("conv, real", conv_shapes(), normals, normals, "cross-entropy", generic=True, order=3)
