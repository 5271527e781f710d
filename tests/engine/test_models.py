"""The built-in models have the paper's sizes and initialisation."""

import pytest
import torch
from torch import nn

from pruning.models import built_in, make
from pruning.trace import trace

VGG_WIDTHS = {
    11: [64, 128, 256, 256, 512, 512, 512, 512],
    13: [64, 64, 128, 128, 256, 256, 512, 512, 512, 512],
    16: [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512],
    19: [64, 64, 128, 128, *[256] * 4, *[512] * 8],
}


def vgg_sizes(depth: int, classes: int) -> list[int]:
    widths = VGG_WIDTHS[depth]
    return [9 * a * b for a, b in zip([3, *widths], widths, strict=False)] + [512 * classes]


def resnet_sizes(classes: int) -> list[int]:
    """The stem, then blocks of two 3x3 convolutions, with a 1x1 shortcut where the width changes."""
    sizes, channels = [9 * 3 * 64], 64
    for width in (64, 64, 128, 128, 256, 256, 512, 512):
        sizes += [9 * channels * width, 9 * width * width] + [channels * width] * (channels != width)
        channels = width
    return [*sizes, 512 * classes]


SIZES = {
    "mlp": [784 * 100, 100 * 100, 100 * 100, 100 * 100, 100 * 10],
    "conv": [9 * 3 * 32, 9 * 32 * 32, 32 * 32 * 32 * 10],
    "resnet18": resnet_sizes(200),
    **{f"vgg{d}{s}": vgg_sizes(d, 100) for d in VGG_WIDTHS for s in ("", "_bn")},
}


def prunable(model: nn.Module) -> dict[str, nn.Parameter]:
    return {n: p for n, p in model.named_parameters() if p.dim() > 1}


def test_every_model_is_listed_here():
    assert set(built_in()) == set(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_prunable_weights(name):
    with torch.device("meta"):  # shapes are enough
        model, example = make(name, 0)
    assert [p.numel() for p in prunable(model).values()] == SIZES[name]
    assert len(example) == 1


@pytest.mark.parametrize("name", ["mlp", "conv", "vgg16_bn", "resnet18"])
def test_tracing_finds_the_same_weights_in_order_and_no_objection(name):
    model, example = make(name, 0)
    network = trace(model, example)
    assert [w.numel() for w in network.weights.values()] == SIZES[name]
    assert network.graph.objections == ()
    assert network.graph.is_chain == (name != "resnet18")


def test_vgg16_with_batch_norm_and_100_classes_has_the_papers_count():
    assert sum(SIZES["vgg16_bn"]) == 14_761_664


@pytest.mark.parametrize("name", ["mlp", "vgg11_bn", "resnet18"])
def test_weights_are_kaiming_normal_and_biases_zero(name):
    """The mean of n squares of N(0, s^2), s^2 = 2 / fan-in, has standard deviation s^2 sqrt(2/n).

    Seven of those: of all layers of all models, for a right initialisation, one in 10^10 fails.
    """
    model, _ = make(name, 0)
    for weight in prunable(model).values():
        variance = 2 / weight[0].numel()
        spread = variance * (2 / weight.numel()) ** 0.5
        assert abs(weight.detach().double().square().mean().item() - variance) < 7 * spread
    biases = [m.bias for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d)) and m.bias is not None]
    assert biases
    assert not any(bias.any() for bias in biases)


def test_one_seed_gives_one_model():
    first, same, other = (prunable(make("mlp", seed)[0]) for seed in (1, 1, 2))
    assert all(torch.equal(first[n], same[n]) for n in first)
    assert not any(torch.equal(first[n], other[n]) for n in first)


def test_making_a_model_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    make("conv", 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_classes_can_be_asked_for():
    assert make("mlp", 0, 7)[0][-1].out_features == 7
    with pytest.raises(KeyError):
        make("nope", 0)
