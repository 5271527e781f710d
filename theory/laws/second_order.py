"""Laws of second derivatives, for every objective: tangents, GraSP's defect, curvature, constraints on the Hessian."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from pruning.graph import Edge
from pruning.masks import Masks
from pruning.problem import Problem
from theory.calculus import (
    Scalar,
    Tensors,
    conserved,
    drawn,
    entering,
    gradient,
    hessian_times,
    multiplied,
    objective_of,
    place_of,
    scalable,
    sizes,
    times,
    unit_balances,
)
from theory.case import Case
from theory.impostors.objectives import damped, first_order, gauss_newton, two_temperatures
from theory.law import Balances, Grade, Subject, counted, equal, law
from theory.networks.outside import tanh_net
from theory.numerics import safe_from_underflow
from theory.subjects import the_loss
from theory.traits import Trait

ORDER = (Grade.ORDER,)
SAMPLES = 6  # units that are looked at one by one in each network
ENTRIES = 4096  # of a weight tensor: those around such a unit and those elsewhere, at random where there are more


@law(
    "C2",
    subject=Subject.OBJECTIVE,
    claim=None,
    needs={Trait.HOMOGENEOUS},
    local=True,
    source="the derivative of Theorem 1 of Tanaka et al. 2020 along v",
    impostor=first_order,
    breaks_on=(the_loss, tanh_net),
    grades=ORDER,
)
def tangent_law(case: Case) -> Iterator[Balances]:
    """For any direction v, v * g + theta * (H v) enters a hidden unit as it leaves it."""
    v = drawn(case, 10)

    def terms(value: Scalar, at: Tensors) -> list[Tensors]:
        return [times(v, gradient(value, at)), times(at, hessian_times(value, at, v))]

    yield from conserved(case, "v * g + theta * H v", terms)


@law(
    "C3",
    subject=Subject.OBJECTIVE,
    claim=None,
    needs={Trait.HOMOGENEOUS},
    local=True,
    source="C2 at v = g of the same batch and temperature; corrects the conservation of GraSP",
    impostor=two_temperatures,
    breaks_on=(the_loss, tanh_net),
    grades=ORDER,
)
def grasp_defect(case: Case) -> Iterator[Balances]:
    """GraSP, -theta * (H g), is off by |g_in|^2 - |g_out|^2 at each hidden unit: theta * (H g) + g^2 is conserved."""

    def terms(value: Scalar, at: Tensors) -> list[Tensors]:
        g = gradient(value, at)
        return [times(at, hessian_times(value, at, g)), times(g, g)]

    yield from conserved(case, "theta * H g + g^2", terms)


@law(
    "C4",
    subject=Subject.OBJECTIVE,
    claim=None,
    needs={Trait.HOMOGENEOUS},
    local=True,
    source="C2 at v = theta, less Theorem 1",
    impostor=damped,
    breaks_on=(the_loss, tanh_net),
    grades=(Grade.EXACT, Grade.ORDER),
)
def curvature_law(case: Case) -> Iterator[Balances]:
    """theta * (H theta) enters a hidden unit as it leaves it, and rescaling units by powers of two changes no bit."""

    def terms(value: Scalar, at: Tensors) -> list[Tensors]:
        return [times(at, hessian_times(value, at, at))]

    yield from conserved(case, "theta * H theta", terms)
    yield from _unmoved(case)


def _unmoved(case: Case) -> Iterator[Balances]:
    """theta * (H theta) of weights before and after a rescaling: powers of two change no mantissa."""
    units = scalable(case)
    if not len(units):
        return

    def one(problem: Problem, masks: Masks) -> dict[str, Tensor]:
        value, at = objective_of(case, problem, masks)
        made = times(at, hessian_times(value, at, at))
        return {n: made[n].flatten() for n in problem.network.weights}

    powers = torch.exp2(torch.randint(1, 4, (case.graph.units,), generator=case.source(11)).double())
    by = torch.ones(case.graph.units, dtype=case.dtype, device=units.device)
    by[units] = powers.to(by)[units]
    before, after = case.each(one), multiplied(case, entering=by, leaving=1 / by).each(one)
    for name, old in before.items():
        says = safe_from_underflow(old) & safe_from_underflow(after[name])
        scale = torch.where(says | (old != 0) & (after[name] == 0) & safe_from_underflow(old), old.abs(), 0)
        yield equal(f"theta * H theta of {name}", after[name], old, bound=counted(old), scale=scale)


@law(
    "C5",
    subject=Subject.OBJECTIVE,
    claim=None,
    needs={Trait.HOMOGENEOUS},
    local=True,
    source="the second derivatives of C1 by the factors; derived",
    impostor=damped,
    breaks_on=(the_loss, tanh_net),
    grades=ORDER,
)
def block_curvature(case: Case) -> Iterator[Balances]:
    """For hidden units i and j, theta' H theta is the same over the weights into i and j as over those out of them."""
    units = scalable(case)
    if not len(units):
        return
    chosen = _sampled(case, units, 12)
    found = case.each(lambda problem, masks: _blocks(case, problem, masks, chosen, units))
    for i, unit in enumerate(chosen.tolist()):
        into, out, scale = (found[part][:, i] for part in ("into", "out", "scale"))
        yield unit_balances(case, f"curvature with {place_of(case, unit)}", into, out, scale, units)


