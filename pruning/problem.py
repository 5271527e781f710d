"""Problem: a network with the data, loss and seed that a pruner may ask for; Probe: the only door to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from pruning.errors import retold
from pruning.masks import Tensors
from pruning.network import Network
from pruning.watched import Watched

Loss = Callable[[Tensor, Tensor], Tensor]


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Half the summed squared error: its gradient is exact on integers. Raises ValueError for other shapes."""
    if outputs.shape != targets.shape:
        raise ValueError(f"targets are {tuple(targets.shape)}, wanted the outputs' {tuple(outputs.shape)}")
    return (outputs - targets).square().sum() / 2


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean cross-entropy of (..., classes) outputs: one label for each sample, or for each token of each sample."""
    return functional.cross_entropy(outputs.flatten(0, -2), targets.flatten())


LOSSES: dict[str, Loss] = {"cross-entropy": cross_entropy, "squared-error": squared_error}


@dataclass(frozen=True)
class Problem:
    """What a pruner is run on. `batch` is (inputs, targets), or None where there is no data."""

    network: Network
    batch: tuple[Tensor, Tensor] | None
    loss: Loss
    seed: int


def check_batch(problem: Problem) -> None:
    """Raise ValueError for data that the loss can't be had of: one forward pass shows it."""
    if problem.batch is None:
        return
    network, (inputs, targets) = problem.network, problem.batch
    for what, tensor in (("inputs", inputs), ("targets", targets)):
        bad = int((~torch.isfinite(tensor)).sum()) if tensor.is_floating_point() else 0
        if bad:
            raise ValueError(f"the {what} of the batch hold {bad} NaN or infinite values of {tensor.numel()}")
    try:
        with torch.no_grad():
            outputs = network.forward(network.weights, inputs)
            value = problem.loss(outputs, targets)
    except Exception as error:  # the loss may be anybody's
        raise ValueError(f"the loss of the batch can't be had: {retold(error)}") from error
    if not isinstance(value, Tensor) or value.numel() != 1 or not value.is_floating_point():
        got = f"{value.dtype} of {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"the loss of the batch is {got}, wanted a tensor of one real number")


class Probe:
    """The only door to data, labels and randomness. `calls` counts each use, by name."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self.calls: Counter[str] = Counter()

    def batch(self) -> tuple[Tensor, Tensor]:
        """Inputs and targets. Raises ValueError when the problem has no data."""
        self.calls["batch"] += 1
        if self._problem.batch is None:
            raise ValueError("this pruner asks for data, and the problem has none: give it a batch")
        return self._problem.batch

    def unread(self) -> tuple[Tensor, Tensor]:
        """Inputs and targets that count as used once their numbers are read; the example and zeros without data."""
        example = self._problem.network.example
        inputs, targets = self._problem.batch or (example, torch.zeros(len(example), dtype=torch.int64))
        return Watched.over(inputs, self.batch), Watched.over(targets, self.batch)

    @property
    def criterion(self) -> Loss:
        """The loss of outputs and targets, for a scorer that runs a model of its own."""
        return self._problem.loss

    def loss(self, network: Network, weights: Tensors, temperature: float = 1.0) -> Tensor:
        """The loss of the batch under `weights`, its outputs divided by `temperature`."""
        x, targets = self.batch()
        return self._problem.loss(network.forward(weights, x) / temperature, targets)

    def grad(self, network: Network, weights: Tensors, temperature: float = 1.0) -> dict[str, Tensor]:
        """Gradient of the loss by the weights."""
        gradient: dict[str, Tensor] = torch.func.grad(lambda w: self.loss(network, w, temperature))(dict(weights))
        return gradient

    def hvp(
        self, network: Network, weights: Tensors, direction: Tensors | None = None, temperature: float = 1.0
    ) -> dict[str, Tensor]:
        """Hessian of the loss times `direction`, by reverse over reverse; None is the gradient, from the same pass."""

        def slope(w: dict[str, Tensor]) -> Tensor:
            gradient = self.grad(network, w, temperature)
            along = {n: g.detach() for n, g in gradient.items()} if direction is None else direction
            return torch.stack([(gradient[n] * along[n]).sum() for n in gradient]).sum()

        product: dict[str, Tensor] = torch.func.grad(slope)(dict(weights))
        return product

    def ones(self) -> Tensor:
        """One input of ones, shaped like one sample of the network's example: no data in it."""
        return torch.ones_like(self._problem.network.example[:1])

    def rand(self, like: Tensors) -> dict[str, Tensor]:
        """Uniform numbers in [0, 1), shaped like `like`, float64 for masks; seed and number of the call decide them.

        They are drawn on the CPU, so that one seed means the same numbers on every device.
        """
        self.calls["rand"] += 1
        source = torch.Generator().manual_seed((self._problem.seed + self.calls["rand"] * 0x9E3779B97F4A7C15) % 2**63)
        return {n: self._drawn(n, t, source).to(t.device) for n, t in like.items()}

    def _drawn(self, name: str, like: Tensor, source: torch.Generator) -> Tensor:
        together = self._problem.network.together
        kind = like.dtype if like.is_floating_point() else torch.float64
        if together is None:
            return torch.rand(like.shape, dtype=kind, generator=source)
        return together.drawn(name, torch.rand(together.shape(name, like), dtype=kind, generator=source))
