"""Layers that choose, average or move entries, and have no parameters."""

# ruff: noqa: D102 - the protocol Layer says what the methods do

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from pruning.graph import Value
from theory.networks import modules
from theory.networks.layers.layer import Layer, Misfit, Size, Wiring, positive

aten = torch.ops.aten


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
        return self, positive((size[0], *((n - self.size) // (self.stride or self.size) + 1 for n in size[1:])))

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
