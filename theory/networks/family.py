"""Family: a way to draw networks; Hypothesis draws shapes and seeds, a seeded generator draws the numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st
from torch import Tensor

from theory.networks.batch import Batch, batch_of
from theory.networks.drawing import BACKEND
from theory.networks.shape import Shape

Draw = Callable[[tuple[int, ...], torch.Generator], Tensor]


@dataclass(frozen=True)
class Family:
    """Networks of one kind.

    shapes: the strategy that draws shapes; numbers: draws weights and biases; inputs: draws inputs;
    loss: a name in pruning.problem.LOSSES, where there is more than one output; generic: the numbers are real,
    so that no two sums tie or cancel exactly; order: simplest first, for witnesses come from the first family
    that breaks a law.
    """

    name: str
    shapes: st.SearchStrategy[Shape]
    numbers: Draw
    inputs: Draw
    loss: str
    generic: bool
    order: int

    def batch(self, shape: Shape, seed: int, size: int) -> Batch:
        """`size` problems of one shape, decided by `seed`."""
        source = torch.Generator().manual_seed(seed)
        tensors = {n: self.numbers((size, *s), source) for n, s in shape.parameters().items()}
        inputs = self.inputs((size, shape.samples, *shape.input), source)
        # the softmax of one class is constant
        loss = self.loss if shape.output[-1] > 1 else "squared-error"
        if loss == "cross-entropy":
            targets = torch.randint(shape.output[-1], (size, shape.samples), generator=source)
        else:
            targets = self.inputs((size, shape.samples, *shape.output), source)
        return batch_of(shape, tensors, inputs, targets, loss, seed)


@lru_cache(maxsize=64)
def examples(family: Family, count: int, seed: int) -> tuple[tuple[Shape, int], ...]:
    """`count` shapes of the family, each with a seed for its numbers; the same for the same arguments."""
    drawn: list[tuple[Shape, int]] = []

    @hypothesis_seed(seed)
    @settings(
        max_examples=count,
        backend=BACKEND,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    @given(family.shapes, st.integers(0, 2**31 - 1))
    def collect(shape: Shape, numbers: int) -> None:
        drawn.append((shape, numbers))

    collect()
    return tuple(drawn[:count])


def integers(shape: tuple[int, ...], source: torch.Generator) -> Tensor:
    """Weights from 1, 2, -1, -2, 3, -3, 0, evenly."""
    choices = torch.tensor([1, 2, -1, -2, 3, -3, 0], dtype=torch.float64)
    return choices[torch.randint(len(choices), shape, generator=source)]


def small_integers(shape: tuple[int, ...], source: torch.Generator) -> Tensor:
    """Inputs from -2 to 3."""
    return torch.randint(-2, 4, shape, generator=source).double()


def normals(shape: tuple[int, ...], source: torch.Generator) -> Tensor:
    """Standard normal numbers that float32 holds exactly, so that both precisions see one network."""
    return torch.randn(shape, generator=source, dtype=torch.float32).double()
