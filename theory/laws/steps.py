"""Laws of training steps, exact at any step size: what gradient descent and momentum do to the balance of a unit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pruning.masks import Masks
from pruning.problem import Problem
from theory.calculus import by_certificate, drawn, entering, gradient, objective_of, place_of, times, unit_balances
from theory.case import Case
from theory.impostors.steps import decoupled, looking_ahead, looking_back, normalised_ball
from theory.impostors.steps import secret_momentum
from theory.law import Balances, Grade, Subject, law, told
from theory.networks.beyond import relu_pair
from theory.networks.outside import tanh_net
from theory.numerics import Bound, eta, gamma, largest_integer
from theory.subjects import Moving, Stepper, gradient_descent, heavy_ball, nesterov
from theory.traits import Trait, bottlenecks

GRADES = (Grade.EXACT, Grade.ROUNDED, Grade.ORDER)
Stacked = dict[str, Tensor]  # by parameter, (batch, *shape)


@dataclass(frozen=True)
class Taken:
    """A step that was taken: theta, v and g before it, theta' and v' behind it."""

    case: Case
    theta: Stacked
    v: Stacked
    g: Stacked
    after: Stacked
    velocity: Stacked

    def excess(self, a: Stacked, b: Stacked) -> Tensor:
        """<a, b> over what enters each unit, less the same over what leaves it: (batch, units)."""
        products = times(a, b)
        return (entering(self.case.graph, products) - self.case.graph.outgoing(products))[:, self.case.units]

    def reach(self) -> Stacked:
        """M: |theta| and the absolute terms of the step; no number on the way exceeds it, once times eta."""
        step = _stepper(self.case)
        weight = 1 + step.momentum if step.nesterov else 1.0
        kicks = {n: self.g[n].abs() + step.decay * t.abs() for n, t in self.theta.items()}
        moves = {n: weight * (step.momentum * self.v[n].abs() + k) for n, k in kicks.items()}
        extra = kicks if step.nesterov else {n: torch.zeros_like(k) for n, k in kicks.items()}
        return {n: t.abs() + step.rate * (moves[n] + extra[n]) for n, t in self.theta.items()}

    def exact(self) -> Tensor:
        """Per problem: whether g, the step and the squares were computed without rounding.

        With integers before the step and powers of two for its constants, all numbers are multiples of
        `grain`, and squares of its square; so are sums, while they stay below 2^53 of them.
        """
        step, constants = _stepper(self.case), self.constants()
        if any(math.frexp(c)[0] != 0.5 for c in constants):
            return torch.zeros(self.case.batch.size, dtype=torch.bool)
        grain = math.prod(min(c, 1.0) for c in constants) * (step.momentum if step.nesterov else 1.0)
        squares = torch.stack([m.square().flatten(1).sum(1) for m in self.reach().values()]).sum(0)
        return self.case.exact & (squares < largest_integer(self.case.dtype) * grain**2)

    def constants(self) -> list[float]:
        """eta, lambda and mu, where they are not 0."""
        step = _stepper(self.case)
        return [c for c in (step.rate, step.decay, step.momentum) if c]

    def bound(self, per: float = 1.0) -> Bound | None:
        """What rounding may do to D' (`per` = 1), and to P' (`per` = eta), at each unit.

        In exact numbers the law is off by 2 eta times the balance of the computed g (the factor is less where
        there is decay), which the neuron's bound limits. theta' and v' as computed are off by gamma_16 M at
        most (up to 9 operations, and the constants themselves), their squares and products by gamma_33 M^2,
        the sums of n of them by n - 1 roundings more; the right side has no more terms and its own
        coefficients. 48 pays for both and for M, the gap and the bound. A product lost to underflow is off
        by eta, and multiplied by M at most.
        """
        case, graph = self.case, self.case.graph
        if case.flow is None:
            return None
        ones = {n: torch.ones_like(t[0]) for n, t in self.theta.items()}
        count = (entering(graph, ones) + graph.outgoing(ones))[case.units].long()
        m = self.reach()
        squares, sums = ((entering(graph, x) + graph.outgoing(x))[:, case.units] for x in (times(m, m), m))
        rate = _stepper(case).rate
        flows = 2 * rate * (1 + _stepper(case).momentum) * case.flow.bound[:, case.units]
        size = flows + 2 * gamma(count + 48, case.dtype) * squares + 16 * eta(case.dtype) * (sums + count)
        exact = self.exact()
        return Bound(torch.where(exact.unsqueeze(1), 0.0, size / per), exact)


def _stepper(case: Case) -> Stepper:
    assert case.stepper is not None
    return case.stepper


def _taken(case: Case) -> Taken:
    """One step from the case's parameters, at velocities that were drawn."""
    v = drawn(case, 30)

    def one(problem: Problem, masks: Masks) -> Stacked:
        value, at = objective_of(case, problem, masks)
        moved = _stepper(case).step(Moving(at, v), lambda p: gradient(value, p))
        parts = {"theta": at, "g": gradient(value, at), "after": moved.parameters, "velocity": moved.velocity}
        return {f"{part}/{n}": t for part, tensors in parts.items() for n, t in tensors.items()}

    flat = case.each(one)
    theta, g, after, velocity = (
        {n.removeprefix(f"{part}/"): t for n, t in flat.items() if n.startswith(f"{part}/")}
        for part in ("theta", "g", "after", "velocity")
    )
    return Taken(case, theta, {n: v[n].expand_as(t) for n, t in theta.items()}, g, after, velocity)


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
    step = _stepper(case)
    if step.momentum or not len(case.units):
        return
    taken = _taken(case)
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
    step = _stepper(case)
    if not step.momentum or step.nesterov or not len(case.units):
        return
    t = _taken(case)
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
    step = _stepper(case)
    if not step.nesterov or not len(case.units):
        return
    t, mu = _taken(case), step.momentum
    before = t.excess(t.theta, t.theta)
    drift = mu * t.excess(t.theta, t.v) + step.decay * before
    s = {n: (1 + mu) * v - mu * t.v[n] for n, v in t.velocity.items()}
    moved = before - 2 * step.rate * (step.decay * before + mu * drift) + step.rate**2 * t.excess(s, s)
    yield _compared(t, "D", t.excess(t.after, t.after), moved)
    yield _compared(t, "P", t.excess(t.after, t.velocity), drift - step.rate * t.excess(s, t.velocity), per=step.rate)


