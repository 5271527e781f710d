"""Calculus: derivatives of a case's objective by every parameter that carries flow, and their sums at units."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce

import torch
from torch import Tensor

from pruning.answers import call_objective
from pruning.graph import Graph, Junction, Tap
from pruning.masks import Masks
from pruning.problem import Probe, Problem
from theory.case import Case
from theory.law import Balances, equal, told
from theory.numerics import Bound, largest_integer

Tensors = Mapping[str, Tensor]
Scalar = Callable[[Tensors], Tensor]  # the objective R of weights, biases, shifts and gains
Terms = Callable[[Scalar, dict[str, Tensor]], Sequence[Tensors]]

# R jumps there: the first derivatives are those of a homogeneous unit, larger steps are not
JUMPS = {"threshold", "hardshrink"}


def objective_of(
    case: Case, problem: Problem, masks: Masks, tap: Tap | None = None
) -> tuple[Scalar, dict[str, Tensor]]:
    """R as a function of every parameter that carries flow, and where they stand; scales stay as they are."""
    network = problem.network
    kept = {s.name: network.fixed[s.name] for s in network.graph.entering}

    def value(parameters: Tensors) -> Tensor:
        weights = {n: parameters[n] for n in network.weights}
        fixed = {**network.fixed, **{n: parameters[n] for n in kept}}
        return call_objective(case.pruner, replace(network, fixed=fixed, tap=tap), weights, Probe(problem))

    return value, {**masks.apply(network.weights), **kept}


def gradient(value: Scalar, at: Tensors) -> dict[str, Tensor]:
    """g = dR/dtheta."""
    slopes: dict[str, Tensor] = torch.func.grad(value)(dict(at))
    return slopes


def hessian_times(value: Scalar, at: Tensors, direction: Tensors) -> dict[str, Tensor]:
    """H v, by reverse over reverse: the two passes take the same slope at a kink."""

    def slope(parameters: Tensors) -> Tensor:
        return inner(gradient(value, parameters), direction)

    return gradient(slope, at)


def inner(a: Tensors, b: Tensors) -> Tensor:
    """<a, b> over all parameters."""
    return torch.stack([(a[n] * b[n]).sum() for n in a]).sum()


def times(a: Tensors, b: Tensors) -> dict[str, Tensor]:
    """a * b, entry by entry."""
    return {n: a[n] * b[n] for n in a}


def plus(terms: Sequence[Tensors]) -> dict[str, Tensor]:
    """The sum of the terms, entry by entry."""
    return {n: reduce(torch.add, (t[n] for t in terms)) for n in terms[0]}


def sizes(terms: Sequence[Tensors]) -> dict[str, Tensor]:
    """The sum of the terms' absolute values, entry by entry."""
    return {n: reduce(torch.add, (t[n].abs() for t in terms)) for n in terms[0]}


def entering(graph: Graph, amounts: Tensors) -> Tensor:
    """Sum over the weights, biases, shifts and gains that enter each unit: (..., units)."""
    fed = [s.into(amounts[s.name], graph.units) for s in graph.entering]
    return torch.stack([graph.incoming(amounts), *fed]).sum(0)


def drawn(case: Case, salt: int) -> dict[str, Tensor]:
    """A direction: 1, 2, 3, -1, -2 or -3 for each parameter that carries flow.

    One draw for all problems, so that each meets it alone as well, and numbers that every precision holds.
    """
    source, network = case.source(salt), case.batch
    like = {**network.weights, **{s.name: network.fixed[s.name] for s in case.graph.entering}}
    steps = {n: torch.randint(1, 4, t.shape[1:], generator=source) for n, t in like.items()}
    signs = {n: torch.randint(0, 2, t.shape[1:], generator=source) * 2 - 1 for n, t in like.items()}
    return {n: (steps[n] * signs[n]).to(like[n]) for n in like}


def standing(case: Case) -> dict[str, Tensor]:
    """Every parameter that carries flow, masked: (batch, *shape)."""
    return case.each(lambda problem, masks: objective_of(case, problem, masks)[1])


def slopes(case: Case) -> dict[str, Tensor]:
    """g by every parameter that carries flow: (batch, *shape)."""
    return case.each(lambda problem, masks: gradient(*objective_of(case, problem, masks)))


def conserved(case: Case, name: str, terms: Terms) -> Iterator[Balances]:
    """The sum of the terms, each of R and the parameters, enters each hidden unit as it leaves it."""
    yield from conserved_of(case, name, lambda problem, masks: terms(*objective_of(case, problem, masks)))


def conserved_of(case: Case, name: str, terms: Callable[[Problem, Masks], Sequence[Tensors]]) -> Iterator[Balances]:
    """The sum of the terms of each problem enters each hidden unit as it leaves it; measured by absolute values."""
    if not len(case.units):
        return

    def one(problem: Problem, masks: Masks) -> dict[str, Tensor]:
        graph, found = problem.network.graph, terms(problem, masks)
        total, size = plus(found), sizes(found)
        return {
            "into": entering(graph, total)[case.units],
            "out": graph.outgoing(total)[case.units],
            "scale": (entering(graph, size) + graph.outgoing(size).abs())[case.units],
        }

    sums = case.each(one)
    yield unit_balances(case, name, sums["into"], sums["out"], sums["scale"])


