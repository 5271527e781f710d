"""Every rule of placing is held to plain autograd: the units it calls sound are, and it objects to no more than it must."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from balances import Balance, Net, balance, random_like, told
from torch import Tensor, nn
from torch.nn import functional as F

from pruning.graph import Graph
from pruning.network import Network
from pruning.trace import trace

SEEDS = range(3)
Function = Callable[..., Tensor]


@dataclass(frozen=True)
class Row:
    """A network, and its hidden units by the layers that feed them.

    sound: balanced, and not objected to; broken: objected to, and the balance is indeed off; cautious: objected
    to although it balances.
    """

    model: nn.Module
    size: tuple[int, ...]
    sound: str = ""
    broken: str = ""
    cautious: str = ""


def image(op: Function, sound: str = "", broken: str = "", cautious: str = "", channels: int = 4, side: int = 6) -> Row:
    """A convolution to four channels, the operator, and a convolution."""
    layers = {"a": nn.Conv2d(2, 4, 3, padding=1), "b": nn.Conv2d(channels, 3, (1, 1))}
    model = Net(lambda m, x: m.b(op(m.a(x))).flatten(1), **layers)
    return Row(model, (2, side, side), sound, broken, cautious)


def line(op: Function, sound: str = "", broken: str = "", cautious: str = "", width: int = 6, **more: object) -> Row:
    """A linear layer to six units, the operator, and a linear layer from `width`."""
    layers = {"a": nn.Linear(5, 6), "b": nn.Linear(width, 3), **more}
    takes = op.__code__.co_argcount
    model = Net(lambda m, x: m.b(op(m, m.a(x)) if takes == 2 else op(m.a(x))), **layers)
    return Row(model, (5,), sound, broken, cautious)


def tokens(op: Function, sound: str = "", broken: str = "", cautious: str = "", width: int = 6, **more: object) -> Row:
    """The same for each of four tokens."""
    row = line(op, sound, broken, cautious, width, **more)
    return Row(row.model, (4, 5), sound, broken, cautious)


def net(function: Function, size: tuple[int, ...], sound="", broken="", cautious="", **layers: object) -> Row:
    return Row(Net(function, **layers), size, sound, broken, cautious)


def number(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape))


def linear(a: int, b: int) -> nn.Linear:
    return nn.Linear(a, b)


def channel_shuffle(x: Tensor) -> Tensor:
    return F.channel_shuffle(x, 2)


MOVES = {
    "view": image(lambda x: x.view(-1, 4, 36).view(-1, 4, 6, 6), "a 4"),
    "view into features": image(lambda x: x.reshape(x.shape[0], -1, 1, 1), "a 4", channels=144),
    "permuted twice": image(lambda x: x.permute(0, 2, 3, 1).transpose(1, 3), "a 4"),
    "rows as channels": image(lambda x: x.transpose(1, 2), "a 1", channels=6),
    "chunk": line(lambda x: torch.cat(x.chunk(2, 1)[::-1], 1), "a 6"),
    "chunks summed": line(lambda x: sum(x.chunk(2, 1)), "a 3", width=3),
    "split": line(lambda x: torch.cat([x.split([1, 5], 1)[1], x.split([1, 5], 1)[0]], 1), "a 6"),
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
    "zero padding": image(lambda x: F.pad(x, (1, 2, 0, 1)), "a 4"),
    "channels of zeros": image(lambda x: F.pad(x, (0, 0, 0, 0, 1, 2)), "a 4 ", channels=7),
    "cropping": image(lambda x: F.pad(x, (-1, -1, 0, 2)), "a 4"),
    "reflection": image(lambda x: F.pad(x, (1, 1, 2, 2), mode="reflect"), "a 4"),
    "replication": image(lambda x: F.pad(x, (1, 1, 2, 2), mode="replicate"), "a 4"),
    "circular padding": image(lambda x: F.pad(x, (1, 1, 2, 2), mode="circular"), "a 4"),
    "padding by ones": image(lambda x: F.pad(x, (1, 1, 1, 1), value=1.0), "", "a 4"),
    "pixel shuffle": image(lambda x: F.pixel_shuffle(x, 2), "a 1", channels=1),
    "pixel unshuffle": image(lambda x: F.pixel_unshuffle(x, 2), "a 4", channels=16),
    "channel shuffle": image(channel_shuffle, "a 4"),
    "token for the class": tokens(
        lambda m, x: torch.cat([m.token.expand(x.shape[0], -1, -1), x], 1), "a 6", token=number(1, 1, 6)
    ),
}
WITHIN = {
    "relu": image(F.relu, "a 4"),
    "leaky relu": image(lambda x: F.leaky_relu(x, -0.3), "a 4"),
    "abs": image(torch.abs, "a 4"),
    "prelu": tokens(lambda m, x: F.prelu(x.transpose(1, 2), m.slope).transpose(1, 2), "a 6", slope=number(6)),
    "threshold at 0": image(lambda x: F.threshold(x, 0.4, 0.0), "a 4"),
    "threshold to 1": image(lambda x: F.threshold(x, 0.4, 1.0), "", "a 4"),
    "hardshrink": image(F.hardshrink, "a 4"),
    "softshrink": image(F.softshrink, "", "a 4"),
    "clamp from below": image(lambda x: x.clamp(min=0), "a 4"),
    "relu6": image(F.relu6, "", "a 4"),
    "dropout": image(nn.Dropout2d(), "a 4"),
    "tanh": image(torch.tanh, "", "a 4"),
    "silu": image(F.silu, "", "a 4"),
    "softmax": line(lambda x: x.softmax(1), "", "a 6"),
    "tanh of padding": image(lambda x: (F.pad(x, (1, 1, 1, 1)) + 1).flatten(1)[..., None, None], "", "a 4", channels=256),
    "nearest": image(lambda x: F.interpolate(x, scale_factor=2), "a 4"),
    "nearest, exact": image(lambda x: F.interpolate(x, size=(4, 9), mode="nearest-exact"), "a 4"),
    "bilinear": image(lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), "a 4"),
    "bicubic": image(lambda x: F.interpolate(x, size=(9, 8), mode="bicubic", align_corners=True), "a 4"),
    "linear interpolation": image(
        lambda x: F.interpolate(x.flatten(2), size=9, mode="linear").unflatten(2, (3, 3)), "a 4"
    ),
    "max pool": image(lambda x: F.max_pool2d(x, 3, 2, 1), "a 4"),
    "max pool and places": image(lambda x: F.max_pool2d(x, 3, 2, 1, return_indices=True)[0], "a 4"),
    "dilated max pool": image(lambda x: F.max_pool2d(x, 2, 1, 0, 2, ceil_mode=True), "a 4"),
    "average pool": image(lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False), "a 4"),
    "pools of a line": image(
        lambda x: F.avg_pool1d(F.max_pool1d(x.flatten(2), 3, 2), 2).unflatten(2, (2, 4)), "a 4"
    ),
    "pools of a volume": net(
        lambda m, x: m.b(F.avg_pool3d(F.max_pool3d(m.a(x), 2, 1), 2)).flatten(1),
        (1, 4, 4, 4), "a 3", a=nn.Conv3d(1, 3, 2, padding=1), b=nn.Conv3d(3, 2, 1),
    ),
    "adaptive average pool": image(lambda x: F.adaptive_avg_pool2d(x, 4), "a 4"),
    "adaptive max pool": image(lambda x: F.adaptive_max_pool2d(x, 4), "a 4"),
    "norm pool": image(lambda x: F.lp_pool2d(x, 2, 2), "a 4"),
    "unpool": image(lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2), "", "", "a 4"),
}
ALONG = {
    "mean of positions": image(lambda x: x.mean((2, 3), keepdim=True), "a 4"),
    "mean of tokens": tokens(lambda x: x.mean(1), "a 6"),
    "sum of channels": image(lambda x: x.sum(1, keepdim=True), "a 1", channels=1),
    "largest of channels": image(lambda x: x.amax(1, keepdim=True), "a 1", channels=1),
    "mean of channels, dropped": image(lambda x: x.mean(dim=1).unsqueeze(1), "a 1", channels=1),
    "mean of everything": line(lambda x: x.mean().expand(2, 6), "", "", "a 6"),
    "sort": tokens(lambda x: x.sort(1)[0], "a 6"),
    "stable sort": tokens(lambda x: torch.sort(x, dim=1, stable=True)[0], "a 6"),
    "group sort": line(lambda x: x.unflatten(1, (3, 2)).sort(2)[0].flatten(1), "a 3"),
    "topk": tokens(lambda x: x.topk(2, 1)[0].mean(1), "a 6"),
    "median": tokens(lambda x: x.median(1)[0], "a 6"),
    "kth value": tokens(lambda x: x.kthvalue(2, 1)[0], "a 6"),
    "maxout": line(lambda x: x.unflatten(1, (3, 2)).max(2)[0], "a 3", width=3),
    "least, kept": line(lambda x: x.unflatten(1, (3, 2)).min(2, keepdim=True)[0].flatten(1), "a 3", width=3),
    "concatenated relu": line(lambda x: torch.cat([x, -x], 1).relu(), "a 6", width=12),
    "places used": line(lambda x: x.sort(1)[0] + x.sort(1)[1].double(), "", "a 1"),
    "places alone": line(lambda x: torch.cat([x, x.max(1, keepdim=True)[1].double()], 1), "a 6", width=7),
    "norm over channels": image(lambda x: x / x.norm(dim=1, keepdim=True), "", "", "a 4"),
}
SUMS = {
    "residual sum": line(lambda m, x: x + m.c(x.relu()), "a + c 6", c=linear(6, 6)),
    "difference": line(lambda m, x: m.c(x.relu()) - x, "a + c 6", c=linear(6, 6)),
    "weighted difference": line(lambda m, x: torch.sub(m.c(x.relu()), x, alpha=2.0), "", "", "a 6, c 6", c=linear(6, 6)),
    "broadcast over tokens": tokens(lambda m, x: x + m.c(x.mean(1, keepdim=True)), "a + c 6", c=linear(6, 6)),
    "one for all channels": image(lambda x: x + x[:, :1], "a 1"),
    "dense skips": line(lambda m, x: torch.cat([x, m.c(x.relu())], 1), "a 6, c 4", width=10, c=linear(6, 4)),
    "shift": line(lambda m, x: x + m.c, "a 6", c=number(6)),
    "shift minus": line(lambda m, x: m.c - x, "a 6", c=number(6)),
    "shift for all": line(lambda m, x: x + m.c, "a 1", c=number(1)),
    "shift of pairs": line(lambda m, x: (x.unflatten(1, (3, 2)) + m.c).flatten(1), "a 3", c=number(3, 1)),
    "shift used twice": line(lambda m, x: m.d(x + m.c).relu() + m.c, "", "a 6, d 6", c=number(6), d=linear(6, 6)),
    "shift of padding": image(
        lambda m, x: (F.pad(x, (1, 1, 1, 1)) + m.c).flatten(1)[..., None, None], "a 4", channels=256
    ),
    "shift of wholly padded channels": line(lambda m, x: F.pad(x, (0, 2)) + m.c, "a 6, b.c 2", width=8, c=number(8)),
    "positions": tokens(lambda m, x: x + m.c, "a 6", c=number(4, 6)),
    "a number": line(lambda x: x + 1.0, "", "a 6"),
    "nothing": line(lambda x: x + 0.0, "a 6"),
    "identity path": net(lambda m, x: x + m.b(m.a(x).relu()), (5,), "a 6", a=linear(5, 6), b=linear(6, 5)),
    "input beside": net(
        lambda m, x: m.b(torch.cat([x, m.a(x).relu()], 1)), (5,), "a 6", a=linear(5, 6), b=linear(11, 3)
    ),
    "larger of two": line(lambda m, x: torch.maximum(x, m.c(x)), "a + c 6", c=linear(6, 6)),
    "chosen by sign": line(lambda m, x: torch.where(x > 0, x, m.c(x)), "a + c 6", c=linear(6, 6)),
    "masked by hand": line(lambda x: x * (x > 0), "a 6"),
    "masked by a constant": line(lambda m, x: x.masked_fill(m.c, 0.0), "a 6", c=number(6)),
}
TABLE = {**MOVES, **WITHIN, **ALONG, **SUMS}


def traced(row: Row) -> Network:
    return trace(row.model.double(), torch.randn(2, *row.size, dtype=torch.float64))


def balances(network: Network) -> list[Balance]:
    found = []
    for seed in SEEDS:
        source = torch.Generator().manual_seed(seed)
        params = random_like({**network.fixed, **network.weights}, source)
        x = torch.randn(network.example.shape, generator=source, dtype=torch.float64)
        found.append(balance(network.graph, params, x, source))
    return found


def parted(graph: Graph, found: list[Balance]) -> tuple[str, str, str]:
    off = torch.stack([b.gap / b.rounding for b in found]).amax(0)
    parts: dict[str, list] = {"sound": [], "broken": [], "cautious": []}
    for j in graph.hidden:
        good = bool((off[j.span] <= 1).all())
        assert good or j.objections, f"unsound: {j.name}, off by {float(off[j.span].max()):.3g} roundings"
        parts["sound" if not j.objections else "cautious" if good else "broken"].append(j)
    return tuple(told(p) for p in parts.values())


@pytest.mark.parametrize("name", TABLE)
def test_the_units_it_calls_sound_are_and_no_others_are_lost(name):
    row = TABLE[name]
    network = traced(row)
    assert parted(network.graph, balances(network)) == (row.sound.strip(), row.broken, row.cautious)
