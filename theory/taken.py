"""Taken: one step of a stepper on a case, the numbers before and behind it, and what rounding may do to them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pruning.masks import Masks
from pruning.problem import Problem
from theory.calculus import drawn, entering, gradient, objective_of, times
from theory.case import Case
from theory.numerics import Bound, eta, gamma, largest_integer
from theory.subjects import Moving, Stepper

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

    def around(self, amounts: Stacked) -> Tensor:
        """The sum over what enters each unit and what leaves it: (batch, units)."""
        graph = self.case.graph
        return (entering(graph, amounts) + graph.outgoing(amounts).abs())[:, self.case.units]

    def reach(self) -> Stacked:
        """M: |theta| + eta times the absolute terms of the velocity, and of the step where that looks ahead."""
        step = stepper_of(self.case)
        times_ = 2 + step.momentum if step.nesterov else 1.0  # s = (1 + mu) v' - mu v, or d + mu v'
        speed = {
            n: step.momentum * self.v[n].abs() + self.g[n].abs() + step.decay * t.abs() for n, t in self.theta.items()
        }
        return {n: t.abs() + step.rate * times_ * speed[n] for n, t in self.theta.items()}

    def exact(self) -> Tensor:
        """Per problem: whether g, the step and the squares were computed without rounding.

        With integers before the step and powers of two for its constants, all numbers are multiples of
        `grain`, and squares of its square; so are sums, while they stay below 2^53 of them.
        """
        step, constants = stepper_of(self.case), self.constants()
        if any(math.frexp(c)[0] != 0.5 for c in constants):
            return torch.zeros(self.case.batch.size, dtype=torch.bool)
        grain = math.prod(min(c, 1.0) for c in constants) * (step.momentum if step.nesterov else 1.0)
        squares = torch.stack([m.square().flatten(1).sum(1) for m in self.reach().values()]).sum(0)
        return self.case.exact & (squares < largest_integer(self.case.dtype) * grain**2)

    def constants(self) -> list[float]:
        """eta, lambda and mu, where they are not 0."""
        step = stepper_of(self.case)
        return [c for c in (step.rate, step.decay, step.momentum) if c]

    def bound(self, per: float = 1.0) -> Bound | None:
        """What rounding may do to D' (`per` = 1), and to P' (`per` = eta), at each unit: (batch, units).

        In exact numbers the law is off by 2 eta (1 + mu) (1 + eta lambda) times the balance of the computed g
        at most, and that is within the neuron's bound. theta' and v' as computed are off by gamma_16 M at
        most (up to 9 operations, and the constants themselves), their squares and products by gamma_33 M^2,
        the sums of n of them by n - 1 roundings more; the right side has no more terms and its own
        coefficients. 48 pays for both and for M, the gap and the bound. A product lost to underflow is off
        by eta, and multiplied by M at most.
        """
        case, step, m = self.case, stepper_of(self.case), self.reach()
        if case.flow is None:
            return None
        count = self.around({n: torch.ones_like(t) for n, t in m.items()}).long()
        flows = 2 * step.rate * (1 + step.momentum) * (1 + step.rate * step.decay) * case.flow.bound[:, case.units]
        roundings = 2 * gamma(count + 48, case.dtype) * self.around(times(m, m))
        size = flows + roundings + 16 * eta(case.dtype) * (self.around(m) + count)
        exact = self.exact()
        return Bound(torch.where(exact.unsqueeze(1), 0.0, size / per), exact)


def stepper_of(case: Case) -> Stepper:
    """The stepper that a case is about."""
    assert case.stepper is not None
    return case.stepper


def take(case: Case) -> Taken:
    """One step from the case's parameters, at velocities that were drawn."""
    v = drawn(case, 30)

    def one(problem: Problem, masks: Masks) -> Stacked:
        value, at = objective_of(case, problem, masks)
        moved = stepper_of(case).step(Moving(at, v), lambda p: gradient(value, p))
        parts = {"theta": at, "g": gradient(value, at), "after": moved.parameters, "velocity": moved.velocity}
        return {f"{part}/{n}": t for part, tensors in parts.items() for n, t in tensors.items()}

    flat = case.each(one)
    theta, g, after, velocity = (
        {n.removeprefix(f"{part}/"): t for n, t in flat.items() if n.startswith(f"{part}/")}
        for part in ("theta", "g", "after", "velocity")
    )
    return Taken(case, theta, {n: v[n].expand_as(t) for n, t in theta.items()}, g, after, velocity)
