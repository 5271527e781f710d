"""Plain chains: a multilayer perceptron and a small convolutional network."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from pruning.models.initialise import kaiming_normal


def mlp(inputs: int, widths: Sequence[int], classes: int) -> nn.Sequential:
    """Linear layers with ReLU between them: inputs -> widths -> classes."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise([inputs, *widths]):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(widths[-1] if widths else inputs, classes))
    kaiming_normal(model)
    return model


def conv(channels: int, widths: Sequence[int], classes: int, size: int = 32) -> nn.Sequential:
    """3x3 convolutions with ReLU, then one linear layer over all positions; inputs are size x size."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise([channels, *widths]):
        layers += [nn.Conv2d(fan_in, fan_out, 3, padding=1), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * size * size, classes))
    kaiming_normal(model)
    return model
