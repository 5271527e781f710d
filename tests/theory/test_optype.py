"""Operator types: what is claimed holds on numbers, and what is denied has a counterexample, operator by operator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pruning.graph import Graph, Value
from pruning.trace import trace
from theory.optype import OpType, types_of

Function = Callable[[Tensor], Tensor]
DRAWS = 300
# Between rounding (1e-14 of the values) and the counterexamples that random inputs give (1e-3 and up).
CUT = 1e-8


class Before(nn.Module):
    """A function and, so that there is something to prune, a linear layer behind it."""

    def __init__(self, function: Function, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.function = function
        self.head = nn.Linear(function(torch.ones(2, *shape).double()).flatten(1).shape[1], 1).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.function(x).flatten(1))


@dataclass(frozen=True)
class Measured:
    """The value that enters the last linear layer: its type, and how to compute it with weights >= 0."""

    type: OpType
    at: Function


def measured(function: Function, shape: tuple[int, ...]) -> Measured:
    model = Before(function, shape)
    network = trace(model, torch.ones(2, *shape).double())
    last = network.graph.nodes[-1].args[0]
    assert isinstance(last, Value)
    params = {**network.fixed, **{n: w.abs() for n, w in network.weights.items()}}

    def at(x: Tensor) -> Tensor:
        found: dict[str, Tensor] = {}
        network.graph.run(params, x, lambda name, value: found.setdefault(name, value))
        return found[last.name]

    return Measured(types_of(network.graph, params)[last.name], at)


def inputs(shape: tuple[int, ...], salt: int) -> Tensor:
    """Nonnegative inputs of several sizes, with zeros and ties among them: (DRAWS, *shape)."""
    source = torch.Generator().manual_seed(salt)
    x = torch.rand(DRAWS, *shape, generator=source, dtype=torch.float64) * 3
    x[::3] *= 4 * torch.rand(len(x[::3]), *[1] * len(shape), generator=source, dtype=torch.float64)
    x[1::3] = (x[1::3] * 2).round() / 2
    return x


def differs(left: Tensor, right: Tensor) -> bool:
    return bool(((left - right).abs() > CUT * (1 + left.abs() + right.abs())).any())


def exceeds(left: Tensor, right: Tensor) -> bool:
    return bool((left - right > CUT * (1 + left.abs() + right.abs())).any())


def is_homogeneous(at: Function, shape: tuple[int, ...], degree: float) -> bool:
    x = inputs(shape, 0) + 1e-3  # not at 0, where negative powers have no value
    return not any(differs(at(a * x), a**degree * at(x)) for a in (0.25, 3.0, 50.0))


def is_monotone(at: Function, shape: tuple[int, ...]) -> bool:
    x, more = inputs(shape, 1), inputs(shape, 2)
    alone = more * (torch.rand(more.shape, generator=torch.Generator().manual_seed(3)) < 0.2)
    return not any(exceeds(at(x), at(x + step)) for step in (more, alone, alone / 20))


def is_convex(at: Function, shape: tuple[int, ...]) -> bool:
    x, far = inputs(shape, 4), inputs(shape, 5)
    near = x + (far - x) / 10
    return not any(exceeds(at((x + y) / 2), (at(x) + at(y)) / 2) for y in (far, near))


def plus(x: Tensor) -> Tensor:
    """Of either sign, and monotone: x - 1."""
    return x - 1


def minus(x: Tensor) -> Tensor:
    """Of either sign, and of degree 1: differences of neighbours."""
    return x - x.roll(1, -1)


def centred(x: Tensor) -> Tensor:
    return x - x.mean(1, keepdim=True)


def scaled(x: Tensor, eps: float) -> Tensor:
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + eps)


def bicubic(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="bicubic")


def attention(x: Tensor, eps: float | None = None) -> Tensor:
    q = x if eps is None else functional.layer_norm(x.flatten(1), (4,), eps=eps).unflatten(1, (2, 2))
    return functional.scaled_dot_product_attention(q, q, x)


def made(module: nn.Module, fill: Callable[[Tensor], object] | None = None) -> nn.Module:
    source = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=source))
            if fill:
                fill(parameter)
    return module.double().eval()


F, P = (4,), (2, 4, 4)  # features; planes
YES, NO = True, False
MASK = torch.tensor([True, False, True, False])
GAINS = torch.tensor([1.0, 0.5, 2.0, 0.0], dtype=torch.float64)
MIXED = torch.tensor([1.0, -0.5, 2.0, 0.0], dtype=torch.float64)

# name: function, shape of a sample, degree, monotone, convex
CASES: dict[str, tuple[Function, tuple[int, ...], float | None, bool, bool]] = {
    # linear maps
    "linear": (made(nn.Linear(4, 3, bias=False)), F, 1, YES, YES),
    "linear with a bias": (made(nn.Linear(4, 3)), F, None, YES, YES),
    "linear with zero bias": (made(nn.Linear(4, 3), lambda p: p.zero_() if p.dim() == 1 else None), F, 1, YES, YES),
    "conv": (made(nn.Conv2d(2, 3, 2, bias=False)), P, 1, YES, YES),
    "conv, transposed": (made(nn.ConvTranspose2d(2, 3, 2, bias=False)), P, 1, YES, YES),
    "addmm": (lambda x: torch.addmm(torch.zeros(4).double(), x, torch.ones(4, 4).double()), F, 1, YES, YES),
    "avg_pool": (lambda x: functional.avg_pool2d(x, 2), P, 1, YES, YES),
    "adaptive_avg_pool": (lambda x: functional.adaptive_avg_pool2d(x, 3), P, 1, YES, YES),
    "nearest": (lambda x: functional.interpolate(x, scale_factor=2), P, 1, YES, YES),
    "bilinear": (lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear"), P, 1, YES, YES),
    "bicubic": (lambda x: bicubic(x), P, 1, NO, YES),
    "bicubic after relu": (lambda x: bicubic(minus(x).relu()), P, 1, NO, NO),
    "mean": (lambda x: x.mean(1, keepdim=True), F, 1, YES, YES),
    "cumsum": (lambda x: x.cumsum(1), F, 1, YES, YES),
    "less its mean": (lambda x: centred(x), F, 1, NO, YES),
    "less its mean, after max": (lambda x: centred(torch.maximum(x, x[:, :1])), F, 1, NO, NO),
    "neg": (lambda x: -x, F, 1, NO, YES),
    "one less": (lambda x: 1 - x, F, None, NO, YES),
    "mul by gains": (lambda x: x * GAINS, F, 1, YES, YES),
    "mul by gains of either sign": (lambda x: x * MIXED, F, 1, NO, YES),
    "mul by a number": (lambda x: x * 3, F, 1, YES, YES),
    "div by a number": (lambda x: x / -3, F, 1, NO, YES),
    "add": (lambda x: x + x.flip(1), F, 1, YES, YES),
    "add of degrees 1 and 2": (lambda x: x + x.square(), F, None, YES, YES),
    "add of a constant": (lambda x: x + GAINS, F, None, YES, YES),
    "add of zero": (lambda x: x + torch.zeros(4).double(), F, 1, YES, YES),
    "views": (lambda x: x.view(-1, 2, 2).mT.flip(1).reshape(-1, 4)[:, 1:3].repeat_interleave(2, 1), F, 1, YES, YES),
    "cat": (lambda x: torch.cat([x, x.relu() * 2], 1), F, 1, YES, YES),
    "cat of other degrees": (lambda x: torch.cat([x, x.square()], 1), F, None, YES, YES),
    "pad": (lambda x: functional.pad(x, (1, 1)), F, 1, YES, YES),
    "pad with 3": (lambda x: functional.pad(x, (1, 1), value=3.0), F, None, YES, YES),
    "dropout at rest": (lambda x: functional.dropout(x, 0.5, training=False), F, 1, YES, YES),
    # choices
    "max_pool": (lambda x: functional.max_pool2d(x, 2), P, 1, YES, YES),
    "max_pool with indices": (lambda x: functional.max_pool2d(x, 2, return_indices=True)[0], P, 1, YES, YES),
    "adaptive_max_pool": (lambda x: functional.adaptive_max_pool2d(x, 3), P, 1, YES, YES),
    "max": (lambda x: x.max(1, keepdim=True).values, F, 1, YES, YES),
    "maximum with a number": (lambda x: torch.maximum(x, torch.ones(4).double()), F, None, YES, YES),
    "amin": (lambda x: x.amin(1, keepdim=True), F, 1, YES, NO),
    "minimum": (lambda x: torch.minimum(x, 10 * x.flip(1)), F, 1, YES, NO),
    "median": (lambda x: x[:, :3].median(1, keepdim=True).values, F, 1, YES, NO),
    "sort": (lambda x: x.sort(1).values, F, 1, YES, NO),
    "topk": (lambda x: x.topk(3, 1).values, F, 1, YES, NO),
    "the largest alone": (lambda x: x.topk(1, 1).values, F, 1, YES, YES),
    "where, by a mask": (lambda x: torch.where(MASK, x, x * 2), F, 1, YES, YES),
    "where, by its own values": (lambda x: torch.where(x > x.flip(1), x, x.flip(1) / 2), F, 1, NO, NO),
    "where, by a fixed limit": (lambda x: torch.where(x > 1, x, 0), F, None, YES, NO),
    "masked_fill": (lambda x: x.masked_fill(MASK, 0.0), F, 1, YES, YES),
    "masked_fill with 2": (lambda x: x.masked_fill(MASK, 2.0), F, None, YES, YES),
    # functions of one number
    "relu": (lambda x: x.relu(), F, 1, YES, YES),
    "relu of either sign": (lambda x: minus(x).relu(), F, 1, NO, YES),
    "relu after a shift": (lambda x: plus(x).relu(), F, None, YES, YES),
    "leaky_relu": (lambda x: functional.leaky_relu(minus(x), 0.1), F, 1, NO, YES),
    "leaky_relu, steep below": (lambda x: functional.leaky_relu(plus(x), 3.0), F, None, YES, NO),
    "leaky_relu, rising below": (lambda x: functional.leaky_relu(plus(x), -1.0), F, None, NO, YES),
    "prelu": (lambda x: functional.prelu(minus(x), torch.full((4,), 0.2).double()), F, 1, NO, YES),
    "abs": (lambda x: x.abs(), F, 1, YES, YES),
    "abs of either sign": (lambda x: minus(x).abs(), F, 1, NO, YES),
    "clamp below 0": (lambda x: minus(x).clamp_min(0), F, 1, NO, YES),
    "clamp": (lambda x: x.clamp(0, 1), F, None, YES, NO),
    "clamp above": (lambda x: plus(x).clamp_max(0.5), F, None, YES, NO),
    "clamp from 1": (lambda x: x.clamp(1), F, None, YES, YES),
    "relu6": (lambda x: functional.relu6(x), F, None, YES, NO),
    "hardtanh": (lambda x: functional.hardtanh(plus(x)), F, None, YES, NO),
    "threshold": (lambda x: functional.threshold(x, 0.5, 0.0), F, None, YES, NO),
    "threshold to more": (lambda x: functional.threshold(x, 0.5, 2.0), F, None, NO, NO),
    "threshold at 0": (lambda x: functional.threshold(minus(x), 0.0, 0.0), F, 1, NO, YES),
    "hardshrink": (lambda x: functional.hardshrink(x), F, None, YES, NO),
    "softshrink": (lambda x: functional.softshrink(x), F, None, YES, YES),
    "softshrink after a shift": (lambda x: functional.softshrink(plus(x)), F, None, YES, NO),
    "elu": (lambda x: functional.elu(x), F, 1, YES, YES),
    "elu after a shift": (lambda x: functional.elu(plus(x), 2.0), F, None, YES, NO),
    "selu after a shift": (lambda x: functional.selu(plus(x)), F, None, YES, NO),
    "gelu": (lambda x: functional.gelu(x), F, None, YES, NO),
    "gelu after a shift": (lambda x: functional.gelu(plus(x)), F, None, NO, NO),
    "silu": (lambda x: functional.silu(x), F, None, YES, NO),
    "silu after a shift": (lambda x: functional.silu(x - 3), F, None, NO, NO),
    "hardswish": (lambda x: functional.hardswish(x), F, None, YES, NO),
    "mish": (lambda x: functional.mish(x), F, None, YES, NO),
    "tanh": (lambda x: x.tanh(), F, None, YES, NO),
    "sigmoid": (lambda x: x.sigmoid(), F, None, YES, NO),
    "exp": (lambda x: (x / 4).exp(), F, None, YES, YES),
    "softplus": (lambda x: functional.softplus(plus(x)), F, None, YES, YES),
    "pow": (lambda x: x**3, F, 3, YES, YES),
    "relu squared": (lambda x: minus(x).relu().square(), F, 2, NO, YES),
    "square of either sign": (lambda x: plus(x).square(), F, None, NO, YES),
    "cube of either sign": (lambda x: plus(x) ** 3, F, None, YES, NO),
    "sqrt": (lambda x: x.sqrt(), F, 0.5, YES, NO),
    "sqrt of a square": (lambda x: x.square().sqrt(), F, 1, YES, YES),
    "reciprocal": (lambda x: x.reciprocal(), F, -1, NO, YES),
    "reciprocal of a square's sum": (lambda x: (x.square() + x.flip(1).square()).reciprocal(), F, -2, NO, NO),
    "sign": (lambda x: plus(x).sign(), F, None, YES, NO),
    # products and norms
    "mul of two": (lambda x: x * x.flip(1), F, 2, YES, NO),
    "mul by itself": (lambda x: x * x, F, 2, YES, YES),
    "mul of two of either sign": (lambda x: plus(x) * x.flip(1), F, None, NO, NO),
    "div of two": (lambda x: x / (x.flip(1) + x.sum(1, keepdim=True) + x), F, 0, NO, NO),
    "matmul of two": (lambda x: x.view(-1, 2, 2) @ x.view(-1, 2, 2), F, 2, YES, NO),
    "lp_pool": (lambda x: functional.lp_pool2d(x, 3.0, 2), P, 1, YES, YES),
    "lp_pool with p < 1": (lambda x: functional.lp_pool2d(x, 0.5, 2), P, 1, YES, NO),
    "norm": (lambda x: x.norm(2, 1, keepdim=True), F, 1, YES, YES),
    "norm of either sign": (lambda x: minus(x).norm(2, 1, keepdim=True), F, 1, NO, YES),
    "norm with p < 1": (lambda x: torch.linalg.vector_norm(x, 0.5, 1, keepdim=True), F, 1, YES, NO),
    "std": (lambda x: x.std(1, keepdim=True), F, 1, NO, YES),
    "var": (lambda x: x.var(1, keepdim=True), F, 2, NO, YES),
    "softmax": (lambda x: x.softmax(1), F, None, NO, NO),
    "layer_norm": (lambda x: functional.layer_norm(x, (4,)), F, None, NO, NO),
    "layer_norm with eps 0": (lambda x: functional.layer_norm(x, (4,), GAINS, MIXED, 0.0), F, 0, NO, NO),
    "group_norm": (lambda x: functional.group_norm(x, 2), F, None, NO, NO),
    "group_norm with eps 0": (lambda x: functional.group_norm(x, 1, eps=0.0), F, 0, NO, NO),
    "instance_norm with eps 0": (lambda x: functional.instance_norm(x, eps=0.0), P, 0, NO, NO),
    "rms_norm with eps 0": (lambda x: functional.rms_norm(x, (4,), eps=0.0), F, 0, NO, NO),
    "rms_norm in pieces": (lambda x: scaled(x, 0.0), F, 0, NO, NO),
    "rms_norm in pieces, with eps": (lambda x: scaled(x, 0.1), F, None, NO, NO),
    "attention": (lambda x: attention(x.unflatten(1, (2, 2))), F, None, NO, NO),
    "attention behind a norm": (lambda x: attention(x.unflatten(1, (2, 2)), eps=0.0), F, 1, NO, NO),
    "swiglu": (lambda x: functional.silu(x) * x.flip(1), F, None, YES, NO),
    "reglu": (lambda x: minus(x).relu() * x, F, 2, NO, NO),
}  # fmt: skip


# Denied although random inputs give no counterexample, and why it is denied all the same.
PESSIMISTIC = {
    "where, by a fixed limit": "monotone",  # a choice by values is judged without looking at what is chosen
}


@pytest.mark.parametrize("name", CASES)
def test_what_the_rules_say_is_what_is_so_and_what_numbers_show(name):
    function, shape, degree, monotone, convex = CASES[name]
    found = measured(function, shape)
    powers = (-2, -1, -0.5, 0, 0.5, 1, 2, 3)
    assert [d for d in powers if is_homogeneous(found.at, shape, d)] == ([] if degree is None else [degree])
    assert (is_monotone(found.at, shape), is_convex(found.at, shape)) == (monotone, convex)
    pessimistic = PESSIMISTIC.get(name)
    assert found.type.degree == degree
    assert found.type.monotone == (monotone and pessimistic != "monotone")
    assert found.type.convex == (convex and pessimistic != "convex")


def entering_head(function: Function, shape: tuple[int, ...] = F) -> OpType:
    return measured(function, shape).type


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lambda x: x.tanh(), ["tanh is not homogeneous", "tanh is not convex"]),
        (lambda x: torch.minimum(x, 10 * x), ["minimum is not convex: it takes lesser entries"]),
        (lambda x: (x - x.mean(1, keepdim=True)).relu(), ["sub is not monotone: it subtracts"]),
        (lambda x: x + 1, ["add is not homogeneous: it joins degrees 1 and 0"]),
        (lambda x: x.cos(), ["cos has no rule"]),
        (lambda x: functional.layer_norm(x, (4,)).tanh(), ["eps is 1e-05"] * 1 + ["not monotone", "not convex"]),
    ],
)
def test_each_loss_is_told_once_where_it_first_happened(function, told):
    why = entering_head(function).why
    assert len(why) == len(told)
    assert all(part in sentence for part, sentence in zip(told, why, strict=True))


def test_the_module_is_named():
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.Sequential(nn.Linear(4, 4), nn.GELU())

        def forward(self, x: Tensor) -> Tensor:
            return self.act(x)

    network = trace(nn.Sequential(Deep(), nn.Linear(4, 2)), torch.ones(1, 4))
    types = types_of(network.graph, {**network.neutral, **network.weights})
    assert types[network.graph.output].why == (
        "0.act.1: gelu is not homogeneous",
        "0.act.1: gelu is not convex",
    )


def holds_everywhere(graph: Graph, types: dict[str, OpType]) -> bool:
    return all(types[n.name].degree == 1 and types[n.name].monotone and types[n.name].convex for n in graph.nodes)


def test_a_neutral_residual_network_with_pools_fulfils_the_union_bounds_hypothesis():
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2)

        def forward(self, x: Tensor) -> Tensor:
            return (self.norm(self.conv(x)) + x).relu()

    model = nn.Sequential(Block(), nn.MaxPool2d(2), Block(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(2, 3))
    network = trace(model, torch.ones(1, 2, 4, 4))
    assert holds_everywhere(network.graph, types_of(network.graph, {**network.neutral, **network.weights}))
    assert not holds_everywhere(network.graph, types_of(network.graph, {**network.fixed, **network.weights}))
