"""Literal networks, the smallest that show what is often said of modules and is false."""

from __future__ import annotations

from typing import Any

from theory.networks.layers import (
    Act,
    Attention,
    Branches,
    Conv,
    Dense,
    Embedding,
    Flatten,
    Layer,
    Norm,
    Pool,
    PReLU,
    Reparametrised,
)
from theory.networks.shape import Shape
from theory.networks.spec import NetSpec


def _net(layers: tuple[Layer, ...], values: dict[str, Any], inputs: Any, targets: Any) -> NetSpec:
    """One problem, of as many samples as there are inputs, under half the squared error."""
    sample, size = inputs[0], []
    while isinstance(sample, list):
        size.append(len(sample))
        sample = sample[0]
    return NetSpec(Shape(layers, tuple(size), len(inputs)).fitted(), values, inputs, targets, "squared-error", 0)


def _attention(values: dict[str, Any], **options: Any) -> NetSpec:
    """Two tokens of one feature."""
    named = {f"0.{name}": value for name, value in values.items()}
    return _net((Attention(1, 1, **options),), named, [[[1.0], [2.0]]], [[[0.0], [0.0]]])


def _ones(*names: str, width: int = 1) -> dict[str, Any]:
    """q, k and v of one head from one feature, and o back; `names` are weights and biases."""
    found: dict[str, Any] = {}
    for name in names:
        part, kind = name.split(".")
        row = [1.0] if kind == "weight" else 1.0
        found[name] = [row] * width
        if part == "o":
            found[name] = [[1.0] * width] if kind == "weight" else [1.0]
    return found


# each entry but those at the border is read by four windows, and yet the flow is the same on both sides
overlapping_net = _net(
    (Conv(1, 1, 1), Pool("avg", 2, 1), Flatten(), Dense(4, 1)),
    {"0.weight": [[[[1.0]]]], "3.weight": [[1.0, 2.0, 1.0, 1.0]]},
    [[[[1.0, 1.0, 1.0], [1.0, 2.0, 1.0], [1.0, 1.0, 1.0]]]],
    [[0.0]],
)

# y = x + 1 = 2: the flow is 4, of which the weight has 2
biased_net = _net((Dense(1, 1, True),), {"0.weight": [[1.0]], "0.bias": [1.0]}, [[1.0]], [[0.0]])

# y = 2 h + h = 3: h carries 9, of which the weight has 6
# y = 5 relu(2 x + 3) at x = 1: <x, dR/dx> is 10 times the slope, <y, dR/dy> 25 times, and the bias has the rest
biased_chain = _net(
    (Dense(1, 1, True), Act("relu"), Dense(1, 1)),
    {"0.weight": [[2.0]], "0.bias": [3.0], "2.weight": [[5.0]]},
    [[1.0]],
    [[0.0]],
)

# y = relu(x)^2: the unit's saliency is twice what leaves its square
square_net = _net(
    (Dense(1, 1), Act("relu2"), Dense(1, 1)), {"0.weight": [[1.0]], "2.weight": [[1.0]]}, [[1.0]], [[0.0]]
)

skip_net = _net(
    (Dense(1, 1), Branches("sum", ((Dense(1, 1),), ()))),
    {"0.weight": [[1.0]], "1.0.0.weight": [[2.0]]},
    [[1.0]],
    [[0.0]],
)

# y = x * x
product_net = _net(
    (Branches("product", ((Dense(1, 1),), (Dense(1, 1),))),),
    {"0.0.0.weight": [[1.0]], "0.1.0.weight": [[1.0]]},
    [[1.0]],
    [[0.0]],
)

# the biases of both factors carry flow of their own
biased_gate = _net(
    (Branches("product", ((Dense(1, 1, True),), (Dense(1, 1, True),))), Dense(1, 1)),
    {
        **{f"0.{i}.0.weight": [[1.0]] for i in (0, 1)},
        **{f"0.{i}.0.bias": [1.0] for i in (0, 1)},
        "1.weight": [[1.0]],
    },
    [[1.0]],
    [[0.0]],
)

