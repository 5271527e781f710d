"""Collapse is told as it is, by plain forward passes: a weight made huge is seen where it is on a live path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pruning.masks import Masks
from pruning.network import Network
from pruning.trace import trace
from theory.collapse import Collapse, Paths, UnreadablePaths, emptied_layers

HUGE = 2.0**40  # no network here has so many paths, nor pools of so many places


class Of(nn.Module):
    """A function of modules by name."""

    def __init__(self, how: Callable[..., Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self.how, self.parts = how, nn.ModuleDict(parts)

    def forward(self, x: Tensor) -> Tensor:
        return self.how(x, **self.parts)


def network(model: nn.Module, *shape: int, seed: int = 0) -> Network:
    source = torch.Generator().manual_seed(seed)
    model = model.double().eval()
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=source, dtype=torch.float64)
    return trace(model, torch.ones(1, *shape, dtype=torch.float64))


def mlp(*widths: int) -> nn.Sequential:
    return nn.Sequential(*(layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())))


def pooled(pool: nn.Module, features: int) -> nn.Sequential:
    layers = nn.Conv2d(1, 2, 2), nn.ReLU(), pool, nn.Flatten(), nn.Linear(features, 1)
    return nn.Sequential(*layers)


def dead_channels() -> Network:
    net = network(nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 1)), 2, 2, 2)
    scale = next(n for n in net.neutral if n.endswith("scale"))
    return replace(net, neutral={**net.neutral, scale: net.neutral[scale] * torch.tensor([0.0, 1, 1])[:, None, None]})


def zeros(net: Network) -> Network:
    return net.with_weights({n: w.round().clamp(-1, 1) for n, w in net.weights.items()})


def linear(a: int, b: int) -> nn.Linear:
    return nn.Linear(a, b)


def around(x: Tensor, a: nn.Module, b: nn.Module, c: nn.Module) -> Tensor:
    return b(a(x)) + c(x)


def beside(x: Tensor, a: nn.Module, b: nn.Module) -> Tensor:
    return b(torch.cat([a(x), x], 1))


# per network the fewest weights that a path has
NETS: dict[str, tuple[Callable[[], Network], int]] = {
    "chain": (lambda: network(mlp(3, 4, 3, 2), 3), 3),
    "weights of 0": (lambda: zeros(network(mlp(3, 5, 4, 2), 3)), 3),
    "one neuron": (lambda: network(mlp(2, 1, 1, 2), 2), 3),
    "a tap that meets no data": (lambda: network(nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.ReLU()), 2, 1, 2), 1),
    "groups, stride, dilation": (lambda: network(nn.Conv2d(4, 2, 2, 2, 1, 2, groups=2), 4, 3, 3), 1),
    "maxima that overlap": (lambda: network(pooled(nn.MaxPool2d(3, 1, 1), 18), 1, 4, 4), 2),
    "maxima, ceiling": (lambda: network(pooled(nn.MaxPool2d(2, ceil_mode=True), 18), 1, 6, 6), 2),
    "maxima, dilation": (lambda: network(pooled(nn.MaxPool2d(2, dilation=2), 8), 1, 6, 6), 2),
    "maxima, as many as wanted": (lambda: network(pooled(nn.AdaptiveMaxPool2d(2), 8), 1, 6, 6), 2),
    "maxima along an axis": (
        lambda: network(Of(lambda x, a, b: b(a(x).view(-1, 3, 2).max(2).values), a=linear(2, 6), b=linear(3, 2)), 2),
        2,
    ),
    "the greatest of two": (
        lambda: network(Of(lambda x, a, b: torch.maximum(a(x), b(x)), a=linear(2, 3), b=linear(2, 3)), 2),
        1,
    ),
    "means": (lambda: network(pooled(nn.AvgPool2d(2), 8), 1, 6, 6), 2),
    "dead channels": (dead_channels, 2),
    "an identity": (lambda: network(Of(lambda x, a, b: b(a(x).relu()) + x, a=linear(3, 2), b=linear(2, 3)), 3), 0),
    "a shortcut": (lambda: network(Of(around, a=linear(3, 2), b=linear(2, 2), c=linear(3, 2)), 3), 1),
    "side by side": (lambda: network(Of(beside, a=linear(2, 3), b=linear(5, 2)), 2), 1),
    "transposed": (lambda: network(nn.Sequential(nn.ConvTranspose2d(2, 2, 2, 2), nn.Conv2d(2, 1, 3)), 2, 2, 2), 2),
    "tokens": (lambda: network(mlp(3, 2, 3), 2, 3), 2),
    "used twice": (lambda: network(Of(lambda x, a, b: b(a(a(x))), a=linear(3, 3), b=linear(3, 2)), 3), 2),
}  # fmt: skip


def masks_of(net: Network, density: float, seed: int) -> Masks:
    source = torch.Generator().manual_seed(seed)
    return Masks({n: torch.rand(w.shape, generator=source) < density for n, w in net.weights.items()})


def by_forward_passes(net: Network, masks: Masks) -> tuple[list[int], bool, int, int]:
    """Weights on live paths, whether there are any, inputs and outputs cut off: by what a huge number changes."""
    plain = net.neutralised()
    present = {n: (masks[n] & (w != 0)).double() for n, w in net.weights.items()}
    ones = torch.ones_like(net.example[:1])
    usual = plain.forward(present, ones)
    live = [
        sum(
            bool((plain.forward({**present, n: here * (1 + HUGE * one.view_as(here))}, ones) != usual).any())
            for one in torch.eye(here.numel(), dtype=here.dtype)
        )
        for n, here in present.items()
    ]
    seen = [
        bool((plain.forward(present, ones + HUGE * one.view_as(ones)) != usual).any())
        for one in torch.eye(ones.numel(), dtype=ones.dtype)
    ]
    return live, bool(usual.any()), seen.count(False), int((usual == 0).sum())


@pytest.mark.parametrize("name", NETS)
def test_live_paths_are_those_that_forward_passes_find(name: str) -> None:
    make, shortest = NETS[name]
    net = make()
    paths = Paths(net)
    for seed, density in enumerate((1.0, 0.6, 0.35, 0.0)):
        masks = masks_of(net, density, seed)
        found = paths.under(masks)
        live, connected, inputs, outputs = by_forward_passes(net, masks)
        assert (list(found.live), found.connected, found.inputs_cut, found.outputs_cut) == (
            live,
            connected,
            inputs,
            outputs,
        ), density
        assert paths.connected(masks) == connected
        assert found.kept == tuple(masks.kept_by_layer()) and found.shortest == shortest
        assert found.emptied == emptied_layers(masks)
        assert found.direct_density == masks.kept / masks.total
        assert found.effective_density == sum(live) / masks.total


def told(net: Network, **kept: list[int]) -> Collapse:
    """Where of each layer the weights at these places are kept, and of others all."""
    masks = {n: torch.ones_like(w, dtype=torch.bool) for n, w in net.weights.items()}
    for layer, places in kept.items():
        name = next(n for n in masks if layer in n.split("."))
        masks[name] = torch.zeros(masks[name].numel(), dtype=torch.bool).index_fill(
            0, torch.tensor(places, dtype=torch.int64), True
        ).view_as(masks[name])  # fmt: skip
    return Paths(net).under(Masks(masks))


def test_a_layer_may_be_empty_and_paths_be_left() -> None:
    found = told(NETS["a shortcut"][0](), a=[])
    assert found.emptied == ("parts.a.weight",) and found.connected
    assert found.live == (0, 0, 6) and found.kept == (0, 4, 6) and not found.inputs_cut


def test_no_path_may_be_left_though_no_layer_is_empty() -> None:
    net = network(nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1)), 1)
    masks = Masks({"0.weight": torch.tensor([[True], [False]]), "2.weight": torch.tensor([[False, True]])})
    found = Paths(net).under(masks)
    assert not found.emptied and not found.connected
    assert found.live == (0, 0) and found.inputs_cut == found.outputs_cut == 1 and found.effective_density == 0


def test_an_identity_is_a_path_without_weights() -> None:
    found = told(NETS["an identity"][0](), a=[], b=[])
    assert found.connected and found.shortest == 0 and not any(found.live)
    assert len(found.emptied) == 2 and found.inputs_cut == found.outputs_cut == 0


def test_no_number_of_paths_or_layers_is_too_many() -> None:
    deep = network(nn.Sequential(*[nn.Linear(30, 30) for _ in range(60)]), 30)
    full = Paths(deep).under(Masks.full(deep.weights))
    assert full.connected and full.live == (900,) * 60 and full.shortest == 60


@pytest.mark.parametrize(
    ("how", "why"),
    [
        (lambda x, a, b: b(a(x).relu().topk(1, 1).values), "topk follows one of several paths"),
        (lambda x, a, b: b(torch.minimum(a(x)[:, :1], a(x)[:, 1:])), "minimum is not convex"),
        (lambda x, a, b: b((a(x) - a(x).mean(1, keepdim=True))[:, :1]), "sub is not monotone"),
        (
            lambda x, a, b: b(functional.max_pool1d(a(x), 2, return_indices=True)[0]),
            "max_pool1d_with_indices follows one of several paths",
        ),
    ],
)
def test_networks_in_which_zero_says_nothing_of_paths_are_named(how: Callable[..., Tensor], why: str) -> None:
    net = network(Of(how, a=linear(2, 2), b=linear(1, 2)), 2)
    with pytest.raises(UnreadablePaths, match=why):
        Paths(net)


def test_masks_of_another_network_are_refused() -> None:
    net = NETS["chain"][0]()
    with pytest.raises(ValueError, match="mask"):
        Paths(net).under(Masks({"x": torch.ones(2, 2, dtype=torch.bool)}))