def unit_balances(
    case: Case,
    name: str,
    into: Tensor,
    out: Tensor,
    scale: Tensor,
    units: Tensor | None = None,
    bound: Bound | None = None,
    sides: tuple[str, str] = ("in", "out"),
) -> Balances:
    """Equations of two sides at each unit, named by its layer."""
    chosen, where = case.units if units is None else units, f"{name}, " if name else ""
    return equal(
        name,
        into,
        out,
        bound=bound,
        scale=scale,
        label=lambda b, u: (
            f"{where}{place_of(case, int(chosen[u]))}: {f' {sides[0]}, '.join(told(into[b, u], out[b, u]))} {sides[1]}"
        ),
    )


def place_of(case: Case, unit: int) -> str:
    """Where a unit is, in words."""
    junction = case.graph.junction_of(unit)
    return f"unit {unit - junction.first} after layer {junction.name}"


def scalable(case: Case) -> Tensor:
    """Numbers of the hidden units whose inputs may be multiplied instead of their outputs, by any factor.

    What a product or a power passes on does not follow its input in proportion, what jumps not at all.
    """
    if case.outside:
        return case.units
    ends = torch.cat([torch.arange(0), *(torch.cat([t.tails, t.heads]) for t in case.graph.transfers)])
    jumps = [j for j in case.hidden if any(node.kind in JUMPS for node in j.inner)]
    left = torch.cat([ends, *(torch.arange(j.first, j.first + j.units) for j in jumps)])
    return case.units[~torch.isin(case.units, left.to(case.units.device))]


def rescaled(case: Case, exponents: Tensor) -> Case:
    """The same function by other weights: what enters each unit times 2 to its exponent, if nothing objects to that.

    exponents: (units,), even. What leaves the unit is divided by as much, and so is what leaves products and powers of
    it by what reaches those: a gated unit, the values of attention, a norm's gain and what is behind it. No mantissa
    changes.
    """
    entering = torch.where(_passing_on(case), exponents.double(), 0)
    reaching = entering
    for transfer in case.graph.transfers:
        reaching = reaching.index_add(0, transfer.heads, transfer.degree * reaching[transfer.tails])
    by = torch.exp2(entering).to(case.units.device, case.dtype)
    return multiplied(case, entering=by, leaving=torch.exp2(-reaching).to(by))


def _passing_on(case: Case) -> Tensor:
    """Whether each unit is read in proportion, or to a power, by all that reads it: (units,)."""
    graph, passes = case.graph, torch.zeros(case.graph.units, dtype=torch.bool)
    made = torch.cat([torch.arange(0), *(t.heads for t in graph.transfers)])
    ends = torch.cat([graph.inputs, graph.outputs])
    plain = [j for j in graph.junctions if not (j.incoming or j.sources or j.objections)]
    for junction in (*plain, *case.hidden):
        passes[junction.span] = case.outside or not any(node.kind in JUMPS for node in junction.inner)
    fresh = torch.zeros_like(passes).index_fill(0, made, True)
    passes &= ~torch.zeros_like(passes).index_fill(0, ends, True)
    for transfer in reversed(graph.transfers):
        passes[transfer.tails[~passes[transfer.heads]]] = False
    return passes & ~fresh


def multiplied(case: Case, *, entering: Tensor | None = None, leaving: Tensor | None = None) -> Case:
    """The case with what enters each unit, biases included, and what leaves it times one factor per unit."""
    weights, fixed, neutral = case.batch.weights, case.batch.fixed, case.batch.neutral
    return case.moved(*_multiplied(case.graph, weights, fixed, neutral, entering, leaving))


def multiplied_alone(problem: Problem, *, entering: Tensor | None = None, leaving: Tensor | None = None) -> Problem:
    """The same of one problem."""
    own = problem.network
    weights, fixed, neutral = _multiplied(own.graph, own.weights, own.fixed, own.neutral, entering, leaving)
    return replace(problem, network=replace(own, weights=weights, fixed=fixed, neutral=neutral))


def _multiplied(
    graph: Graph, weights: Tensors, fixed: Tensors, neutral: Tensors, entering: Tensor | None, leaving: Tensor | None
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    weights, fixed, neutral = dict(weights), dict(fixed), dict(neutral)
    for edge in graph.edges:
        heads = 1 if entering is None else edge.per_head(entering)
        tails = 1 if leaving is None else edge.per_tail(leaving)
        weights[edge.weight] = weights[edge.weight] * heads * tails
    if entering is not None:
        for source in graph.entering:
            for constants in (fixed, neutral):
                constants[source.name] = constants[source.name] * entering[source.units.to(entering.device)]
    return weights, fixed, neutral


def by_certificate(
    name: str, left: Tensor, right: Tensor, scale: Tensor, exact: Tensor, label: Callable[[int, int], str]
) -> Iterator[Balances]:
    """Equations that must hold exactly for problems certified to round nothing, and by order for the others.

    exact: (batch,). Sums of the law's own are certified here: the absolute ones are integers below the largest.
    """
    sure = (exact & (scale.amax(1) < largest_integer(scale.dtype))).unsqueeze(1)
    zero = Bound(torch.zeros_like(scale), sure.squeeze(1).cpu())
    yield equal(name, left, right, bound=zero, scale=torch.where(sure, scale, 0), label=label)
    yield equal(name, left, right, scale=torch.where(sure, 0, scale), label=label)


def factors(junction: Junction, amounts: Tensors) -> tuple[Tensor, Tensor]:
    """The two matrices of a bottleneck, biases as a column: [W | b] and the transpose of what is behind it.

    Both are (batch, units, ...).
    """
    before, behind = junction.incoming[0], junction.outgoing[0]
    into, out = amounts[before.weight], amounts[behind.weight]
    into = into.mT if before.transposed else into
    columns = [amounts[s.name].unsqueeze(-1) for s in junction.sources if s.name in amounts]
    return torch.cat([into, *columns], dim=-1), out if behind.transposed else out.mT
