"""Small networks around each operator, and their hidden units by the layers that feed them, as theory says."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from balances import Net
from torch import Tensor, nn
from torch.nn import functional as F

from pruning.network import Network
from pruning.trace import trace

Function = Callable[..., Tensor]
cat, pad = torch.cat, F.pad


@dataclass(frozen=True)
class Row:
    """sound: units that are balanced and not objected to; objected: the others."""

    model: nn.Module
    size: tuple[int, ...]
    sound: str = ""
    objected: str = ""


def net(function: Function, size: tuple[int, ...], sound: str = "", objected: str = "", **layers: object) -> Row:
    return Row(Net(function, **layers), size, sound, objected)


@functools.cache  # several tests look at each
def traced(row: Row) -> Network:
    source = torch.Generator().manual_seed(0)
    return trace(row.model.double(), torch.randn(2, *row.size, generator=source, dtype=torch.float64))


def takes_layers(op: Function) -> bool:
    code = getattr(op, "__code__", None)
    return code is not None and code.co_varnames[:2] == ("m", "x")


def line(op: Function, sound: str = "", objected: str = "", width: int = 6, **more: object) -> Row:
    """A linear layer to six units, the operator, and a linear layer from `width`."""
    with_layers = takes_layers(op)
    layers = {"a": nn.Linear(5, 6), "b": nn.Linear(width, 3), **more}
    return net(lambda m, x: m.b(op(m, m.a(x)) if with_layers else op(m.a(x))), (5,), sound, objected, **layers)


def tokens(op: Function, sound: str = "", objected: str = "", width: int = 6, **more: object) -> Row:
    """The same for each of four tokens."""
    return Row(line(op, sound, objected, width, **more).model, (4, 5), sound, objected)


def image(op: Function, sound: str = "", objected: str = "", channels: int = 4, **more: object) -> Row:
    """A convolution to four channels of 6 x 6, the operator, and a convolution."""
    with_layers = takes_layers(op)
    layers = {"a": nn.Conv2d(2, 4, 3, padding=1), "b": nn.Conv2d(channels, 3, 1), **more}
    function = lambda m, x: m.b(op(m, m.a(x)) if with_layers else op(m.a(x))).flatten(1)  # noqa: E731
    return net(function, (2, 6, 6), sound, objected, **layers)


def number(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape))


def as_channels(x: Tensor) -> Tensor:
    """Every entry a channel of its own."""
    return x.flatten(1)[..., None, None]


MOVES = {
    "view": image(lambda x: x.view(-1, 4, 36).view(-1, 4, 6, 6), "a 4"),
    "view into features": image(as_channels, "a 4", channels=144),
    "permuted twice": image(lambda x: x.permute(0, 2, 3, 1).transpose(1, 3), "a 4"),
    "rows as channels": image(lambda x: x.transpose(1, 2), "a 1", channels=6),
    "batch and tokens as one": tokens(lambda x: x.reshape(-1, 6).relu().reshape(-1, 4, 6), "a 6"),
    "tokens first": tokens(lambda m, x: m.c(x.transpose(0, 1)).transpose(0, 1), "a 6, c 6", c=nn.Linear(6, 6)),
    "tokens mixed": tokens(lambda m, x: m.c(x.transpose(1, 2)).transpose(1, 2).relu(), "a 1, c 1", c=nn.Linear(4, 5)),
    "chunk": line(lambda x: cat(x.chunk(2, 1)[::-1], 1), "a 6"),
    "chunks summed": line(lambda x: sum(x.chunk(2, 1)), "a 3", width=3),
    "split": line(lambda x: cat([x.split([1, 5], 1)[1], x.split([1, 5], 1)[0]], 1), "a 6"),
    "unbind": tokens(lambda x: torch.stack(x.unbind(1)[:2], 1), "a 6"),
    "stack": line(lambda x: torch.stack([x, -x], 1).flatten(1), "a 6", width=12),
    "flip and roll": line(lambda x: x.flip(1).roll(1, 1), "a 6"),
    "slice with a step": line(lambda x: x[:, 1::2], "a 6", width=3),
    "select": tokens(lambda x: x[:, 2], "a 6"),
    "repeat": line(lambda x: x.repeat(1, 2), "a 6", width=12),
    "repeat each": line(lambda x: x.repeat_interleave(2, 1), "a 6", width=12),
    "expand": line(lambda x: x.unsqueeze(1).expand(-1, 3, -1).flatten(1), "a 6", width=18),
    "unfold": line(lambda x: x.unfold(1, 3, 1).flatten(1), "a 6", width=12),
    "unflatten": line(lambda x: x.unflatten(1, (2, 3)).transpose(1, 2).flatten(1), "a 6"),
    "zero padding": image(lambda x: pad(x, (1, 2, 0, 1)), "a 4"),
    "channels of zeros": image(lambda x: pad(x, (0, 0, 0, 0, 1, 2)), "a 4", channels=7),
    "zeros summed": line(lambda x: pad(x, (0, 2)) + pad(x, (2, 0)), "a 2", width=8),
    "zeros in a product": line(
        lambda m, x: pad(x, (0, 2)) * pad(m.c(x), (2, 0)), "a 6, c 6", width=8, c=nn.Linear(6, 6)
    ),
    "cropping": image(lambda x: pad(x, (-1, -1, 0, 2)), "a 4"),
    "reflection": image(lambda x: pad(x, (1, 1, 2, 2), mode="reflect"), "a 4"),
    "replication": image(lambda x: pad(x, (1, 1, 2, 2), mode="replicate"), "a 4"),
    "circular padding": image(lambda x: pad(x, (1, 1, 2, 2), mode="circular"), "a 4"),
    "padding by ones": image(lambda x: pad(x, (1, 1, 1, 1), value=1.0), "", "a 4, pad 4"),
    "pixel shuffle": image(lambda x: F.pixel_shuffle(x, 2), "a 1", channels=1),
    "pixel unshuffle": image(lambda x: F.pixel_unshuffle(x, 2), "a 4", channels=16),
    "channel shuffle": image(lambda x: F.channel_shuffle(x, 2), "a 4"),
    "token for the class": tokens(
        lambda m, x: cat([m.token.expand(x.shape[0], -1, -1), x], 1), "a 6", token=number(1, 1, 6)
    ),
}
WITHIN = {
    "relu": image(F.relu, "a 4"),
    "leaky relu": image(lambda x: F.leaky_relu(x, -0.3), "a 4"),
    "abs": image(torch.abs, "a 4"),
    "prelu": image(lambda m, x: F.prelu(x, m.slope), "a 4", slope=number(4)),
    "threshold at 0.4": image(lambda x: F.threshold(x, 0.4, 0.0), "a 4"),
    "threshold to 1": image(lambda x: F.threshold(x, 0.4, 1.0), "", "a 4"),
    "hardshrink": image(F.hardshrink, "a 4"),
    "softshrink": image(F.softshrink, "", "a 4"),
    "clamp from below": image(lambda x: x.clamp(min=0), "a 4"),
    "relu6": image(F.relu6, "", "a 4"),
    "dropout": image(lambda x: F.alpha_dropout(F.dropout(F.dropout2d(x, training=False), training=False)), "a 4"),
    "tanh": image(torch.tanh, "", "a 4"),
    "silu": image(F.silu, "", "a 4"),
    "softmax": line(lambda x: x.softmax(1), "", "a 6"),
    "cosine of padding": image(lambda x: as_channels(pad(x, (1, 1, 1, 1)).cos()), "", "a 4, cos 1", channels=256),
    "nearest": image(lambda x: F.interpolate(x, scale_factor=2), "a 4"),
    "nearest, exact": image(lambda x: F.interpolate(x, scale_factor=1.5, mode="nearest-exact"), "a 4"),
    "bilinear": image(lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), "a 4"),
    "bicubic": image(lambda x: F.interpolate(x, scale_factor=1.5, mode="bicubic", align_corners=True), "a 4"),
    "linear interpolation": image(
        lambda x: F.interpolate(x.flatten(2), scale_factor=0.25, mode="linear").unflatten(2, (3, 3)), "a 4"
    ),
    "max pool": image(lambda x: F.max_pool2d(x, 3, 2, 1), "a 4"),
    "max pool and places": image(lambda x: F.max_pool2d(x, 3, 2, 1, return_indices=True)[0], "a 4"),
    "dilated max pool": image(lambda x: F.max_pool2d(x, 2, 1, 0, 2, ceil_mode=True), "a 4"),
    "average pool": image(lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False), "a 4"),
    "pools of a line": image(lambda x: F.avg_pool1d(F.max_pool1d(x.flatten(2), 3, 2), 2)[..., None], "a 4"),
    "pools of a volume": net(
        lambda m, x: m.b(F.avg_pool3d(F.max_pool3d(m.a(x), 2, 1), 2)).flatten(1),
        (1, 4, 4, 4),
        "a 3",
        a=nn.Conv3d(1, 3, 2, padding=1),
        b=nn.Conv3d(3, 2, 1),
    ),
    "adaptive average pool": image(lambda x: F.adaptive_avg_pool2d(x, 4), "a 4"),
    "adaptive max pool": image(lambda x: F.adaptive_max_pool2d(x, 4), "a 4"),
    "norm pool": image(lambda x: F.lp_pool2d(x, 2, 2), "a 4"),
}
ALONG = {
    "mean of positions": image(lambda x: x.mean((2, 3), keepdim=True), "a 4"),
    "mean of tokens": tokens(lambda x: x.mean(1), "a 6"),
    "mean of samples": line(lambda x: x - x.mean(0), "a 6"),
    "sum of channels": image(lambda x: x.sum(1, keepdim=True), "a 1", channels=1),
    "largest of channels": image(lambda x: x.amax(1, keepdim=True), "a 1", channels=1),
    "mean of channels, dropped": image(lambda x: x.mean(dim=1).unsqueeze(1), "a 1", channels=1),
    "mean of everything": line(lambda x: x.mean().expand(2, 6), "a 1"),
    "sort": tokens(lambda x: x.sort(1)[0], "a 6"),
    "stable sort": tokens(lambda x: torch.sort(x, dim=1, stable=True)[0], "a 6"),
    "group sort": line(lambda x: x.unflatten(1, (3, 2)).sort(2)[0].flatten(1), "a 3"),
    "topk": tokens(lambda x: x.topk(2, 1)[0].mean(1), "a 6"),
    "median": tokens(lambda x: x.median(1)[0], "a 6"),
    "kth value": tokens(lambda x: x.kthvalue(2, 1)[0], "a 6"),
    "maxout": line(lambda x: x.unflatten(1, (3, 2)).max(2)[0], "a 3", width=3),
    "least, kept": line(lambda x: x.unflatten(1, (3, 2)).min(2, keepdim=True)[0].flatten(1), "a 3", width=3),
    "concatenated relu": line(lambda x: cat([x, -x], 1).relu(), "a 6", width=12),
    "places added": line(lambda x: x.sort(1)[0] + x.sort(1)[1].double(), "", "a 1"),
    "places beside": line(lambda x: cat([x, x.max(1, keepdim=True)[1].double()], 1), "a 1", "to 1", width=7),
    "norm over channels": image(lambda x: x / x.norm(dim=1, keepdim=True), "", "a 4"),
}
SUMS = {
    "residual sum": line(lambda m, x: x + m.c(x.relu()), "a + c 6", c=nn.Linear(6, 6)),
    "difference": line(lambda m, x: m.c(x.relu()) - x, "a + c 6", c=nn.Linear(6, 6)),
    "weighted difference": line(lambda m, x: torch.sub(m.c(x), x, alpha=2.0), "a + c 6", c=nn.Linear(6, 6)),
    "broadcast over tokens": tokens(lambda m, x: x + m.c(x.mean(1, keepdim=True)), "a + c 6", c=nn.Linear(6, 6)),
    "one for all channels": image(lambda x: x + x[:, :1], "a 1"),
    "dense skips": line(lambda m, x: cat([x, m.c(x.relu())], 1), "a 6, c 4", width=10, c=nn.Linear(6, 4)),
    "shift": line(lambda m, x: x + m.c, "a 6", c=number(6)),
    "shift minus": line(lambda m, x: m.c - x, "a 6", c=number(6)),
    "shift of more axes": line(lambda m, x: (x[:, None] + m.c).mean(1), "a 6", c=number(1, 4, 6)),
    "shift for all": line(lambda m, x: x + m.c, "a 1", c=number(1)),
    "shift of pairs": line(lambda m, x: (x.unflatten(1, (3, 2)) + m.c).flatten(1), "a 3", c=number(3, 1)),
    "shift used twice": line(lambda m, x: m.d(x + m.c).relu() + m.c, "", "a 6, d 6", c=number(6), d=nn.Linear(6, 6)),
    "shift of padding": image(
        lambda m, x: as_channels(pad(x, (1, 1, 1, 1)) + m.c), "a 4", channels=256, c=number(4, 1, 1)
    ),
    "shift of nothing else": line(lambda m, x: pad(x, (0, 2)) + m.c, "a 6, add 2", width=8, c=number(8)),
    "positions": tokens(lambda m, x: x + m.c, "a 6", c=number(4, 6)),
    "a number": line(lambda x: x + 1.0, "", "a 6"),
    "nothing": line(lambda x: x + 0.0, "a 6"),
    "identity path": net(lambda m, x: x + m.b(m.a(x).relu()), (5,), "a 6", a=nn.Linear(5, 6), b=nn.Linear(6, 5)),
    "input beside": net(
        lambda m, x: m.b(cat([x, m.a(x).relu()], 1)), (5,), "a 6", a=nn.Linear(5, 6), b=nn.Linear(11, 3)
    ),
    "larger of two": line(lambda m, x: torch.maximum(x, m.c(x)), "a + c 6", c=nn.Linear(6, 6)),
    "chosen by sign": line(lambda m, x: torch.where(x > 0, x, m.c(x)), "a + c 6", c=nn.Linear(6, 6)),
    "masked by sign": line(lambda x: x * (x > 0), "a 6"),
    "masked by a constant": tokens(lambda x: x.masked_fill(torch.eye(4, 6) > 0, 0.0), "a 6"),
}


def gated(gate: Function) -> Function:
    return lambda m, x: gate(m.gate(x)) * m.up(x)


def squeezed(gate: Function) -> Function:
    """Squeeze and excitation: each channel times a number made of all."""
    return lambda m, x: x * gate(m.d(m.c(x.mean((2, 3), keepdim=True)).relu()))


def joined_beside(m: Net, x: Tensor) -> Tensor:
    other = m.c(x)
    return cat([x * other, x + other], 1)


GATES = {"gate": nn.Linear(6, 4), "up": nn.Linear(6, 4), "width": 4}
SQUEEZE = {"c": nn.Conv2d(4, 2, 1), "d": nn.Conv2d(2, 4, 1)}
PRODUCTS = {
    "scaled by numbers": line(lambda x: x * 3 / 2, "a 6"),
    "scaled by a parameter": line(lambda m, x: m.c * x, "a 6", c=number(1)),
    "scaled per channel": line(lambda m, x: x * m.c / m.d, "a 6", c=number(6), d=number(6)),
    "scaled to more channels": image(lambda m, x: x.sum(1, keepdim=True) * m.c, "a 1", c=number(4, 1, 1)),
    "scale used twice": line(lambda m, x: x * m.c * m.c, "a 6", c=number(6)),
    "a parameter over it": line(lambda m, x: m.c / x, "", "a 6", c=number(6)),
    "rounded division": line(lambda x: torch.div(x, 2.0, rounding_mode="floor"), "", "a 6"),
    "bilinear": line(gated(lambda x: x), "a 6, gate 4, up 4", **GATES),
    "gate of relu": line(gated(F.relu), "a 6, gate 4, up 4", **GATES),
    "gate of silu": line(gated(F.silu), "a 6, up 4", "gate 4", **GATES),
    "gate in one layer": line(lambda x: x.chunk(2, 1)[0] * x.chunk(2, 1)[1].sigmoid(), "a 3", "a 3", width=3),
    "glu": line(lambda x: F.glu(x, 1), "", "a 6, glu 3", width=3),
    "over another": line(lambda m, x: x / m.c(x).abs(), "a 6, c 6", c=nn.Linear(6, 6)),
    "squeeze and excitation": image(squeezed(torch.sigmoid), "a 4, c 2", "d 4", **SQUEEZE),
    "squeeze and excitation by abs": image(squeezed(torch.abs), "a 4, c 2, d 4", **SQUEEZE),
    "one gate for all": line(lambda m, x: x * m.c(x), "a 6, c 1", c=nn.Linear(6, 1)),
    "squared": line(lambda x: x.square(), "a 6"),
    "squared relu": line(lambda x: x.relu() ** 2, "a 6"),
    "times itself": line(lambda x: x * x, "a 6"),
    "cubed, then summed": line(lambda x: (x**3).unflatten(1, (3, 2)).sum(2), "", "a 6", width=3),
    "root": line(lambda x: x.abs().sqrt(), "a 6"),
    "reciprocal root": line(lambda x: x.abs().rsqrt() + x.reciprocal(), "", "a 6"),
    "two powers": line(lambda x: cat([x.relu() ** 2, x.abs().sqrt().square()], 1), "a 6", width=12),
    "product of products": line(
        lambda m, x: m.c(x) * (m.d(x) * x), "a 6, c 6, d 6", c=nn.Linear(6, 6), d=nn.Linear(6, 6)
    ),
    "number to a power": line(lambda x: 2.0**x, "", "a 6"),
    "power of a parameter": line(lambda m, x: x.abs() ** m.c, "", "a 6", c=number(6)),
    "product in a residual sum": line(lambda m, x: x + x * m.c(x), "", "c 6", c=nn.Linear(6, 6)),
    "product beside": line(lambda m, x: cat([x, x * m.c(x)], 1), "a 6, c 6", width=12, c=nn.Linear(6, 6)),
    "products summed": line(
        lambda m, x: x * m.c(x) + x * m.d(x), "", "a 6, c 6, d 6", c=nn.Linear(6, 6), d=nn.Linear(6, 6)
    ),
    "product and shift": line(lambda m, x: x * m.c(x) + m.d, "", "a 6, c 6", c=nn.Linear(6, 6), d=number(6)),
    "product and input": net(
        lambda m, x: m.b(x + m.a(x) * m.c(x)),
        (5,),
        "",
        "a 5, c 5",
        a=nn.Linear(5, 5),
        b=nn.Linear(5, 2),
        c=nn.Linear(5, 5),
    ),
    "product as output": net(
        lambda m, x: m.a(x) * m.b(x).relu(), (5,), "", "a 3, b 3", a=nn.Linear(5, 3), b=nn.Linear(5, 3)
    ),
    "factors joined beside": line(joined_beside, "a + c 6", width=12, c=nn.Linear(6, 6)),
    "products joined later": line(
        lambda m, x: (x * m.c(x)).sum(1, keepdim=True), "", "a 6, c 6", width=1, c=nn.Linear(6, 6)
    ),
}
WEIGHTS = {
    "linear on tokens": tokens(lambda x: x, "a 6"),
    "first axis in": line(lambda m, x: torch.addmm(m.d, x, m.c), "a 6, addmm 7", c=number(6, 7), d=number(7), width=7),
    "matrix product": line(lambda m, x: x @ m.c, "a 6, matmul 7", c=number(6, 7), width=7),
    "experts": tokens(lambda m, x: (x.unsqueeze(2) @ m.c).squeeze(2), "", "a 6", c=number(4, 6, 6)),
    "computed bias": line(
        lambda m, x: torch.addmm(m.c(x), x, m.d), "a 6, c + addmm 6", c=nn.Linear(6, 6), d=number(6, 6)
    ),
    "one bias for all": line(lambda m, x: F.linear(x, m.c) + m.d, "a 6, linear_1 1", c=number(6, 6), d=number(1)),
    "groups": image(lambda m, x: m.c(x), "a 4, c 6", channels=6, c=nn.Conv2d(4, 6, 3, groups=2)),
    "depthwise": image(lambda m, x: m.c(x), "a 4, c 8", channels=8, c=nn.Conv2d(4, 8, 3, groups=4, bias=False)),
    "stride and dilation": image(lambda m, x: m.c(x), "a 4, c 4", c=nn.Conv2d(4, 4, 2, stride=2, dilation=2)),
    "same padding": image(lambda m, x: m.c(x), "a 4, c 4", c=nn.Conv2d(4, 4, 3, padding="same")),
    "reflecting": image(lambda m, x: m.c(x), "a 4, c 4", c=nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")),
    "circular": image(lambda m, x: m.c(x), "a 4, c 4", c=nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")),
    "one-dimensional": image(lambda m, x: m.c(x.flatten(2))[..., None], "a 4, c 4", c=nn.Conv1d(4, 4, 3)),
    "transposed": image(lambda m, x: m.c(x), "a 4, c 6", channels=6, c=nn.ConvTranspose2d(4, 6, 3, 2, 1, 1)),
    "transposed, groups": image(
        lambda m, x: m.c(x), "a 4, c 6", channels=6, c=nn.ConvTranspose2d(4, 6, 2, 2, groups=2, dilation=2)
    ),
    "tied": line(lambda m, x: m.c(m.c(x).relu()), "", "a 6, c 12", c=nn.Linear(6, 6)),
    "tied both ways": net(
        lambda m, x: F.linear(m.b(m.a(x).relu()), m.a.weight.T),
        (5,),
        "",
        "a 6, b 6",
        a=nn.Linear(5, 6),
        b=nn.Linear(6, 6),
    ),
    "weight made of another": line(
        lambda m, x: F.linear(x, m.c.weight.tanh()), "", "a 6, linear_1 6", c=nn.Linear(6, 6)
    ),
}


def by_batch(m: Net, x: Tensor) -> Tensor:
    return F.batch_norm(x, None, None, m.c, m.d, training=True)


NORMS = {
    "batch norm": image(lambda m, x: m.c(x), "a 4", c=nn.BatchNorm2d(4)),
    "layer norm": tokens(lambda m, x: m.c(x), "c 6", "a 6", c=nn.LayerNorm(6)),
    "layer norm of images": image(lambda m, x: m.c(x), "c 4", "a 4", c=nn.LayerNorm((4, 6, 6))),
    "layer norm without shift": tokens(lambda m, x: m.c(x), "c 6", "a 6", c=nn.LayerNorm(6, bias=False)),
    "layer norm without gain": tokens(lambda m, x: m.c(x), "", "a 6, c 6", c=nn.LayerNorm(6, elementwise_affine=False)),
    "group norm": image(lambda m, x: m.c(x), "c 4", "a 4", c=nn.GroupNorm(2, 4)),
    "instance norm": image(lambda m, x: m.c(x), "c 4", "a 4", c=nn.InstanceNorm2d(4, affine=True)),
    "root mean square norm": tokens(lambda m, x: m.c(x), "c 6", "a 6", c=nn.RMSNorm(6)),
    "by hand": tokens(
        lambda m, x: x * (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt() * m.c, "", "a 6", c=number(6)
    ),
    "norm and skip": tokens(lambda m, x: x + m.d(m.c(x)), "c 6", "a + d 6", c=nn.LayerNorm(6), d=nn.Linear(6, 6)),
    "tied norm": tokens(lambda m, x: m.c(m.d(m.c(x))), "", "a 6, c 12, d 6", c=nn.LayerNorm(6), d=nn.Linear(6, 6)),
}


def heads(x: Tensor, count: int) -> Tensor:
    return x.unflatten(2, (count, -1)).transpose(1, 2)


def attention(groups: int = 2, **options: object) -> Function:
    def run(m: Net, x: Tensor) -> Tensor:
        q, k, v = heads(m.q(x), 2), heads(m.k(x), groups), heads(m.v(x), groups)
        return F.scaled_dot_product_attention(q, k, v, **options).transpose(1, 2).flatten(2)

    return run


def eager(m: Net, x: Tensor) -> Tensor:
    q, k, v = (heads(layer(x), 2) for layer in (m.q, m.k, m.v))
    return ((q @ k.transpose(-2, -1) / 2).softmax(-1) @ v).transpose(1, 2).flatten(2)


def without_heads(m: Net, x: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(m.q(x[:, :2]), m.k(x), m.v(x))


def biased(m: Net, x: Tensor) -> Tensor:
    bias = m.c(x).transpose(1, 2).unsqueeze(2).expand(-1, 2, 4, 4)
    q, k, v = (heads(layer(x), 2) for layer in (m.q, m.k, m.v))
    return F.scaled_dot_product_attention(q, k, v, bias).transpose(1, 2).flatten(2)


QKV = {"q": nn.Linear(6, 8), "k": nn.Linear(6, 8), "v": nn.Linear(6, 8), "width": 8}
GROUPED = QKV | {"k": nn.Linear(6, 4), "v": nn.Linear(6, 4)}
ATTENTION = {
    "attention": tokens(attention(), "a 6, v 8", "q 8, k 8", **QKV),
    "attention, causal": tokens(attention(is_causal=True), "a 6, v 8", "q 8, k 8", **QKV),
    "grouped queries": tokens(attention(1, enable_gqa=True), "a 6, v 4", "q 8, k 4", **GROUPED),
    "attention without heads": tokens(without_heads, "a 6, v 8", "q 8, k 8", **QKV),
    "attention by hand": tokens(eager, "a 6, v 8", "q 8, k 2", **QKV),
    "bias from the tokens": tokens(biased, "a 6, v 8", "c 1, q 8, k 8", c=nn.Linear(6, 1), **QKV),
    "module for attention": tokens(
        lambda m, x: m.c(x, x, x, need_weights=False)[0],
        "a 6, c 12",
        "c 12",
        c=nn.MultiheadAttention(6, 2, batch_first=True),
    ),
    "module, tokens first": tokens(
        lambda m, x: m.c(*[x.transpose(0, 1)] * 3)[0].transpose(0, 1), "a 6, c 12", "c 7", c=nn.MultiheadAttention(6, 2)
    ),
    "embedding": net(
        lambda m, x: m.b(m.table((x.abs() * 3).long() % 7) + m.c),
        (4,),
        "table + add 5",
        table=nn.Embedding(7, 5),
        c=number(4, 5),
        b=nn.Linear(5, 3),
    ),
}
TABLE = {**MOVES, **WITHIN, **ALONG, **SUMS, **PRODUCTS, **WEIGHTS, **NORMS, **ATTENTION}
# What theory could tell more of than the rules do: units that a better rule would find sound.
CAUTIOUS: dict[str, Row] = {
    "unpool": image(lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2), "", "a 4, max_unpool2d 4"),
}
