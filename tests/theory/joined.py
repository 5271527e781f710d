"""Networks whose units have several channels, or are joined by operators without weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Function = Callable[..., Tensor]


class Wired(nn.Module):
    """A forward function over named layers and parameters."""

    def __init__(self, function: Function, **layers: nn.Module | nn.Parameter) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def conv(a: int, b: int, kernel: int = 3, **options: object) -> nn.Conv2d:
    return nn.Conv2d(a, b, kernel, padding=kernel // 2, **options)


def number(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.ones(shape))


def image(function: Function, inside: int, side: int = 8, **layers: object) -> Wired:
    """A stem, what lies between, and a linear layer from what it leaves."""
    parts = {"a": conv(2, 4), "z": nn.Linear(inside * side * side, 2), **layers}
    return Wired(lambda m, x: m.z(function(m, m.a(x)).relu().flatten(1)), **parts)


def tokens(function: Function, width: int = 6, **layers: object) -> Wired:
    """Rows of an image as tokens: what lies between a linear layer on each, and one on all of them."""
    parts = {"a": nn.Linear(16, 6), "z": nn.Linear(8 * width, 2), **layers}

    def forward(m: Wired, x: Tensor) -> Tensor:
        rows = x.transpose(1, 2).flatten(2)
        return m.z(function(m, m.a(rows).relu()).relu().flatten(1))

    return Wired(forward, **parts)


def dense_skips(m: Wired, x: Tensor) -> Tensor:
    first = m.c(x.relu())
    second = m.d(torch.cat([x, first], 1).relu())
    return torch.cat([x, first, second], 1)


def cancelling(m: Wired, x: Tensor) -> Tensor:
    """Sums that nearly vanish: what passes them is more than what leaves them."""
    return (x + m.c) - (x + m.c * 0.999) + m.d(x) - x.mean((2, 3), keepdim=True)


def in_first(m: Wired, x: Tensor) -> Tensor:
    flat = torch.addmm(m.d, x.reshape(-1, 6), m.c)
    return flat.reshape(-1, 8, 5)


JOINED: dict[str, Callable[[], nn.Module]] = {
    "concatenated": lambda: image(lambda m, x: torch.cat([x, m.c(x.relu()), -x], 1), 11, c=conv(4, 3)),
    "dense skips": lambda: image(dense_skips, 9, c=conv(4, 3), d=conv(7, 2)),
    "padded": lambda: image(lambda m, x: m.c(F.pad(x, (1, 1, 1, 1), mode="circular")), 3, 10, c=conv(4, 3)),
    "reflected": lambda: image(lambda m, x: F.pad(x, (2, 2, 2, 2), mode="reflect"), 4, 12),
    "padded by zeros": lambda: image(lambda m, x: F.pad(x, (2, 0, 1, 1, 0, 2)), 6, 10),
    "nearest": lambda: image(lambda m, x: m.c(F.interpolate(x, scale_factor=2)), 2, 16, c=conv(4, 2)),
    "transposed": lambda: image(lambda m, x: m.c(x.relu()), 6, 17, c=nn.ConvTranspose2d(4, 6, 3, 2, groups=2)),
    "cropped": lambda: image(lambda m, x: m.c(x.relu()), 3, c=nn.ConvTranspose2d(4, 3, 3, padding=1)),
    "grouped": lambda: image(lambda m, x: m.d(m.c(x).relu()), 6, c=conv(4, 8, groups=4), d=conv(8, 6, groups=2)),
    "pixel shuffle": lambda: image(lambda m, x: m.c(F.pixel_shuffle(x, 2)), 2, 16, c=conv(1, 2)),
    "pixel unshuffle": lambda: image(lambda m, x: m.c(F.pixel_unshuffle(x, 2)), 3, 4, c=conv(16, 3)),
    "channel shuffle": lambda: image(lambda m, x: m.c(F.channel_shuffle(x, 2)), 4, c=conv(4, 4, groups=2)),
    "cancelling": lambda: image(cancelling, 4, c=number(4, 1, 1), d=conv(4, 4)),
    "shifted in pairs": lambda: image(
        lambda m, x: (x.unflatten(1, (2, 2)) + m.c).flatten(1, 2), 4, c=number(2, 1, 1, 1)
    ),
    "chunks summed": lambda: image(lambda m, x: x.chunk(2, 1)[0] + x.chunk(2, 1)[1], 2),
    "windows": lambda: image(lambda m, x: x.unfold(2, 3, 1).flatten(3).transpose(2, 3), 4, 12),
    "prelu": lambda: image(lambda m, x: F.prelu(m.c(F.leaky_relu(x, -0.7)), m.d), 3, c=conv(4, 3), d=number(3)),
    "on tokens": lambda: tokens(lambda m, x: x + m.d(m.c(x).relu()), c=nn.Linear(6, 9), d=nn.Linear(9, 6)),
    "positions": lambda: tokens(lambda m, x: m.d(x + m.c), c=number(8, 6), d=nn.Linear(6, 6)),
    "mixed tokens": lambda: tokens(lambda m, x: m.c(x.transpose(1, 2)).transpose(1, 2), c=nn.Linear(8, 8)),
    "broadcast tokens": lambda: tokens(lambda m, x: x + m.c(x.mean(1, keepdim=True)), c=nn.Linear(6, 6)),
    "addmm": lambda: tokens(in_first, 5, c=number(6, 5), d=number(5)),
    "repeated": lambda: tokens(lambda m, x: torch.cat([x.repeat(1, 1, 2), x.flip(1)], 2), 18),
}  # fmt: skip
# without a rounding between weights: integers stay integers
WHOLE = (
    "concatenated",
    "windows",
    "repeated",
    "reflected",
    "padded",
    "nearest", "dense skips", "padded by zeros", "transposed", "cropped", "grouped", "pixel shuffle",
    "pixel unshuffle", "channel shuffle", "shifted in pairs", "chunks summed", "on tokens", "positions",
    "mixed tokens", "addmm",
)  # fmt: skip
