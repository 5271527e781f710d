"""Steps that are not what they say they are."""

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from theory.subjects import Gradient, Moving, Stepper, gradient_descent, heavy_ball, nesterov

Update = Callable[[Stepper, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]  # theta, v, g -> theta', v'


def _made(name: str, like: Stepper, update: Update) -> Stepper:
    """A step that says of itself what `like` does, and moves each parameter by `update`."""

    def step(moving: Moving, gradient: Gradient) -> Moving:
        g, at = gradient(moving.parameters), moving.parameters
        moved = {n: update(like, at[n], moving.velocity[n], g[n]) for n in at}
        return Moving({n: t for n, (t, _) in moved.items()}, {n: v for n, (_, v) in moved.items()})

    return replace(like, name=name, step=step)


def _normalised(like: Stepper, theta: Tensor, v: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    velocity = like.momentum * v + g + like.decay * theta
    return theta - like.rate * velocity / (velocity.abs() + 1e-8), velocity


def _decoupled(like: Stepper, theta: Tensor, v: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    velocity = like.momentum * v + g
    return (1 - like.rate * like.decay) * theta - like.rate * velocity, velocity


def _dampened(like: Stepper, theta: Tensor, v: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    velocity = like.momentum * v + (g + like.decay * theta) / 2
    return theta - like.rate * velocity, velocity


secret_momentum = replace(heavy_ball, name="momentum sold as gradient descent", momentum=0.0)
looking_ahead = replace(nesterov, name="Nesterov's momentum sold as a heavy ball", nesterov=False)
looking_back = replace(heavy_ball, name="a heavy ball sold as Nesterov's", nesterov=True)
normalised_descent = _made("gradient descent normalised as in Adam", gradient_descent, _normalised)
normalised_ball = _made("heavy ball normalised as in Adam", heavy_ball, _normalised)
decoupled = _made("heavy ball with decoupled decay", heavy_ball, _decoupled)
dampened = _made("heavy ball with dampening", heavy_ball, _dampened)
