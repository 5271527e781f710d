"""Attention: heads with and without grouped queries, rotary positions and normalised queries, between norms."""

from hypothesis import strategies as st

from theory.networks.family import Family, normals
from theory.networks.layers import Act, Attention, Branches, Dense, Embedding, Layer, Norm, TokenMean
from theory.networks.shape import Shape

MAX_BLOCKS = 2


def _attention(draw: st.DrawFn, width: int) -> Attention:
    heads = draw(st.sampled_from([1, 2, 4]))
    return Attention(
        0,
        width,
        heads,
        draw(st.sampled_from([h for h in (1, 2, 4) if heads % h == 0])),
        draw(st.sampled_from([1, 2, 3])),
        bias=draw(st.booleans()),
        rope=draw(st.booleans()),
        qk_norm=draw(st.integers(0, 2)) == 0,
        causal=draw(st.booleans()),
    )


def _mixer(draw: st.DrawFn, width: int) -> tuple[Layer, ...]:
    """What a transformer has behind its attention: a plain or a gated network for each token."""
    hidden, bias = draw(st.integers(1, 4)), draw(st.booleans())
    up = (Dense(0, hidden, bias), Act(draw(st.sampled_from(["relu", "gelu", "silu"]))))
    if draw(st.booleans()):
        return (Branches("product", (up, (Dense(0, hidden, bias),))), Dense(0, width, bias))
    return (*up, Dense(0, width, bias))


@st.composite
def attention_shapes(draw: st.DrawFn) -> Shape:
    """Tokens by a table or a linear layer, blocks with norms before their parts, the mean over tokens."""
    width, norm = draw(st.integers(2, 4)), draw(st.sampled_from(["layer", "rms", None]))
    tokens, embedded = draw(st.integers(2, 4)), draw(st.booleans())
    layers: list[Layer] = [Embedding(3, width) if embedded else Dense(0, width, draw(st.booleans()))]
    before: tuple[Layer, ...] = (Norm(norm, (width,)),) if norm else ()
    for _ in range(draw(st.integers(1, MAX_BLOCKS))):
        parts: tuple[tuple[Layer, ...], ...] = ((_attention(draw, width),), _mixer(draw, width))
        layers += [Branches("sum", ((*before, *part), ())) for part in parts]
    layers += [TokenMean(), Dense(0, draw(st.integers(2, 4)), True)]
    size = (tokens,) if embedded else (tokens, draw(st.integers(1, 4)))
    return Shape(tuple(layers), size, draw(st.integers(1, 2))).fitted()


attention = Family("attention", attention_shapes(), normals, normals, "cross-entropy", generic=True, order=8)