# silu is of no degree
swish_gate = _net(
    (Branches("product", ((Dense(1, 1), Act("silu")), (Dense(1, 1),))), Dense(1, 1)),
    {"0.0.0.weight": [[1.0]], "0.1.0.weight": [[1.0]], "1.weight": [[1.0]]},
    [[1.0]],
    [[0.0]],
)

shifted_norm = _net(
    (Dense(1, 2), Norm("layer", (2,))),
    {"0.weight": [[1.0], [3.0]], "1.weight": [1.0, 1.0], "1.bias": [1.0, 0.0]},
    [[1.0]],
    [[0.0, 0.0]],
)

shifted_affine = _net(
    (Dense(1, 1), Norm("batch", (1,))), {"0.weight": [[1.0]], "1.scale": [1.0], "1.shift": [1.0]}, [[1.0]], [[0.0]]
)

# v = 1/4 and eps = 1/8: a third goes through
trained_norm = _net(
    (Dense(1, 1), Norm("batch-train", (1,))),
    {"0.weight": [[1.0]], "1.weight": [1.0], "1.bias": [1.0]},
    [[1.0], [2.0]],
    [[0.0], [0.0]],
)

# the gains differ, so the features do not balance one by one, and each bias has a gradient
features_norm = _net(
    (Dense(1, 2, True), Norm("layer", (2,))),
    {"0.weight": [[1.0], [2.0]], "0.bias": [0.0, 1.0], "1.weight": [1.0, 2.0], "1.bias": [0.0, 0.0]},
    [[1.0]],
    [[0.0, 0.0]],
)

rms_net = _net(
    (Dense(1, 2, True), Norm("rms", (2,))),
    {"0.weight": [[1.0], [2.0]], "0.bias": [0.0, 1.0], "1.weight": [1.0, 2.0]},
    [[1.0]],
    [[0.0, 0.0]],
)

# y = w^2 x
tied_net = _net((Dense(1, 1), Dense(1, 1, tied="0")), {"0.weight": [[2.0]]}, [[1.0]], [[0.0]])

weight_norm_net = _net(
    (Reparametrised("weight", 1, 1), Dense(1, 1)),
    {"0.direction": [[1.0]], "0.gain": [[1.0]], "0.bias": [0.0], "1.weight": [[1.0]]},
    [[1.0]],
    [[0.0]],
)

spectral_net = _net(
    (Reparametrised("spectral", 1, 1), Dense(1, 1)),
    {"0.direction": [[2.0]], "0.bias": [0.0], "1.weight": [[1.0]]},
    [[1.0]],
    [[0.0]],
)

# nothing is negative, so the slope has no saliency
prelu_net = _net((Dense(1, 1), PReLU(1)), {"0.weight": [[1.0]], "1.weight": [0.5]}, [[1.0]], [[0.0]])

table_net = _net((Embedding(1, 1), Dense(1, 1)), {"0.weight": [[1.0]], "1.weight": [[1.0]]}, [[0.0]], [[[0.0]]])

_PARTS = ("q.weight", "k.weight", "v.weight", "o.weight")
_BIASES = ("q.bias", "k.bias", "v.bias", "o.bias")

biased_attention = _attention(_ones(*_PARTS, *_BIASES), width=1, bias=True)
rotary_attention = _attention(_ones(*_PARTS, *_BIASES, width=2), width=2, bias=True, rope=True)
grouped_attention = _attention(
    _ones("k.weight", "v.weight") | {"q.weight": [[1.0], [2.0]], "o.weight": [[1.0, 1.0]]}, width=1, heads=2
)
normed_attention = _attention(
    _ones(*_PARTS) | {"k.weight": [[2.0]], "q.gain": [1.0], "k.gain": [1.0]}, width=1, qk_norm=True
)
