"""Laws of training steps, exact at any step size: what gradient descent and momentum do to the balance of a unit."""

from collections.abc import Iterator

import torch
from torch import Tensor

from pruning.graph import Junction
from theory.calculus import by_certificate, factors, place_of, times, unit_balances
from theory.case import Case
from theory.impostors.steps import decoupled, looking_ahead, looking_back, secret_momentum
from theory.law import Balances, Grade, Subject, law, told
from theory.networks.beyond import relu_pair
from theory.networks.outside import tanh_net
from theory.subjects import gradient_descent, heavy_ball, nesterov
from theory.taken import Stacked, Taken, stepper_of, take
from theory.traits import Trait, bottlenecks

GRADES = (Grade.EXACT, Grade.ROUNDED, Grade.ORDER)


@law(
    "C9",
    subject=Subject.STEP,
    claim=None,
    needs={Trait.HOMOGENEOUS},
    local=True,
    source="Du, Hu, Lee 2018 for the gradient flow; exact for a step, derived",
    impostor=secret_momentum,
    breaks_on=(gradient_descent, tanh_net),
    grades=GRADES,
)
def balancedness(case: Case) -> Iterator[Balances]:
    """A gradient step takes D = |in|^2 - |out|^2 to (1 - eta lambda)^2 D + eta^2 (|g_in|^2 - |g_out|^2)."""
    step = stepper_of(case)
    if step.momentum or not len(case.units):
        return
    taken = take(case)
    kept = (1 - step.rate * step.decay) ** 2 * taken.excess(taken.theta, taken.theta)
    grown = step.rate**2 * taken.excess(taken.g, taken.g)
    yield _compared(taken, "D", taken.excess(taken.after, taken.after), kept + grown)


@law(
    "C10",
    subject=Subject.STEP,
    claim=None,
    needs={Trait.HOMOGENEOUS},
    local=True,
    source="Theorem 1 of Tanaka et al. 2020 and the step of torch.optim.SGD; derived",
    impostor=decoupled,
    breaks_on=(heavy_ball, tanh_net),
    grades=GRADES,
)
def heavy_ball_law(case: Case) -> Iterator[Balances]:
    """Momentum: D' = D - 2 eta (mu P + lambda D) + eta^2 V', P' = mu P + lambda D - eta V'; P = <theta, v>, V = |v|^2.

    D, P and V are of what enters a unit less what leaves it.
    """
    step = stepper_of(case)
    if not step.momentum or step.nesterov or not len(case.units):
        return
    t = take(case)
    before, pushed, speed = t.excess(t.theta, t.theta), t.excess(t.theta, t.v), t.excess(t.velocity, t.velocity)
    drift = step.momentum * pushed + step.decay * before
    yield _compared(t, "D", t.excess(t.after, t.after), before - 2 * step.rate * drift + step.rate**2 * speed)
    yield _compared(t, "P", t.excess(t.after, t.velocity), drift - step.rate * speed, per=step.rate)


@law(
    "C10n",
    subject=Subject.STEP,
    claim=None,
    needs={Trait.HOMOGENEOUS},
    local=True,
    source="as C10; derived",
    impostor=looking_back,
    breaks_on=(nesterov, tanh_net),
    grades=GRADES,
)
def nesterov_law(case: Case) -> Iterator[Balances]:
    """Nesterov: D' = D - 2 eta (lambda D + mu Q) + eta^2 |s|^2, P' = Q - eta <s, v'>; Q = mu P + lambda D.

    s = (1 + mu) v' - mu v is the step, over eta; P = <theta, v>; all of what enters a unit less what leaves it.
    """
    step = stepper_of(case)
    if not step.nesterov or not len(case.units):
        return
    t, mu = take(case), step.momentum
    before = t.excess(t.theta, t.theta)
    drift = mu * t.excess(t.theta, t.v) + step.decay * before
    s = {n: (1 + mu) * v - mu * t.v[n] for n, v in t.velocity.items()}
    moved = before - 2 * step.rate * (step.decay * before + mu * drift) + step.rate**2 * t.excess(s, s)
    yield _compared(t, "D", t.excess(t.after, t.after), moved)
    yield _compared(t, "P", t.excess(t.after, t.velocity), drift - step.rate * t.excess(s, t.velocity), per=step.rate)


def _compared(taken: Taken, name: str, left: Tensor, right: Tensor, per: float = 1.0) -> Balances:
    m = taken.reach()
    scale = taken.around(times(m, m)) / per
    return unit_balances(
        taken.case, name, left, right, scale, bound=taken.bound(per), sides=("after the step", "by the law")
    )


@law(
    "C10'",
    subject=Subject.STEP,
    claim=None,
    needs={Trait.LINEAR},
    source="a linear bottleneck does not see rotations of its units; derived",
    impostor=looking_ahead,
    breaks_on=(heavy_ball, relu_pair),
    grades=(Grade.EXACT, Grade.ORDER),
)
def angular_momentum(case: Case) -> Iterator[Balances]:
    """J = W v^T - v W^T, summed over the two factors of a linear bottleneck, becomes mu J, whatever the step size."""
    step = stepper_of(case)
    if not step.momentum or step.nesterov:
        return
    taken = None
    for junction in bottlenecks(case.graph, activated=case.outside):
        if junction.units < 2 or (junction.objections and not case.outside):
            continue
        taken = taken or take(case)
        rows, columns = torch.triu_indices(junction.units, junction.units, 1)
        old, old_size = _turning(junction, taken.theta, taken.v)
        new, new_size = _turning(junction, taken.after, taken.velocity)
        size = (new_size + step.momentum * old_size)[:, rows, columns]
        left, right = new[:, rows, columns], step.momentum * old[:, rows, columns]

        def label(b: int, u: int, x: Tensor = left, y: Tensor = right, first: int = junction.first) -> str:
            pair = " and ".join(place_of(case, first + int(i[u])) for i in (rows, columns))  # noqa: B023
            return f"{pair}: J' = {', mu J = '.join(told(x[b, u], y[b, u]))}"

        yield from by_certificate(f"J after {junction.name}", left, right, size, taken.exact(), label)


def _turning(junction: Junction, a: Stacked, b: Stacked) -> tuple[Tensor, Tensor]:
    """A B^T - B A^T, summed over the factors of a bottleneck, and the sum of its absolute terms."""
    first, second = factors(junction, a), factors(junction, b)
    signed = [x @ y.mT - y @ x.mT for x, y in zip(first, second, strict=True)]
    sizes = [x.abs() @ y.abs().mT + y.abs() @ x.abs().mT for x, y in zip(first, second, strict=True)]
    return signed[0] + signed[1], sizes[0] + sizes[1]
