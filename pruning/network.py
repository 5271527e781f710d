"""Network: weights, a pure forward pass over them, and the graph; what is prunable and how norms are treated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from pruning.graph import Graph, Read, Tap
from pruning.masks import Masks, Tensors, check_against


class Together(Protocol):
    """Processes that each hold a part of a network's parameters, and what only all of them can do (pruning.sharded)."""

    def counts(self, name: str) -> bool:
        """Whether this process counts what it holds of a parameter."""

    def summed(self, tensor: Tensor) -> Tensor:
        """The sum of a tensor over all processes."""

    def failure(self, told: str) -> str:
        """The first of what the processes tell of themselves, where one failed; else nothing."""

    def shape(self, name: str, own: Tensor) -> torch.Size:
        """The shape of a whole parameter."""

    def drawn(self, name: str, whole: Tensor) -> Tensor:
        """This process's part of what each has drawn alike."""

    def whole(self, params: Tensors) -> Tensors:
        """The parameters, each gathered when it is read."""

    def grad_and_value(self, of: Callable[[dict[str, Tensor]], Tensor]) -> Callable[[dict[str, Tensor]], Any]:
        """As torch.func.grad_and_value does it."""

    def wrapped(self, tensors: Tensors) -> dict[str, Tensor]:
        """Parts as tensors of torch.distributed."""

    def top_k(self, scores: Tensors, masks: Masks, k: int) -> Masks:
        """The masks of the k highest scores of all processes."""


@dataclass(frozen=True)
class Network:
    """A network as a pure function of its weights.

    weights: the prunable ones, by parameter name: weights of linear and convolution operators.
    fixed: whatever else the forward pass reads: biases, and each batch norm as its evaluation-mode
        affine map (`scale`, `shift`).
    neutral: what `fixed` becomes where a score must not see data or biases: biases and shifts 0,
        scales |gamma| / sqrt(1 + eps), that is running mean 0 and variance 1.
    example: one input batch, for its shape; initial: masks the model came with.
    unpruned: parameters of two axes or more that are none of the weights, and why.
    turns: where the model goes by a value, of which the graph only knows the way that the example takes.
    together: where each process holds a part of each parameter, the others; weights, fixed, neutral and initial are
        then this process's parts.
    """

    graph: Graph
    weights: Tensors
    fixed: Tensors
    neutral: Tensors
    example: Tensor
    initial: Masks
    unpruned: Mapping[str, str] = field(default_factory=dict)
    turns: tuple[str, ...] = ()
    tap: Tap | None = None
    read: Read | None = None
    together: Together | None = None

    @property
    def size(self) -> int:
        """Number of prunable weights, of all processes."""
        return sum(self.whole_shape(name).numel() for name in self.weights)

    def whole_shape(self, name: str) -> torch.Size:
        """The shape of a weight, of all processes' parts together."""
        own = self.weights[name]
        return self.together.shape(name, own) if self.together else own.shape

    def forward(self, weights: Tensors, x: Tensor) -> Tensor:
        """The output for input `x` under `weights`; neither is changed."""
        params = {**self.fixed, **weights}
        return self.graph.run(self.together.whole(params) if self.together else params, x, self.tap, self.read)

    def neutralised(self) -> Network:
        """The same network without biases, norm statistics or shifts: what data-free scores see."""
        return replace(self, fixed=self.neutral)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Network:
        """A copy on another device or in another floating-point type."""

        def moved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {n: t.to(device, dtype if t.is_floating_point() else None) for n, t in tensors.items()}

        return replace(
            self,
            weights=moved(self.weights),
            fixed=moved(self.fixed),
            neutral=moved(self.neutral),
            example=self.example.to(device, dtype if self.example.is_floating_point() else None),
            initial=Masks(moved(self.initial)),
        )

    def with_weights(self, weights: Tensors) -> Network:
        """The same network with other weights. Raises ValueError where names or shapes differ."""
        check_against(self.weights, weights, "weight")
        return replace(self, weights=weights)


def check_finite(weights: Tensors, together: Together | None = None) -> None:
    """Raise ValueError naming the first weight that holds NaN or infinity, and how many; on all processes, if any."""
    for name, weight in weights.items():
        bad = (~torch.isfinite(weight)).sum()
        if together:
            bad = together.summed(bad if together.counts(name) else torch.zeros_like(bad))
        if bad:
            size = together.shape(name, weight).numel() if together else weight.numel()
            raise ValueError(
                f"the weight {name!r} holds {int(bad)} NaN or infinite values of {size}; it can't be scored"
            )


def neutral_constants(graph: Graph, fixed: Tensors) -> dict[str, Tensor]:
    """`fixed` as a score sees it that must not see data or biases: shifts 0, scales and gains without their signs."""
    shifts = {s.name for s in graph.sources}
    factors = {s.name for s in graph.attached} - shifts
    return {n: torch.zeros_like(t) if n in shifts else t.abs() if n in factors else t for n, t in fixed.items()}
