"""Normalised networks: batch norm in both modes, layer, group, instance and RMS norms, weight and spectral norm."""

from hypothesis import strategies as st

from theory.networks.family import Family, normals
from theory.networks.layers import Act, Conv, Dense, Flatten, Layer, Norm, Reparametrised
from theory.networks.shape import Shape

MAX_WIDTH = 6
DENSE_NORMS = ("batch", "batch-train", "layer", "rms", "group")
CONV_NORMS = (*DENSE_NORMS, "instance")


@st.composite
def normalised_shapes(draw: st.DrawFn) -> Shape:
    """Linear or convolutional layers, each with a norm behind it or in its weight."""
    conv, widths = draw(st.booleans()), draw(st.lists(st.integers(2, MAX_WIDTH), min_size=2, max_size=4))
    layers: list[Layer] = []
    for i, width in enumerate(widths):
        if not conv and i and draw(st.integers(0, 2)) == 0:
            layers += [Reparametrised(draw(st.sampled_from(["weight", "spectral"])), 0, width), Act("relu")]
            continue
        bias = draw(st.booleans())
        weighted = Conv(0, width, 3, 1, 1, 1, bias) if conv else Dense(0, width, bias)
        kinds = CONV_NORMS if conv else DENSE_NORMS
        layers += [weighted, Norm(draw(st.sampled_from(kinds)), (width,)), Act("relu")]
    layers += ([Flatten()] if conv else []) + [Dense(0, draw(st.integers(2, 4)), True)]
    size = (draw(st.integers(1, 3)), 3, 3) if conv else (draw(st.integers(1, MAX_WIDTH)),)
    return Shape(tuple(layers), size, draw(st.integers(2, 4))).fitted()


normalised = Family("normalised", normalised_shapes(), normals, normals, "cross-entropy", generic=True, order=6)


@st.composite
def batch_normed_shapes(draw: st.DrawFn) -> Shape:
    """Convolutions with batch norm and ReLU, as most models of images are made of."""
    layers: list[Layer] = []
    for _ in range(draw(st.integers(1, 2))):
        kernel, bias = draw(st.sampled_from([1, 3])), draw(st.booleans())
        width, stride = draw(st.integers(2, 4)), draw(st.sampled_from([1, 1, 2]))
        layers += [Conv(0, width, kernel, stride, kernel // 2, 1, bias), Norm("batch", (width,)), Act("relu")]
    layers += [Flatten(), Dense(0, draw(st.integers(2, 3)), True)]
    return Shape(tuple(layers), (draw(st.integers(1, 3)), 4, 4), draw(st.integers(2, 3))).fitted()


batch_normed = Family("batch norm", batch_normed_shapes(), normals, normals, "cross-entropy", generic=True, order=6)