def _blocks(case: Case, problem: Problem, masks: Masks, chosen: Tensor, units: Tensor) -> dict[str, Tensor]:
    """theta' H theta between each unit and the chosen ones: over what enters both, and over what leaves both."""
    value, at = objective_of(case, problem, masks)
    graph = problem.network.graph

    def block(own: Tensor) -> dict[str, Tensor]:
        into, out = (times(at, hessian_times(value, at, part)) for part in _parts(case, at, own))
        scale = entering(graph, sizes([into])) + graph.outgoing(sizes([out]))
        return {"into": entering(graph, into)[units], "out": graph.outgoing(out)[units], "scale": scale[units]}

    found: dict[str, Tensor] = case.in_turn(block, _axes(case, chosen))
    return found


def _axes(case: Case, chosen: Tensor) -> Tensor:
    """1 at one of the chosen units: (chosen, units)."""
    axes = torch.zeros(len(chosen), case.graph.units, dtype=case.dtype, device=chosen.device)
    return axes.scatter(1, chosen.unsqueeze(1), 1)


def _parts(case: Case, at: Tensors, own: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The parameters that enter a unit, and those that leave it; 0 elsewhere. own: 1 at the unit, 0 elsewhere."""
    graph = case.graph
    into = {s.name: at[s.name] * own[s.units.to(own.device)] for s in graph.entering}
    out = {s.name: torch.zeros_like(at[s.name]) for s in graph.entering}
    for edge in graph.edges:  # a tied weight touches no unit that is looked at here, save outside the hypotheses
        into[edge.weight] = at[edge.weight] * edge.per_head(own)
        out[edge.weight] = at[edge.weight] * edge.per_tail(own)
    return into, out


@law(
    "C6",
    subject=Subject.OBJECTIVE,
    claim=None,
    needs={Trait.HOMOGENEOUS},
    local=True,
    source="the gradient of Theorem 1; Kunin et al. 2021 (Neural Mechanics)",
    impostor=gauss_newton,
    breaks_on=(the_loss, tanh_net),
    grades=ORDER,
)
def hessian_constraint(case: Case) -> Iterator[Balances]:
    """H (theta_in - theta_out) of a hidden unit is -g on its inputs, g on its outputs, and 0 elsewhere."""
    chosen = _sampled(case, scalable(case), 13)
    if not len(chosen):
        return
    picks = {e.weight: _entries(case, e, chosen) for e in case.graph.edges}
    found = case.each(lambda problem, masks: _constrained(case, problem, masks, chosen, picks))
    for i, unit in enumerate(chosen.tolist()):
        largest = torch.stack([found[f"size/{n}"][:, i].amax(1) for n in case.batch.weights]).amax(0).unsqueeze(1)
        for name in case.batch.weights:
            moved, slope, size = (found[f"{part}/{name}"][:, i] for part in ("moved", "slope", "size"))
            # behind a softmax all but a trace of an entry cancels: measured by the largest of the problem
            scale = torch.where(size > 0, largest, 0)
            yield equal(f"weight of {name} around {place_of(case, unit)}", moved, slope, scale=scale)


def _entries(case: Case, edge: Edge, chosen: Tensor) -> Tensor:
    """The entries of a weight to compare: all of a small one, else some around the chosen units and elsewhere."""
    marked = _axes(case, chosen).amax(0)
    around = (edge.per_head(marked) + edge.per_tail(marked)).expand(edge.shape).flatten() > 0
    parts = [side.nonzero().flatten() for side in (around, ~around)]
    drawn = [p[torch.randperm(len(p), generator=case.source(15))[:ENTRIES].to(p.device)] for p in parts]
    return torch.cat(drawn).sort().values


def _constrained(
    case: Case, problem: Problem, masks: Masks, chosen: Tensor, picks: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    value, at = objective_of(case, problem, masks)
    g, graph = gradient(value, at), problem.network.graph

    def constraint(own: Tensor) -> dict[str, Tensor]:
        into, out = (hessian_times(value, at, part) for part in _parts(case, at, own))
        found: dict[str, Tensor] = {}
        for edge in graph.edges:
            name, side = edge.weight, edge.per_tail(own) - edge.per_head(own)
            size = into[name].abs() + out[name].abs() + g[name].abs()
            parts = {"moved": into[name] - out[name], "slope": side * g[name], "size": size}
            found |= {f"{part}/{name}": t.flatten()[picks[name]] for part, t in parts.items()}
        return found

    found: dict[str, Tensor] = case.in_turn(constraint, _axes(case, chosen))
    return found


def _sampled(case: Case, units: Tensor, salt: int) -> Tensor:
    """A few of the units, the same for every problem."""
    order = torch.randperm(len(units), generator=case.source(salt))[: case.sampled(SAMPLES)]
    return units[order.to(units.device)].sort().values
