"""Layers: each knows its parameters, its sizes, its operators, and the module that it is."""

# ruff: noqa: D102 - the protocol Layer says what the methods do

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import nn

from pruning.graph import Node, Param, Value
from pruning.mended import prelu
from theory.networks import modules

aten = torch.ops.aten
Size = tuple[int, ...]  # of one sample: (features,), (tokens, features) or (channels, height, width)


class Misfit(ValueError):
    """Layers that don't fit together."""


@dataclass
class Wiring:
    """Operators collected one after the other; the parameters' names begin with the path of their layer."""

    nodes: list[Node] = field(default_factory=list)

    def add(self, path: str, op: Callable[..., Any], *args: object) -> Value:
        """One operator more; what it makes."""
        self.nodes.append(Node(f"value{len(self.nodes)}", op, args, path))
        return Value(self.nodes[-1].name)


class Layer(Protocol):
    """What every kind of layer can say of itself."""

    def parameters(self) -> Mapping[str, Size]:
        """Shapes of its parameters, by the names its module gives them."""

    def fitted(self, size: Size) -> tuple[Layer, Size]:
        """The layer for inputs of `size`, and the size of what it makes. Raises Misfit."""

    def emit(self, wiring: Wiring, x: Value, path: str) -> Value:
        """Add its operators."""

    def module(self) -> nn.Module:
        """The same as a module."""


@dataclass(frozen=True)
class Dense:
    """A linear layer, of each token where there are tokens. `tied` names a layer whose weight it shares."""

    inputs: int
    outputs: int
    bias: bool = False
    tied: str | None = None

    def parameters(self) -> Mapping[str, Size]:
        own = {} if self.tied else {"weight": (self.outputs, self.inputs)}
        return own | ({"bias": (self.outputs,)} if self.bias else {})

    def fitted(self, size: Size) -> tuple[Layer, Size]:
        if len(size) > 2:
            raise Misfit("a linear layer after a convolution needs its channels flattened")
        outputs = size[-1] if self.tied else self.outputs
        return replace(self, inputs=size[-1], outputs=outputs), (*size[:-1], outputs)

    def emit(self, wiring: Wiring, x: Value, path: str) -> Value:
        bias = Param(f"{path}.bias") if self.bias else None
        return wiring.add(path, aten.linear.default, x, Param(f"{self.tied or path}.weight"), bias)

    def module(self) -> nn.Module:
        return nn.Linear(self.inputs, self.outputs, bias=self.bias)


