"""The paper's full-size networks, by name: each entry gives a model and one example input, seeded."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pruning.models.chains import conv, mlp
from pruning.models.resnet import resnet18
from pruning.models.vgg import vgg

Factory = Callable[[int], tuple[nn.Module, Tensor]]


def built_in() -> dict[str, Factory]:
    """Model factories by name; each takes the number of classes."""
    models: dict[str, Factory] = {
        "mlp": lambda classes: (mlp(784, [100] * 4, classes), torch.ones(1, 784)),
        "conv": lambda classes: (conv(3, [32, 32], classes), torch.ones(1, 3, 32, 32)),
        "resnet18": lambda classes: (resnet18(classes), torch.ones(1, 3, 64, 64)),
    }
    for depth in (11, 13, 16, 19):
        for suffix, norm in (("", False), ("_bn", True)):
            models[f"vgg{depth}{suffix}"] = _vgg_factory(depth, norm)
    return models


DEFAULT_CLASSES = {"resnet18": 200, "mlp": 10, "conv": 10}  # the others: 100, as in the paper's CIFAR-100


def make(name: str, seed: int, classes: int | None = None) -> tuple[nn.Module, Tensor]:
    """The built-in model `name` with weights drawn from `seed`, and one example input.

    The global random state is left as it was. Raises KeyError for an unknown name.
    """
    factory = built_in()[name]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed other devices as well
        return factory(classes or DEFAULT_CLASSES.get(name, 100))


def _vgg_factory(depth: int, norm: bool) -> Factory:
    return lambda classes: (vgg(depth, norm, classes), torch.ones(1, 3, 32, 32))
