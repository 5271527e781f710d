"""Finite laws: what a factor does to a unit's inputs it does to its outputs, be it 0 or a gate's."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from pruning.graph import Graph, Junction
from pruning.masks import Masks
from pruning.problem import Problem
from theory.calculus import entering, multiplied_alone, objective_of, place_of, scalable, unit_balances
from theory.case import Case
from theory.impostors.objectives import penalised
from theory.law import Balances, Grade, Subject, at_most, counted, equal, law, told
from theory.networks.beyond import threshold_net
from theory.networks.outside import tanh_net
from theory.numerics import Bound, gamma, safe_from_underflow
from theory.subjects import the_loss
from theory.traits import Trait

DRAWS, SAMPLES = 4, 8  # choices of factors for all units at once; units that are taken out alone


@law(
    "C1",
    subject=Subject.OBJECTIVE,
    claim=None,
    needs={Trait.HOMOGENEOUS},
    local=True,
    source="Tanaka et al. 2020, Theorem 1, without derivatives; powers of two change no mantissa",
    impostor=penalised,
    breaks_on=(the_loss, threshold_net),
    grades=(Grade.EXACT, Grade.ORDER),
)
def finite_law(case: Case) -> Iterator[Balances]:
    """R is the same whether a factor >= 0 multiplies all that enters a hidden unit or all that leaves it; 0 as well."""
    units, source = scalable(case), case.source(20)
    if not len(units):
        return
    ones = torch.ones(case.graph.units, dtype=case.dtype, device=units.device)

    def factors(draw: Callable[[], Tensor]) -> Tensor:
        by = ones.clone()
        by[units] = draw().to(by)[units]
        return by

    steps = [torch.randint(-2, 3, ones.shape, generator=source) for _ in range(DRAWS)]
    powers = [factors(lambda s=s: torch.exp2(s.float())) for s in steps]  # type: ignore[misc]
    reals = [factors(lambda: 2 * torch.rand(ones.shape, generator=source)) for _ in range(DRAWS)]
    chosen = units[torch.randperm(len(units), generator=source)[: case.sampled(SAMPLES)].to(units.device)]
    taken_out = [ones.index_fill(0, unit.view(1), 0) for unit in chosen]
    yield _moved_over(case, "units rescaled by powers of two", powers, lambda u: f"draw {u}")
    yield _moved_over(case, "units taken out", taken_out, lambda u: place_of(case, int(chosen[u])))
    if case.generic:  # where integers cancel in exact numbers, other factors would leave what was rounded off
        left, right = _both(case, reals)
        yield equal("units rescaled", left, right)


def _both(case: Case, factors: list[Tensor]) -> tuple[Tensor, Tensor]:
    """R with the factors on what enters, and on what leaves: (batch, factors).

    Either side multiplies both, by ones where nothing is to change: torch then takes the same kernels for both,
    which it would not where only one side's weights depend on the factors. Another kernel rounds otherwise.
    """

    def one(problem: Problem, masks: Masks) -> dict[str, Tensor]:
        def both(by: Tensor) -> tuple[Tensor, Tensor]:
            ones = torch.ones_like(by)
            sides = (
                multiplied_alone(problem, entering=by, leaving=ones),
                multiplied_alone(problem, entering=ones, leaving=by),
            )
            return case.value(sides[0], masks), case.value(sides[1], masks)

        left, right = case.in_turn(both, torch.stack(factors))
        return {"left": left, "right": right}

    found = case.each(one)
    return found["left"], found["right"]


def _moved_over(case: Case, name: str, factors: list[Tensor], where: Callable[[int], str]) -> Balances:
    """The two values of R to the bit: every product on the way is of the same two mantissas, or of a 0."""
    left, right = _both(case, [torch.ones_like(factors[0]), *factors])
    differs = (left != left[:, :1]) | (right != right[:, :1])  # else the factor says nothing
    left, right, differs = left[:, 1:], right[:, 1:], differs[:, 1:]
    size = left.abs() + right.abs()
    scale = torch.where(safe_from_underflow(size) & differs, size, 0)
    return equal(
        name,
        left,
        right,
        bound=counted(left),
        scale=scale,
        label=lambda b, u: (
            f"{name}, {where(u)}: R = "
            f"{' with the inputs multiplied, '.join(told(left[b, u], right[b, u]))} with the outputs"
        ),
    )


@law(
    "C8",
    subject=Subject.OBJECTIVE,
    claim=None,
    needs={Trait.HOMOGENEOUS},
    local=True,
    source="Tanaka et al. 2020, Theorem 1, and the triangle inequality: all that SNIP keeps of it at a unit",
    impostor=penalised,
    breaks_on=(the_loss, tanh_net),
    grades=(Grade.EXACT, Grade.ROUNDED, Grade.ORDER),
)
def snip_inequality(case: Case) -> Iterator[Balances]:
    """The absolute saliency on either side of a hidden unit is at least the net saliency on the other."""
    if not len(case.units):
        return
    signed = {**case.scores, **case.bias_flows}
    size = {n: s.abs() for n, s in signed.items()}
    into, out = entering(case.graph, signed), case.graph.outgoing(case.scores)
    sides = (
        ("|out| <= sum of |in|", out, entering(case.graph, size)),
        ("|in| <= sum of |out|", into, case.graph.outgoing(size)),
    )
    for name, net, absolute in sides:
        less, more = net.abs()[:, case.units], absolute[:, case.units]
        yield at_most(
            name,
            less,
            more,
            bound=_at(case.flow_bound(), case.units),
            scale=case.absolute[:, case.units],
            label=lambda b, u, n=name, x=less, y=more: (  # type: ignore[misc]
                f"{place_of(case, int(case.units[u]))}, {n}: {' > '.join(told(x[b, u], y[b, u]))}"
            ),
        )


@law(
    "A10",
    subject=Subject.OBJECTIVE,
    claim=None,
    needs={Trait.HOMOGENEOUS},
    local=True,
    source="Mozer, Smolensky 1988 (skeletonization); Theorem 1",
    impostor=penalised,
    breaks_on=(the_loss, tanh_net),
    grades=(Grade.EXACT, Grade.ROUNDED, Grade.ORDER),
)
def gate_gradient(case: Case) -> Iterator[Balances]:
    """The derivative of R by a gate of 1 on what a hidden unit passes on is the saliency on either side of it."""
    exits = {name: j for j in case.hidden if (name := _exit(case.graph, j)) is not None}
    if not exits:
        return
    units = torch.cat([torch.arange(j.first, j.first + j.units) for j in exits.values()]).to(case.units.device)
    gates = case.each(lambda problem, masks: _gates(case, problem, masks, set(exits)))
    signed = {**case.scores, **case.bias_flows}
    bound = _at(_gate_bound(case, gates["terms"]), units)
    for side, sums in (("in", entering(case.graph, signed)), ("out", case.graph.outgoing(case.scores))):
        yield unit_balances(
            case,
            "gate",
            gates["slopes"][:, units],
            sums[:, units],
            case.absolute[:, units],
            units,
            bound,
            ("at the gate", side),
        )


def _exit(graph: Graph, junction: Junction) -> str | None:
    """The one value of the units that anything behind them reads, if nothing inside them reads it."""
    own, inner = set(junction.values), {node.name for node in junction.inner}
    reads = [(node.name in inner, value) for node in graph.nodes for value in node.values() if value in own]
    inside, outside = ({value for within, value in reads if within is side} for side in (True, False))
    return outside.pop() if len(outside) == 1 and not outside & inside else None


def _gates(case: Case, problem: Problem, masks: Masks, names: set[str]) -> dict[str, Tensor]:
    """Per unit: dR/dgate, and of how many entries it is the sum; each (units,)."""
    graph = problem.network.graph
    one = torch.ones(1, dtype=case.dtype, device=case.units.device)
    terms = torch.zeros(graph.units, dtype=case.dtype, device=case.units.device)

    def value(gates: Tensor) -> tuple[Tensor, Tensor]:
        padded, entries = torch.cat([gates, one]), [terms]  # entries of no unit, such as padding, have the number -1

        def gate(name: str, made: Tensor) -> Tensor:
            if name not in names:
                return made
            entries.append(graph.by_unit(name, torch.ones_like(made)))
            return made * padded[graph.places[name].to(made.device)]

        gated, at = objective_of(case, problem, masks, gate)
        return gated(at), torch.stack(entries).sum(0)

    slopes, count = torch.func.grad(value, has_aux=True)(one.expand(graph.units))
    return {"slopes": slopes, "terms": count}


def _gate_bound(case: Case, terms: Tensor) -> Bound | None:
    """The neuron's bound, and the rounding of the gate's own sum of entries a * d.

    d as computed is at most 1 + gamma_m times the sum of |w||d'| behind it, so the absolute entries sum to at
    most twice T_out, which is part of the unit's mass. 2 more roundings pay for the product and the bound.
    """
    if case.flow is None:
        return None
    return case.bounded(case.flow.bound + 2 * gamma(terms.long() + 2, case.dtype) * case.flow.mass)


def _at(bound: Bound | None, units: Tensor) -> Bound | None:
    return None if bound is None else Bound(bound.size[:, units], bound.exact)
