"""Networks of rarer modules: PReLU, spectral norm, tables, rotary attention, shared keys, normalised queries."""

from hypothesis import strategies as st

from theory.networks.family import Family, normals
from theory.networks.layers import (
    Act,
    Attention,
    Conv,
    Dense,
    Embedding,
    Flatten,
    Layer,
    Norm,
    PReLU,
    Reparametrised,
    TokenMean,
)
from theory.networks.shape import Shape

MAX_WIDTH = 5


@st.composite
def channel_shapes(draw: st.DrawFn) -> Shape:
    """Linear or convolutional layers with PReLU; the norm of the last but one is in its weight."""
    conv, widths = draw(st.booleans()), draw(st.lists(st.integers(2, MAX_WIDTH), min_size=2, max_size=3))
    layers: list[Layer] = []
    for width in widths:
        bias = draw(st.booleans())
        layers += [Conv(0, width, 3, 1, 1, 1, bias) if conv else Dense(0, width, bias)]
        if conv and draw(st.booleans()):
            layers.append(Norm(draw(st.sampled_from(["instance", "batch-train", "group"])), (width,)))
        layers.append(PReLU(width))
    layers += [Flatten()] if conv else []
    layers += [Reparametrised(draw(st.sampled_from(["weight", "spectral"])), 0, draw(st.integers(1, MAX_WIDTH)))]
    layers += [Act("relu"), Dense(0, draw(st.integers(2, 4)), True)]
    size = (draw(st.integers(1, 3)), 3, 3) if conv else (draw(st.integers(1, MAX_WIDTH)),)
    return Shape(tuple(layers), size, draw(st.integers(2, 4))).fitted()


@st.composite
def token_shapes(draw: st.DrawFn) -> Shape:
    """A table, attention that rotates, shares keys or normalises queries, and a layer with its norm in its weight."""
    width, kv_heads = draw(st.integers(1, 4)), draw(st.sampled_from([1, 2]))
    attention = Attention(
        0,
        width,
        kv_heads * draw(st.sampled_from([1, 2])),
        kv_heads,
        draw(st.sampled_from([2, 3, 4])),
        bias=draw(st.booleans()),
        rope=draw(st.integers(0, 2)) > 0,
        qk_norm=draw(st.integers(0, 3)) == 0,
        causal=draw(st.booleans()),
    )
    kind = draw(st.sampled_from(["weight", "spectral"]))
    layers = (Embedding(draw(st.integers(2, 4)), width), attention, Reparametrised(kind, 0, width), TokenMean())
    return Shape((*layers, Dense(0, draw(st.integers(2, 4)), True)), (draw(st.integers(2, 4)),), 2).fitted()


parametric = Family(
    "rarer modules",
    st.booleans().flatmap(lambda tokens: token_shapes() if tokens else channel_shapes()),
    normals,
    normals,
    "cross-entropy",
    generic=True,
    order=30,
)