@dataclass(frozen=True)
class Conv:
    """A square two-dimensional convolution, or a transposed one."""

    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    bias: bool = False
    dilation: int = 1
    transposed: bool = False

    def parameters(self) -> Mapping[str, Size]:
        first, second = (self.inputs, self.outputs) if self.transposed else (self.outputs, self.inputs)
        weight = {"weight": (first, second // self.groups, self.kernel, self.kernel)}
        return weight | ({"bias": (self.outputs,)} if self.bias else {})

    def fitted(self, size: Size) -> tuple[Layer, Size]:
        if len(size) != 3:
            raise Misfit("a convolution needs channels, height and width")
        groups = self.groups if size[0] % self.groups == 0 == self.outputs % self.groups else 1
        reach = self.dilation * (self.kernel - 1)
        if self.transposed:
            sides = tuple((n - 1) * self.stride - 2 * self.padding + reach + 1 for n in size[1:])
        else:
            sides = tuple((n + 2 * self.padding - reach - 1) // self.stride + 1 for n in size[1:])
        return replace(self, inputs=size[0], groups=groups), _positive((self.outputs, *sides))

    def emit(self, wiring: Wiring, x: Value, path: str) -> Value:
        weight, bias = Param(f"{path}.weight"), Param(f"{path}.bias") if self.bias else None
        stride, padding, dilation = ([n] * 2 for n in (self.stride, self.padding, self.dilation))
        if self.transposed:
            op = aten.conv_transpose2d.input
            return wiring.add(path, op, x, weight, bias, stride, padding, [0, 0], self.groups, dilation)
        return wiring.add(path, aten.conv2d.default, x, weight, bias, stride, padding, dilation, self.groups)

    def module(self) -> nn.Module:
        kind = nn.ConvTranspose2d if self.transposed else nn.Conv2d
        rest = {"groups": self.groups, "bias": self.bias, "dilation": self.dilation}
        return kind(self.inputs, self.outputs, self.kernel, self.stride, self.padding, **rest)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Pool:
    """A square pool, 'max' or 'avg'; windows overlap where `stride` is less than `size`."""

    kind: str
    size: int
    stride: int | None = None

    def parameters(self) -> Mapping[str, Size]:
        return {}

    def fitted(self, size: Size) -> tuple[Layer, Size]:
        if len(size) != 3:
            raise Misfit("a pool needs channels, height and width")
        return self, _positive((size[0], *((n - self.size) // (self.stride or self.size) + 1 for n in size[1:])))

    def emit(self, wiring: Wiring, x: Value, path: str) -> Value:
        op = {"max": aten.max_pool2d.default, "avg": aten.avg_pool2d.default}[self.kind]
        return wiring.add(path, op, x, [self.size] * 2, [self.stride or self.size] * 2)

    def module(self) -> nn.Module:
        return {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}[self.kind](self.size, self.stride)


@dataclass(frozen=True)
class Resize:
    """Moves entries: 'upsample' (nearest) or 'shuffle' (channels to positions) by 2, padding by 1 otherwise.

    That is by 'reflect', 'circular' or 'replicate'.
    """

    kind: str

    def parameters(self) -> Mapping[str, Size]:
        return {}

    def fitted(self, size: Size) -> tuple[Layer, Size]:
        channels, *sides = size
        if len(size) != 3 or (self.kind == "shuffle" and channels % 4) or (self.kind == "reflect" and min(sides) < 2):
            raise Misfit(f"{self.kind} does not fit {size}")
        if self.kind in ("upsample", "shuffle"):
            return self, (channels // 4 if self.kind == "shuffle" else channels, *(2 * n for n in sides))
        return self, (channels, *(n + 2 for n in sides))

    def emit(self, wiring: Wiring, x: Value, path: str) -> Value:
        if self.kind == "upsample":
            return wiring.add(path, aten.upsample_nearest2d.vec, x, None, [2.0, 2.0])
        if self.kind == "shuffle":
            return wiring.add(path, aten.pixel_shuffle.default, x, 2)
        return wiring.add(path, aten.pad.default, x, [1, 1, 1, 1], self.kind)

    def module(self) -> nn.Module:
        known = {"upsample": nn.Upsample(scale_factor=2), "shuffle": nn.PixelShuffle(2)}
        return known.get(self.kind) or modules.Padding(self.kind)


@dataclass(frozen=True)
class Act:
    """An activation by name: one of ACTIVATIONS."""

    name: str

    def parameters(self) -> Mapping[str, Size]:
        return {}

    def fitted(self, size: Size) -> tuple[Layer, Size]:
        return self, size

    def emit(self, wiring: Wiring, x: Value, path: str) -> Value:
        for op, *args in ACTIVATIONS[self.name][0]:
            x = wiring.add(path, op, x, *args)
        return x

    def module(self) -> nn.Module:
        return ACTIVATIONS[self.name][1]()


ACTIVATIONS: Mapping[str, tuple[list[tuple[Any, ...]], Callable[[], nn.Module]]] = {
    "relu": ([(aten.relu.default,)], nn.ReLU),
    "leaky": ([(aten.leaky_relu.default, 0.25)], lambda: nn.LeakyReLU(0.25)),
    "abs": ([(aten.abs.default,)], modules.Abs),
    "threshold": ([(aten.threshold.default, 1.0, 0.0)], lambda: nn.Threshold(1.0, 0.0)),
    "tanh": ([(aten.tanh.default,)], nn.Tanh),
    "gelu": ([(aten.gelu.default,)], nn.GELU),
    "silu": ([(aten.silu.default,)], nn.SiLU),
    "square": ([(aten.square.default,)], modules.Square),
    "relu2": ([(aten.relu.default,), (aten.square.default,)], lambda: modules.PowerOfReLU(2)),
    "relu3": ([(aten.relu.default,), (aten.pow.Tensor_Scalar, 3)], lambda: modules.PowerOfReLU(3)),
}


@dataclass(frozen=True)
class PReLU:
    """A ReLU with a slope of its own for each channel's negative side."""

    channels: int

    def parameters(self) -> Mapping[str, Size]:
        return {"weight": (self.channels,)}

    def fitted(self, size: Size) -> tuple[Layer, Size]:
        if len(size) == 2:
            raise Misfit("the channels of a PReLU are the second axis, tokens have them last")
        return replace(self, channels=size[0]), size

    def emit(self, wiring: Wiring, x: Value, path: str) -> Value:
        return wiring.add(path, prelu, x, Param(f"{path}.weight"))

    def module(self) -> nn.Module:
        return nn.PReLU(self.channels)


@dataclass(frozen=True)
class Flatten:
    """Channels and positions into one axis."""

    def parameters(self) -> Mapping[str, Size]:
        return {}

    def fitted(self, size: Size) -> tuple[Layer, Size]:
        return self, (torch.Size(size).numel(),)

    def emit(self, wiring: Wiring, x: Value, path: str) -> Value:
        return wiring.add(path, aten.flatten.using_ints, x, 1)

    def module(self) -> nn.Module:
        return nn.Flatten()


@dataclass(frozen=True)
class TokenMean:
    """The mean over the tokens."""

    def parameters(self) -> Mapping[str, Size]:
        return {}

    def fitted(self, size: Size) -> tuple[Layer, Size]:
        if len(size) != 2:
            raise Misfit("there are no tokens to take the mean of")
        return self, size[1:]

    def emit(self, wiring: Wiring, x: Value, path: str) -> Value:
        return wiring.add(path, aten.mean.dim, x, [1])

    def module(self) -> nn.Module:
        return modules.TokenMean()


@dataclass(frozen=True)
class Embedding:
    """A row of a table for each input, which is rounded to a whole number and counted modulo the rows."""

    rows: int
    width: int

    def parameters(self) -> Mapping[str, Size]:
        return {"weight": (self.rows, self.width)}

    def fitted(self, size: Size) -> tuple[Layer, Size]:
        if len(size) != 1:
            raise Misfit("an embedding takes one number per token")
        return self, (size[0], self.width)

    def emit(self, wiring: Wiring, x: Value, path: str) -> Value:
        index = wiring.add(path, modules.indices, x, self.rows)
        return wiring.add(path, aten.embedding.default, Param(f"{path}.weight"), index)

    def module(self) -> nn.Module:
        return modules.Table(self.rows, self.width)


EPS = 0.125  # of the norms: a power of two, and large enough to matter


@dataclass(frozen=True)
class Norm:
    """A norm by kind; `size` is that of one sample.

    'batch' is batch norm in evaluation mode, one scale and one shift per channel; 'batch-train' takes the
    batch's own statistics; 'group' has two groups where that divides the channels.
    """

    kind: str
    size: Size

    def parameters(self) -> Mapping[str, Size]:
        channels = self.size[:1]
        if self.kind == "batch":
            column = (*channels, *[1] * (len(self.size) - 1))
            return {"scale": column, "shift": column}
        if self.kind in ("layer", "rms"):
            own = self.size if len(self.size) == 3 else self.size[-1:]
            return {"weight": own} | ({"bias": own} if self.kind == "layer" else {})
        return {"weight": channels, "bias": channels}

    def fitted(self, size: Size) -> tuple[Layer, Size]:
        by_channel = self.kind not in ("layer", "rms")
        if (by_channel and len(size) == 2) or (self.kind == "instance" and len(size) < 3):
            raise Misfit(f"{self.kind} norm does not fit {size}")
        return replace(self, size=size), size

    def emit(self, wiring: Wiring, x: Value, path: str) -> Value:
        first, second = (Param(f"{path}.{name}") for name in (*self.parameters(), "bias")[:2])
        if self.kind == "batch":
            return wiring.add(path, aten.add.Tensor, wiring.add(path, aten.mul.Tensor, x, first), second)
        if self.kind in ("layer", "rms"):
            own = list(self.parameters()["weight"])
            if self.kind == "rms":
                return wiring.add(path, aten.rms_norm.default, x, own, first, EPS)
            return wiring.add(path, aten.layer_norm.default, x, own, first, second, EPS)
        if self.kind == "group":
            return wiring.add(path, aten.group_norm.default, x, modules.groups(self.size[0]), first, second, EPS)
        op = aten.instance_norm.default if self.kind == "instance" else aten.batch_norm.default
        return wiring.add(path, op, x, first, second, None, None, True, 0.0, EPS, False)

    def module(self) -> nn.Module:
        return modules.norm(self.kind, self.size, EPS)


@dataclass(frozen=True)
class Reparametrised:
    """A linear layer whose weight is computed: 'weight' norm, g v / |v| per row, or 'spectral', W over its norm."""

    kind: str
    inputs: int
    outputs: int

    def parameters(self) -> Mapping[str, Size]:
        gain = {"gain": (self.outputs, 1)} if self.kind == "weight" else {}
        return gain | {"direction": (self.outputs, self.inputs), "bias": (self.outputs,)}

    def fitted(self, size: Size) -> tuple[Layer, Size]:
        if len(size) > 2:
            raise Misfit("a linear layer after a convolution needs its channels flattened")
        return replace(self, inputs=size[-1]), (*size[:-1], self.outputs)

    def emit(self, wiring: Wiring, x: Value, path: str) -> Value:
        direction = Param(f"{path}.direction")
        if self.kind == "weight":
            weight = wiring.add(path, modules.weight_normed, direction, Param(f"{path}.gain"))
        else:
            weight = wiring.add(path, modules.spectral_normed, direction)
        return wiring.add(path, aten.linear.default, x, weight, Param(f"{path}.bias"))

    def module(self) -> nn.Module:
        return modules.Reparametrised(self.kind, self.inputs, self.outputs)


@dataclass(frozen=True)
class Attention:
    """Softmax attention over tokens; `kv_heads` below `heads` are grouped queries.

    `rope` rotates queries and keys by position; `qk_norm` is an RMS norm of each head's queries and keys.
    """

    inputs: int
    outputs: int
    heads: int = 1
    kv_heads: int = 1
    width: int = 2
    bias: bool = False
    rope: bool = False
    qk_norm: bool = False
    causal: bool = False

    def parameters(self) -> Mapping[str, Size]:
        made = {"q": self.heads * self.width, "k": self.kv_heads * self.width, "v": self.kv_heads * self.width}
        weights = {f"{n}.weight": (size, self.inputs) for n, size in made.items()}
        weights |= {"o.weight": (self.outputs, self.heads * self.width)}
        biases = {n.replace("weight", "bias"): size[:1] for n, size in weights.items()} if self.bias else {}
        return weights | biases | ({f"{n}.gain": (self.width,) for n in "qk"} if self.qk_norm else {})

    def fitted(self, size: Size) -> tuple[Layer, Size]:
        if len(size) != 2:
            raise Misfit("attention needs tokens")
        kv_heads = self.kv_heads if self.heads % self.kv_heads == 0 else 1
        return replace(self, inputs=size[-1], kv_heads=kv_heads), (size[0], self.outputs)

    def emit(self, wiring: Wiring, x: Value, path: str) -> Value:
        counts = {"q": self.heads, "k": self.kv_heads, "v": self.kv_heads}
        q, k, v = (self._head(wiring, x, path, name, heads) for name, heads in counts.items())
        if self.kv_heads != self.heads:
            repeat = aten.repeat_interleave.self_int
            k, v = (wiring.add(path, repeat, one, self.heads // self.kv_heads, 1) for one in (k, v))
        products = wiring.add(path, aten.matmul.default, q, wiring.add(path, aten.transpose.int, k, -2, -1))
        if self.causal:
            products = wiring.add(path, modules.causal, products)
        weights = wiring.add(path, aten.softmax.int, products, -1)
        made = wiring.add(path, aten.matmul.default, weights, v)
        back = wiring.add(path, aten.transpose.int, made, 1, 2)
        return self._linear(wiring, wiring.add(path, aten.flatten.using_ints, back, 2), path, "o")

    def _head(self, wiring: Wiring, x: Value, path: str, name: str, heads: int) -> Value:
        made = self._linear(wiring, x, path, name)
        made = wiring.add(path, aten.unflatten.int, made, 2, [heads, self.width])
        made = wiring.add(path, aten.transpose.int, made, 1, 2)
        if self.qk_norm and name != "v":
            made = wiring.add(path, aten.rms_norm.default, made, [self.width], Param(f"{path}.{name}.gain"), EPS)
        return wiring.add(path, modules.rotated, made) if self.rope and name != "v" else made

    def _linear(self, wiring: Wiring, x: Value, path: str, name: str) -> Value:
        bias = Param(f"{path}.{name}.bias") if self.bias else None
        return wiring.add(f"{path}.{name}", aten.linear.default, x, Param(f"{path}.{name}.weight"), bias)

    def module(self) -> nn.Module:
        return modules.Attention(
            self.inputs, self.outputs, self.heads, self.kv_heads, self.width, self.bias, self.rope, self.qk_norm,
            self.causal, EPS,
        )  # fmt: skip


@dataclass(frozen=True)
class Branches:
    """Layers side by side on one input, joined by 'sum', 'cat', 'product' or 'min'; an empty branch is the identity.

    `axis` is the one that 'cat' joins along, which the size of the input decides.
    """

    join: str
    branches: tuple[tuple[Layer, ...], ...]
    axis: int = 1

    def parameters(self) -> Mapping[str, Size]:
        return {
            f"{b}.{name}": size for b, layers in enumerate(self.branches) for name, size in parameters(layers).items()
        }

    def fitted(self, size: Size) -> tuple[Layer, Size]:
        fits = [fitted(layers, size) for layers in self.branches]
        if self.join == "cat":
            axis = 2 if len(fits[0][1]) == 2 else 1
            return replace(self, branches=tuple(f for f, _ in fits), axis=axis), _joined([s for _, s in fits])
        wanted = next((s for (_, s), layers in zip(fits, self.branches, strict=True) if not layers), fits[0][1])
        fits = [(f, s) if s == wanted else fitted(_with_outputs(f, wanted), size) for f, s in fits]
        if any(s != wanted for _, s in fits):
            raise Misfit(f"branches of sizes {', '.join(str(s) for _, s in fits)} have no {self.join}")
        return replace(self, branches=tuple(f for f, _ in fits)), wanted

    def emit(self, wiring: Wiring, x: Value, path: str) -> Value:
        made = [emit(layers, wiring, x, f"{path}.{b}.") for b, layers in enumerate(self.branches)]
        if self.join == "cat":
            return wiring.add(path, aten.cat.default, made, self.axis)
        op = {"sum": aten.add.Tensor, "product": aten.mul.Tensor, "min": aten.minimum.default}[self.join]
        total = made[0]
        for other in made[1:]:
            total = wiring.add(path, op, total, other)
        return total

    def module(self) -> nn.Module:
        return modules.Branches(self.join, [module(layers) for layers in self.branches], self.axis)


def parameters(layers: tuple[Layer, ...]) -> dict[str, Size]:
    """Shapes of the parameters of layers in sequence, by the names nn.Sequential gives them."""
    return {f"{i}.{name}": size for i, layer in enumerate(layers) for name, size in layer.parameters().items()}


def fitted(layers: tuple[Layer, ...], size: Size) -> tuple[tuple[Layer, ...], Size]:
    """Layers in sequence, each fitted to what comes before, and the size of what they make. Raises Misfit."""
    made: list[Layer] = []
    for layer in layers:
        fit, size = layer.fitted(size)
        made.append(fit)
    return tuple(made), size


def emit(layers: tuple[Layer, ...], wiring: Wiring, x: Value, path: str = "") -> Value:
    """Add the operators of layers in sequence."""
    for i, layer in enumerate(layers):
        x = layer.emit(wiring, x, f"{path}{i}")
    return x


def module(layers: tuple[Layer, ...]) -> nn.Sequential:
    """Layers in sequence as a module."""
    return nn.Sequential(*(layer.module() for layer in layers))


def _with_outputs(layers: tuple[Layer, ...], wanted: Size) -> tuple[Layer, ...]:
    """The layers with as many outputs of the last weighted one as are wanted."""
    units = wanted[-1] if len(wanted) < 3 else wanted[0]
    for i in reversed(range(len(layers))):
        if hasattr(layers[i], "outputs"):
            return (*layers[:i], replace(layers[i], outputs=units), *layers[i + 1 :])  # type: ignore[type-var]
    return layers


def _joined(sizes: list[Size]) -> Size:
    tokens = len(sizes[0]) == 2
    rest = {s[:1] if tokens else s[1:] for s in sizes}
    if len(rest) > 1:
        raise Misfit(f"sizes {', '.join(map(str, sizes))} can't be concatenated")
    units = sum(s[-1] if tokens else s[0] for s in sizes)
    return (sizes[0][0], units) if tokens else (units, *sizes[0][1:])


def _positive(size: Size) -> Size:
    if min(size) < 1:
        raise Misfit(f"nothing is left of {size}")
    return size
