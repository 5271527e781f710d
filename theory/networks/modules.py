"""The modules that torch has none for, and functions that serve as single operators."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional


class Square(nn.Module):
    """x -> x^2: after a positive sum the same as relu^2, homogeneous of degree 2."""

    def forward(self, x: Tensor) -> Tensor:
        """Entry by entry."""
        return x.square()


class PowerOfReLU(nn.Module):
    """x -> relu(x)^k, homogeneous of degree k."""

    def __init__(self, degree: int) -> None:
        super().__init__()
        self.degree = degree

    def forward(self, x: Tensor) -> Tensor:
        """Entry by entry."""
        return torch.relu(x).square() if self.degree == 2 else torch.relu(x).pow(self.degree)


class Abs(nn.Module):
    """x -> |x|."""

    def forward(self, x: Tensor) -> Tensor:
        """Entry by entry."""
        return x.abs()


class Padding(nn.Module):
    """One more row and column on each side, by a mode that torch.nn.functional.pad has."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) to (batch, channels, height + 2, width + 2)."""
        return functional.pad(x, [1, 1, 1, 1], self.mode)


class TokenMean(nn.Module):
    """The mean over tokens."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, features) to (batch, features)."""
        return x.mean([1])


class Affine(nn.Module):
    """Batch norm in evaluation mode: one scale and one shift per channel."""

    def __init__(self, size: Sequence[int]) -> None:
        super().__init__()
        column = (size[0], *[1] * (len(size) - 1))
        self.scale, self.shift = nn.Parameter(torch.ones(column)), nn.Parameter(torch.zeros(column))

    def forward(self, x: Tensor) -> Tensor:
        """Channel by channel."""
        return x * self.scale + self.shift


class OfTheBatch(nn.Module):
    """Batch norm or instance norm by the batch's own statistics, in training and in evaluation."""

    def __init__(self, kind: str, channels: int, eps: float) -> None:
        super().__init__()
        self.kind, self.eps = kind, eps
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Channel by channel."""
        if self.kind == "instance":
            return functional.instance_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)
        return functional.batch_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)


def groups(channels: int) -> int:
    """Two groups where that divides the channels."""
    return 1 + (channels % 2 == 0)


def norm(kind: str, size: Sequence[int], eps: float) -> nn.Module:
    """A norm by the kinds of theory.networks.layers.Norm."""
    own = tuple(size) if len(size) == 3 else size[-1]
    if kind == "layer":
        return nn.LayerNorm(own, eps)
    if kind == "rms":
        return nn.RMSNorm(own, eps)
    if kind == "group":
        return nn.GroupNorm(groups(size[0]), size[0], eps)
    return Affine(size) if kind == "batch" else OfTheBatch(kind, size[0], eps)


def weight_normed(direction: Tensor, gain: Tensor) -> Tensor:
    """g v / |v| row by row (Salimans and Kingma 2016)."""
    return gain * direction / direction.square().sum(1, keepdim=True).sqrt()


def spectral_normed(weight: Tensor) -> Tensor:
    """W over its largest singular value (Miyato et al. 2018), exactly rather than by power iteration."""
    largest: Tensor = torch.linalg.matrix_norm(weight, 2)
    return weight / largest


class Reparametrised(nn.Module):
    """A linear layer whose weight is computed."""

    def __init__(self, kind: str, inputs: int, outputs: int) -> None:
        super().__init__()
        if kind == "weight":
            self.gain = nn.Parameter(torch.ones(outputs, 1))
        self.kind = kind
        self.direction = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs)."""
        weight = weight_normed(self.direction, self.gain) if self.kind == "weight" else spectral_normed(self.direction)
        return functional.linear(x, weight, self.bias)


def indices(x: Tensor, rows: int) -> Tensor:
    """Numbers as rows of a table: rounded, and counted modulo its length."""
    return torch.remainder(x.round(), rows).long()


class Table(nn.Module):
    """An embedding of numbers taken as rows."""

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.rows = rows
        self.weight = nn.Parameter(torch.randn(rows, width))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens) to (batch, tokens, width)."""
        return functional.embedding(indices(x, self.rows), self.weight)


def rotated(x: Tensor) -> Tensor:
    """Rotary position embedding (Su et al. 2021): (batch, heads, tokens, width), pairs half a width apart."""
    half = x.shape[-1] // 2
    steps = torch.arange(x.shape[-2], dtype=x.dtype, device=x.device).unsqueeze(1)
    angle = steps * 0.5 ** torch.arange(half, dtype=x.dtype, device=x.device)
    first, second, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    turned = (first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin())
    return torch.cat([*turned, rest], -1)


def causal(products: Tensor) -> Tensor:
    """No weight for later tokens: (..., tokens, tokens)."""
    later = torch.ones(products.shape[-2:], dtype=torch.bool, device=products.device).triu(1)
    return products.masked_fill(later, -torch.inf)


class Gain(nn.Module):
    """A projection of queries, keys or values, with the gain of its norm where it has one."""

    def __init__(self, inputs: int, outputs: int, bias: bool, width: int | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.gain = nn.Parameter(torch.ones(width)) if width else None

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs); the norm is the attention's to apply."""
        return functional.linear(x, self.weight, self.bias)


class Attention(nn.Module):
    """Softmax attention over tokens."""

    def __init__(
        self, inputs: int, outputs: int, heads: int, kv_heads: int, width: int, bias: bool, rope: bool,
        qk_norm: bool, causal: bool, eps: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.heads, self.kv_heads, self.width = heads, kv_heads, width
        self.rope, self.causal, self.eps = rope, causal, eps
        own = width if qk_norm else None
        self.q = Gain(inputs, heads * width, bias, own)
        self.k = Gain(inputs, kv_heads * width, bias, own)
        self.v = Gain(inputs, kv_heads * width, bias, None)
        self.o = Gain(heads * width, outputs, bias, None)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, inputs) to (batch, tokens, outputs)."""
        q, k, v = (self._head(x, *p) for p in ((self.q, self.heads), (self.k, self.kv_heads), (self.v, self.kv_heads)))
        if self.heads != self.kv_heads:
            k, v = (one.repeat_interleave(self.heads // self.kv_heads, 1) for one in (k, v))
        products = q @ k.transpose(-2, -1)
        weights = (causal(products) if self.causal else products).softmax(-1)
        made = (weights @ v).transpose(1, 2).flatten(2)
        projected: Tensor = self.o(made)
        return projected

    def _head(self, x: Tensor, projection: Gain, heads: int) -> Tensor:
        made: Tensor = projection(x).unflatten(2, [heads, self.width]).transpose(1, 2)
        if projection.gain is not None:
            made = functional.rms_norm(made, [self.width], projection.gain, self.eps)
        return rotated(made) if self.rope and projection is not self.v else made


_JOINS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sum": operator.add,
    "product": operator.mul,
    "min": torch.minimum,
}


class Branches(nn.ModuleList):
    """Modules side by side on the same input, joined by sum, product, minimum or concatenation."""

    def __init__(self, join: str, branches: Sequence[nn.Module], axis: int) -> None:
        super().__init__(branches)
        self.join, self.axis = join, axis

    def forward(self, x: Tensor) -> Tensor:
        """What the branches make, joined."""
        made: list[Tensor] = [branch(x) for branch in self]
        if self.join == "cat":
            return torch.cat(made, self.axis)
        join: Callable[[Tensor, Tensor], Tensor] = _JOINS[self.join]
        return reduce(join, made)
