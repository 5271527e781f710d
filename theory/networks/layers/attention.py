"""Softmax attention."""

# ruff: noqa: D102 - the protocol Layer says what the methods do

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn

from pruning.graph import Param, Value
from theory.networks import modules
from theory.networks.layers.layer import Layer, Misfit, Size, Wiring
from theory.networks.layers.norms import EPS

aten = torch.ops.aten


@dataclass(frozen=True)
class Attention:
    """Softmax attention over tokens; `kv_heads` below `heads` are grouped queries.

    `rope` rotates queries and keys by position; `qk_norm` is an RMS norm of each head's queries and keys.
    """

    inputs: int
    outputs: int
    heads: int = 1
    kv_heads: int = 1
    width: int = 2
    bias: bool = False
    rope: bool = False
    qk_norm: bool = False
    causal: bool = False

    def parameters(self) -> Mapping[str, Size]:
        made = {"q": self.heads * self.width, "k": self.kv_heads * self.width, "v": self.kv_heads * self.width}
        weights = {f"{n}.weight": (size, self.inputs) for n, size in made.items()}
        weights |= {"o.weight": (self.outputs, self.heads * self.width)}
        biases = {n.replace("weight", "bias"): size[:1] for n, size in weights.items()} if self.bias else {}
        return weights | biases | ({f"{n}.gain": (self.width,) for n in "qk"} if self.qk_norm else {})

    def fitted(self, size: Size) -> tuple[Layer, Size]:
        if len(size) != 2:
            raise Misfit("attention needs tokens")
        kv_heads = self.kv_heads if self.heads % self.kv_heads == 0 else 1
        return replace(self, inputs=size[-1], kv_heads=kv_heads), (size[0], self.outputs)

    def emit(self, wiring: Wiring, x: Value, path: str) -> Value:
        counts = {"q": self.heads, "k": self.kv_heads, "v": self.kv_heads}
        q, k, v = (self._head(wiring, x, path, name, heads) for name, heads in counts.items())
        if self.kv_heads != self.heads:
            repeat = aten.repeat_interleave.self_int
            k, v = (wiring.add(path, repeat, one, self.heads // self.kv_heads, 1) for one in (k, v))
        products = wiring.add(path, aten.matmul.default, q, wiring.add(path, aten.transpose.int, k, -2, -1))
        if self.causal:
            products = wiring.add(path, modules.causal, products)
        weights = wiring.add(path, aten.softmax.int, products, -1)
        made = wiring.add(path, aten.matmul.default, weights, v)
        back = wiring.add(path, aten.transpose.int, made, 1, 2)
        return self._linear(wiring, wiring.add(path, aten.flatten.using_ints, back, 2), path, "o")

    def _head(self, wiring: Wiring, x: Value, path: str, name: str, heads: int) -> Value:
        made = self._linear(wiring, x, path, name)
        made = wiring.add(path, aten.unflatten.int, made, 2, [heads, self.width])
        made = wiring.add(path, aten.transpose.int, made, 1, 2)
        if self.qk_norm and name != "v":
            made = wiring.add(path, aten.rms_norm.default, made, [self.width], Param(f"{path}.{name}.gain"), EPS)
        return wiring.add(path, modules.rotated, made) if self.rope and name != "v" else made

    def _linear(self, wiring: Wiring, x: Value, path: str, name: str) -> Value:
        bias = Param(f"{path}.{name}.bias") if self.bias else None
        return wiring.add(f"{path}.{name}", aten.linear.default, x, Param(f"{path}.{name}.weight"), bias)

    def module(self) -> nn.Module:
        return modules.Attention(
            self.inputs, self.outputs, self.heads, self.kv_heads, self.width, self.bias, self.rope, self.qk_norm,
            self.causal, EPS,
        )  # fmt: skip
