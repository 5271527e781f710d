"""Architecture: a network whose every number is drawn anew, problem after problem."""

from __future__ import annotations

import math
from collections.abc import Set
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pruning.masks import Tensors
from pruning.network import Network, neutral_constants
from pruning.problem import Problem
from theory.full_size import Model, batch_of_model
from theory.networks.batch import Batch, batch_of
from theory.networks.family import normals
from theory.networks.shape import Shape


@dataclass(frozen=True, eq=False)
class Architecture:
    """What problems are drawn of: its name, one problem of it, and which parameters besides the weights are drawn.

    Other constants, such as masks and positions, stay as they are, and no law speaks of them.
    """

    name: str
    batch: Batch
    learned: tuple[str, ...]

    @classmethod
    def of_shape(cls, name: str, shape: Shape) -> Architecture:
        """A shape under a squared error: laws of saliency hold for every objective, and this one never saturates."""
        parameters = {n: torch.zeros(1, *size).double() for n, size in shape.parameters().items()}
        x, y = (torch.zeros(1, shape.samples, *size).double() for size in (shape.input, shape.output))
        batch = batch_of(shape, parameters, x, y, "squared-error", 0)
        return cls(name, batch, tuple(batch.fixed))

    @classmethod
    def of_problem(cls, name: str, problem: Problem, learned: Set[str]) -> Architecture:
        """A traced network in float64: of its constants those named in `learned`, and what batch norms become.

        Raises ValueError without a batch.
        """
        if problem.batch is None:
            raise ValueError(f"{name} has no batch whose shape is known")
        network = problem.network
        affine = {s.name for s in network.graph.attached if s.name.rpartition(".")[2] in ("scale", "shift")}
        drawn = {n for n, t in network.fixed.items() if t.is_floating_point() and t.numel()} & (learned | affine)
        return cls(name, batch_of_model(Model(name, problem)), tuple(n for n in network.fixed if n in drawn))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each parameter that is drawn, in the order in which the network reads them."""
        named = {**self.batch.weights, **{n: self.batch.fixed[n] for n in self.learned}}
        order = [n for n in _read_in_order(self.batch.network) if n in named]
        return {n: tuple(named[n].shape[1:]) for n in order}

    @property
    def numbers(self) -> int:
        """Numbers in one problem's parameters and constants."""
        return sum(t[0].numel() for t in (*self.batch.weights.values(), *self.batch.fixed.values()))

    def drawn(self, size: int, source: torch.Generator) -> Batch:
        """Problems with every parameter, input and target drawn anew: (size, *shape) each."""
        own = self.batch
        assert own.inputs is not None and own.targets is not None
        weights = {n: _parameter(t, size, source) for n, t in own.weights.items()}
        fixed = {n: _parameter(t, size, source) if n in self.learned else _many(t, size) for n, t in own.fixed.items()}
        bare: Tensors = neutral_constants(own.network.graph, fixed)
        neutral = {n: bare[n] if n in self.learned else _many(t, size) for n, t in own.neutral.items()}
        inputs, targets = (_data(t, size, source) for t in (own.inputs, own.targets))
        return replace(own, weights=weights, fixed=fixed, neutral=neutral, inputs=inputs, targets=targets)


def _read_in_order(network: Network) -> dict[str, None]:
    return dict.fromkeys(name for node in network.graph.nodes for name in node.parameters())


def _parameter(t: Tensor, size: int, source: torch.Generator) -> Tensor:
    """Normal numbers, smaller where more of them are summed: softmax and the like must not saturate."""
    summed = t[0, 0].numel() if t.dim() > 2 else 1
    return normals((size, *t.shape[1:]), source).to(t) / math.sqrt(max(summed, 1))


def _many(t: Tensor, size: int) -> Tensor:
    return t.expand(size, *t.shape[1:])


def _data(t: Tensor, size: int, source: torch.Generator) -> Tensor:
    """Normal numbers; whole ones, such as labels, up to the largest there is."""
    if t.is_floating_point():
        return normals((size, *t.shape[1:]), source).to(t)
    return torch.randint(max(int(t.max()) + 1, 2), (size, *t.shape[1:]), generator=source).to(t)
