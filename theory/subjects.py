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

    rate, decay, momentum, nesterov: what the step says of itself: eta, lambda and mu of the laws that speak of
    it, and whether the gradient is followed by the velocity it leads to.
    """

    name: str
    step: Callable[[Moving, Gradient], Moving]
    rate: float
    decay: float = 0.0
    momentum: float = 0.0
    nesterov: bool = False
    claims: frozenset[Claim] = field(default_factory=frozenset)


def sgd(name: str, rate: float, decay: float = 0.0, momentum: float = 0.0, nesterov: bool = False) -> Stepper:
    """A step of torch.optim.SGD, without dampening, operation by operation.

    d = g + decay * theta; v' = momentum * v + d; theta' = theta - rate * v', and with Nesterov's momentum
    theta - rate * (d + momentum * v'). Without momentum theta' = theta - rate * d, and velocities stay as they are.
    """

    def step(moving: Moving, gradient: Gradient) -> Moving:
        slopes, after, velocity = gradient(moving.parameters), {}, dict(moving.velocity)
        for name, theta in moving.parameters.items():
            d = slopes[name].add(theta, alpha=decay) if decay else slopes[name]
            if momentum:
                velocity[name] = velocity[name].mul(momentum).add(d)
                d = d.add(velocity[name], alpha=momentum) if nesterov else velocity[name]
            after[name] = theta.add(d, alpha=-rate)
        return Moving(after, velocity)

    return Stepper(name, step, rate, decay, momentum, nesterov)


# powers of two, so that integer problems stay exact
gradient_descent = sgd("gradient descent", rate=1 / 8, decay=1 / 4)
heavy_ball = sgd("heavy ball", rate=1 / 8, decay=1 / 4, momentum=1 / 2)
nesterov = sgd("Nesterov's momentum", rate=1 / 8, decay=1 / 4, momentum=1 / 2, nesterov=True)

Subjected = Pruner | Stepper


def built_in() -> dict[str, Subjected]:
    """What laws of objectives, modules and steps are checked on, by name."""
    return {s.name: s for s in (the_loss, gradient_descent, heavy_ball, nesterov)}
