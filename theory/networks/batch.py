"""Batch: problems of one shape, stacked, so that hundreds are checked at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from pruning.graph import Graph
from pruning.masks import Masks
from pruning.network import Network, neutral_constants
from pruning.problem import LOSSES, Loss, Problem
from theory.networks.shape import Shape, graph_of
from theory.networks.together import together


@dataclass(frozen=True)
class Batch:
    """Problems of one shape, stacked: every tensor has a leading axis over the problems.

    network gives the graph and the example; its own weights are not used. `neutral` is what data-free
    scores see in place of `fixed`. `loss` is a name in pruning.problem.LOSSES or a function. `shape` is
    None for a traced model, which can't be written out.
    """

    network: Network
    weights: dict[str, Tensor]
    fixed: dict[str, Tensor]
    neutral: dict[str, Tensor]
    inputs: Tensor | None
    targets: Tensor | None
    loss: str | Loss
    seed: int
    shape: Shape | None

    @property
    def size(self) -> int:
        """Number of problems."""
        return len(next(iter(self.weights.values())))

    def problem(self, index: int) -> Problem:
        """One of the problems, alone; its tensors are views."""
        return self.unstacked({k: t[index] for k, t in self.stacked().items()})

    def stacked(self) -> dict[str, Tensor]:
        """Every stacked tensor in one flat mapping, the form that vmap takes."""
        groups = {"weights": self.weights, "fixed": self.fixed, "neutral": self.neutral}
        flat = {f"{group}/{n}": t for group, tensors in groups.items() for n, t in tensors.items()}
        if self.inputs is not None and self.targets is not None:
            flat |= {"inputs": self.inputs, "targets": self.targets}
        return flat

    def unstacked(self, flat: Mapping[str, Tensor], mapped: bool = False) -> Problem:
        """The problem of one slice of `stacked()`; `mapped` where vmap slices it."""

        def group(name: str) -> dict[str, Tensor]:
            return {k.removeprefix(name + "/"): t for k, t in flat.items() if k.startswith(name + "/")}

        batch = (flat["inputs"], flat["targets"]) if "inputs" in flat else None
        shared = replace(self.network, graph=self._mapped) if mapped else self.network
        network = replace(shared, weights=group("weights"), fixed=group("fixed"), neutral=group("neutral"))
        loss = LOSSES[self.loss] if isinstance(self.loss, str) else self.loss
        return Problem(network, batch, loss, self.seed)

    @cached_property
    def _mapped(self) -> Graph:
        return together(self.network.graph)

    def to(self, dtype: torch.dtype | None = None, device: torch.device | None = None) -> Batch:
        """A copy in another floating-point type or on another device."""

        def one(tensor: Tensor) -> Tensor:
            return tensor.to(device, dtype if tensor.is_floating_point() else None)

        def moved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {n: one(t) for n, t in tensors.items()}

        return replace(
            self,
            network=replace(self.network, example=one(self.network.example)),
            weights=moved(self.weights),
            fixed=moved(self.fixed),
            neutral=moved(self.neutral),
            inputs=None if self.inputs is None else one(self.inputs),
            targets=None if self.targets is None else one(self.targets),
        )

    def only(self, index: int) -> Batch:
        """The batch that holds just one of the problems."""

        def one(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {n: t[index : index + 1] for n, t in tensors.items()}

        return replace(
            self,
            weights=one(self.weights),
            fixed=one(self.fixed),
            neutral=one(self.neutral),
            inputs=None if self.inputs is None else self.inputs[index : index + 1],
            targets=None if self.targets is None else self.targets[index : index + 1],
        )

    def singles(self) -> Iterator[Problem]:
        """Each problem alone."""
        return (self.problem(i) for i in range(self.size))


def batch_of(
    shape: Shape,
    tensors: Mapping[str, Tensor],
    inputs: Tensor | None,
    targets: Tensor | None,
    loss: str,
    seed: int,
) -> Batch:
    """Problems of `shape` from stacked weights and biases."""
    graph = graph_of(shape)
    weights = {n: tensors[n] for n in graph.weights}
    fixed = {n: t for n, t in tensors.items() if n not in weights}
    neutral = neutral_constants(graph, fixed)
    first = next(iter(tensors.values()))
    example = torch.ones((shape.samples, *shape.input), dtype=first.dtype, device=first.device)
    network = Network(
        graph, {n: w[0] for n, w in weights.items()}, {}, {}, example, Masks.full({n: w[0] for n, w in weights.items()})
    )
    return Batch(network, weights, fixed, neutral, inputs, targets, loss, seed, shape)