def _compared(taken: Taken, name: str, left: Tensor, right: Tensor, per: float = 1.0) -> Balances:
    case, m = taken.case, taken.reach()
    size = times(m, m)
    scale = (entering(case.graph, size) + case.graph.outgoing(size).abs())[:, case.units] / per
    where = unit_balances(case, name, left, right, scale, bound=taken.bound(per))
    return where


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
    step = _stepper(case)
    if not step.momentum or step.nesterov:
        return
    taken = None
    for junction in bottlenecks(case.graph, activated=case.outside):
        if junction.units < 2 or (junction.objections and not case.outside):
            continue
        taken = taken or _taken(case)
        rows, columns = torch.triu_indices(junction.units, junction.units, 1)
        old, old_size = _turning(junction, taken.theta, taken.v)
        new, new_size = _turning(junction, taken.after, taken.velocity)
        size = (new_size + step.momentum * old_size)[:, rows, columns]
        left, right = new[:, rows, columns], step.momentum * old[:, rows, columns]

        def label(b: int, u: int, x: Tensor = left, y: Tensor = right, first: int = junction.first) -> str:
            pair = " and ".join(place_of(case, first + int(i[u])) for i in (rows, columns))  # noqa: B023
            return f"{pair}: J' = {', mu J = '.join(told(x[b, u], y[b, u]))}"

        yield from by_certificate(f"J after {junction.name}", left, right, size, taken.exact(), label)
