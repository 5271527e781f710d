"""Scores that are conserved once repaired: ProsPr with its inner steps, NTK-SAP and PX before their absolute values."""

from collections.abc import Iterator

import torch
from torch import Tensor

from pruning.graph import INPUT, Tap
from pruning.masks import Masks
from pruning.problem import Problem
from theory.calculus import (
    Scalar,
    Tensors,
    conserved,
    conserved_of,
    drawn,
    gradient,
    hessian_times,
    objective_of,
    plus,
    times,
)
from theory.case import Case
from theory.impostors.objectives import gauss_newton, quantised
from theory.law import Balances, Grade, Subject, law
from theory.networks.outside import tanh_net
from theory.subjects import the_loss
from theory.traits import Trait

INNER_STEPS = (1, 3)
LONGEST = 1 / 16  # what the first inner step moves any parameter by, at most: later ones must not overflow
NEARBY = 1 / 16  # how far away NTK-SAP looks, times 1 to 3


@law(
    "C11",
    subject=Subject.OBJECTIVE,
    claim=None,
    needs={Trait.HOMOGENEOUS},
    local=True,
    source="C2 at each inner step; Alizadeh et al. 2022 (ProsPr) for the score; derived",
    impostor=gauss_newton,
    breaks_on=(the_loss, tanh_net),
    grades=(Grade.ORDER,),
)
def lookahead_law(case: Case) -> Iterator[Balances]:
    """ProsPr's theta * dL_T/dtheta_0 after T steps, less 2 eta sum_t g_t * dL_T/dtheta_(t+1), is conserved at units."""
    for steps in INNER_STEPS:
        name = f"{steps} inner step{'s' * (steps > 1)}"
        yield from conserved(case, name, lambda value, at, t=steps: _lookahead(value, at, t))  # type: ignore[misc]


def _lookahead(value: Scalar, at: dict[str, Tensor], steps: int) -> list[Tensors]:
    """theta * dL_T/dtheta_0, and the correction of each step."""
    largest = torch.stack([g.abs().amax() for g in gradient(value, at).values()]).amax()
    rate = LONGEST / torch.where(largest > 0, largest, 1)

    def less(p: Tensors, step: Tensors) -> dict[str, Tensor]:
        return {n: p[n] - rate * step[n] for n in p}

    path, met = [at], list[Tensors]()
    for _ in range(steps):
        met.append(gradient(value, path[-1]))
        path.append(less(path[-1], met[-1]))

    adjoint, corrections = gradient(value, path.pop()), list[Tensors]()  # back by hand: one step's graph at a time
    for here, g in zip(reversed(path), reversed(met), strict=True):
        corrections.append({n: -2 * rate * g[n] * adjoint[n] for n in g})
        adjoint = less(adjoint, hessian_times(value, here, adjoint))
    return [times(at, adjoint), *corrections]


@law(
    "C12",
    subject=Subject.OBJECTIVE,
    claim=None,
    needs={Trait.HOMOGENEOUS},
    local=True,
    source="Wang et al. 2023 (NTK-SAP) without its absolute value: both networks are homogeneous in the mask",
    impostor=quantised,
    breaks_on=(the_loss, tanh_net),
    grades=(Grade.ORDER,),
)
def perturbation_law(case: Case) -> Iterator[Balances]:
    """NTK-SAP before its absolute value, d/dmask of |f(theta) - f(theta + delta)|^2 at 1, is conserved at units."""
    delta = {n: NEARBY * t for n, t in drawn(case, 40).items()}

    def terms(problem: Problem, masks: Masks) -> list[Tensors]:
        _, at = objective_of(case, problem, masks)
        away = plus([at, delta])

        def change(mask: Tensors) -> Tensor:
            here, there = (_outputs(case, problem, masks, times(mask, p)) for p in (at, away))
            return (here - there).square().sum()

        return [gradient(change, {n: torch.ones_like(t) for n, t in at.items()})]

    yield from conserved_of(case, "mask gradient", terms)


@law(
    "C13",
    subject=Subject.OBJECTIVE,
    claim=None,
    needs={Trait.HOMOGENEOUS},
    local=True,
    source="Iurada et al. 2024 (PX) without its square: a path sum over theta^2 with the gates of the real input",
    impostor=quantised,
    breaks_on=(the_loss, tanh_net),
    grades=(Grade.ORDER,),
)
def path_kernel_law(case: Case) -> Iterator[Balances]:
    """theta^2 * dR/d(theta^2) is conserved, R being PX's sum over open paths of squared weights and inputs."""

    def terms(problem: Problem, masks: Masks) -> list[Tensors]:
        _, at = objective_of(case, problem, masks)
        squares = {n: t.square() for n, t in at.items()}
        gated = _gated(case, problem, masks, at)
        slopes = gradient(lambda p: _outputs(case, problem, masks, p, gated).sum(), squares)
        return [times(squares, slopes)]

    yield from conserved_of(case, "theta^2 * dR/d(theta^2)", terms)


def _gated(case: Case, problem: Problem, masks: Masks, at: Tensors) -> Tap:
    """Squares the input, unless that is indices, and leaves open the ReLUs alone that the real input opens."""
    relus = {node.name for node in problem.network.graph.nodes if node.kind == "relu"}
    gates: dict[str, Tensor] = {}

    def look(name: str, made: Tensor) -> Tensor:
        if name in relus:
            gates[name] = (made > 0).to(made)
        return made

    def gated(name: str, made: Tensor) -> Tensor:
        if name == INPUT and made.is_floating_point():
            return made.square()
        return made * gates[name] if name in relus else made

    objective_of(case, problem, masks, look)[0](at)
    return gated


def _outputs(case: Case, problem: Problem, masks: Masks, parameters: Tensors, tap: Tap | None = None) -> Tensor:
    """The network's outputs as the objective sees them."""
    found: list[Tensor] = []

    def keep(name: str, made: Tensor) -> Tensor:
        changed = tap(name, made) if tap else made
        if name == problem.network.graph.output:
            found.append(changed)
        return changed

    objective_of(case, problem, masks, keep)[0](parameters)
    return found[-1]
