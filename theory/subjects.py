"""Subjects that are no pruners: the objective and the optimiser that some laws are about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from pruning.pruner import Claim, Pruner, saliency, scored
from pruning.pruners.snip import loss

Tensors = Mapping[str, Tensor]
Gradient = Callable[[Tensors], dict[str, Tensor]]  # of the loss, by every parameter

# theta * dL/dtheta, signs and all: the laws of objectives and of operators are checked on the loss of a batch
the_loss = scored("saliency of the loss", saliency(loss), objective=loss)


@dataclass(frozen=True)
class Moving:
    """Where an optimiser stands: parameters and velocities."""

    parameters: Tensors
    velocity: Tensors


@dataclass(frozen=True)
class Stepper:
    """A step of an optimiser: from parameters, velocities and the gradient at any parameters to the next ones.

    rate, decay, momentum: eta, lambda and mu of the laws that speak of it.
    """

    name: str
    step: Callable[[Moving, Gradient], Moving]
    rate: float
    decay: float = 0.0
    momentum: float = 0.0
    claims: frozenset[Claim] = field(default_factory=frozenset)


Subjected = Pruner | Stepper
