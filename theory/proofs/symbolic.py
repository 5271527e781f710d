"""Tiny networks on one activation pattern, as polynomials in their weights, biases, inputs and cotangents."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sympy import ZZ  # type: ignore[import-untyped]
from sympy.polys.rings import ring  # type: ignore[import-untyped]

from theory.proofs.graph import Pattern, Place, Shape

Poly = Any  # sympy's PolyElement: it has no stubs, and is always expanded


@dataclass(frozen=True)
class Network:
    """A shape on one pattern: pre-activations, values and the objective, each a polynomial in `symbol`.

    The objective is R = sum of g * y with a free symbol g per output and sample, which is dR/dy: by the
    chain rule that covers every R at first order. For second order a free quadratic form in y is added:
    at any one point (g, Q) then reach every gradient and every Hessian that a twice differentiable R can have.
    """

    shape: Shape
    pattern: Pattern
    symbol: Mapping[str, Poly]
    before: Mapping[Place, Poly]
    value: Mapping[Place, Poly]
    objective: Poly

    @property
    def parameters(self) -> tuple[str, ...]:
        """The symbols of weights and biases."""
        return (*self.shape.weights, *self.shape.biases)

    @property
    def outputs(self) -> list[Poly]:
        """The outputs, sample by sample."""
        return [self.value[s, v] for s in range(self.shape.samples) for v in self.shape.outputs]

    @property
    def cotangents(self) -> list[Poly]:
        """The free symbols g, in the order of `outputs`."""
        return [self.symbol[f"g@{s}{v}"] for s in range(self.shape.samples) for v in self.shape.outputs]

    @property
    def boundary(self) -> Poly:
        """<y, dR/dy> of an objective that is linear in the outputs."""
        return total(g * y for g, y in zip(self.cotangents, self.outputs, strict=True))

    @cached_property
    def multipliers(self) -> list[tuple[Poly, int]]:
        """What stands for uses of edges and gates, with the value 1."""
        return [(p, 1) for n, p in self.symbol.items() if n.startswith(("use:", "gate:"))]

    @cached_property
    def slacks(self) -> list[tuple[Poly, int]]:
        """What the winners of the pools lack, with its value 0 at the point where they win."""
        return [(p, 0) for n, p in self.symbol.items() if n.startswith("slack@")]

    def settled(self, poly: Poly) -> Poly:
        """The polynomial where every multiplier is 1 and the pools' winners win."""
        known = self.multipliers + self.slacks
        return poly.subs(known) if known and poly else poly

    def without(self, names: Iterable[str], poly: Poly) -> Poly:
        """The polynomial where these parameters are 0, multipliers are 1 and the pools' winners may have changed."""
        known = self.multipliers + [(self.symbol[n], 0) for n in names]
        return poly.subs(known) if known and poly else poly

    @cached_property
    def gradient(self) -> dict[str, Poly]:
        """dR / d parameter."""
        return {p: self.settled(self.objective.diff(self.symbol[p])) for p in self.parameters}

    def times_hessian(self, vector: Mapping[str, Poly]) -> dict[str, Poly]:
        """H v for a vector over the parameters."""
        at = self.symbol
        return {p: total(g.diff(at[q]) * v for q, v in vector.items()) for p, g in self.gradient.items()}

    @cached_property
    def flows(self) -> dict[str, Poly]:
        """The saliency of each edge and bias, use by use: multiplier times derivative, at 1 for what has no weight."""
        found = {e.name: self._flow(f"use:{e.name}", e.weight) for e in self.shape.edges}
        return found | {b: self.symbol[b] * self.gradient[b] for b in self.shape.biases}

    def _flow(self, use: str, weight: str | None) -> Poly:
        if use in self.symbol:
            return self.settled(self.objective.diff(self.symbol[use]))
        return self.symbol[weight or ""] * self.gradient[weight or ""]

    def into(self, vertex: str, amounts: Mapping[str, Poly]) -> Poly:
        """What enters a vertex, its own bias's amount included."""
        own = amounts.get(f"b>{vertex}", 0)
        return own + total(amounts.get(e.name, 0) for e in self.shape.into(vertex))

    def out_of(self, vertex: str, amounts: Mapping[str, Poly]) -> Poly:
        """What leaves a vertex."""
        return total(amounts.get(e.name, 0) for e in self.shape.edges if e.tail == vertex)

    def scaled(self, factors: Mapping[str, Poly], poly: Poly) -> Poly:
        """The polynomial where each named symbol is multiplied by its factor."""
        return poly.compose([(self.symbol[n], f * self.symbol[n]) for n, f in factors.items()]) if poly else poly


def symbols(names: Iterable[str]) -> dict[str, Poly]:
    """Free symbols by name, in one ring of sparse polynomials with integer coefficients."""
    listed = list(names)
    return dict(zip(listed, ring(listed, ZZ)[0].gens, strict=True))


def total(terms: Iterable[Poly]) -> Poly:
    """The sum; of nothing, 0."""
    return sum(terms, 0)


def network(
    shape: Shape,
    pattern: Pattern,
    *,
    constants: tuple[str, ...] = (),
    copies: tuple[str, ...] = (),
    quadratic: bool = False,
    gates: bool = False,
    slack: bool = False,
) -> Network:
    """The network on one pattern, over a ring with what a statement needs besides.

    constants: further symbols. copies: one further symbol per parameter, `name.parameter`. gates: a
    multiplier of value 1 behind every hidden unit. slack: what a pool's winner lacks to its true maximum.
    """
    symbol = _symbols(shape, constants, copies, quadratic, gates, slack)
    before: dict[Place, Poly] = {}
    value: dict[Place, Poly] = {}
    for s in range(shape.samples):
        value |= {(s, v): symbol[f"x@{s}{v}"] for v in shape.inputs}
        for v in (*shape.hidden, *shape.outputs):
            _visit(shape, pattern, symbol, (s, v), before, value)
    y = [(f"@{s}{v}", value[s, v]) for s in range(shape.samples) for v in shape.outputs]
    objective = total(symbol[f"g{n}"] * p for n, p in y)
    if quadratic:
        objective += total(symbol[f"Q{n}{m}"] * p * q for n, p in y for m, q in y if n <= m)
    return Network(shape, pattern, symbol, before, value, objective)


def _visit(
    shape: Shape,
    pattern: Pattern,
    symbol: Mapping[str, Poly],
    at: Place,
    before: dict[Place, Poly],
    value: dict[Place, Poly],
) -> None:
    """Set the pre-activation and the value of one vertex for one sample."""
    s, v = at
    terms = [symbol.get(f"use:{e.name}", 1) * symbol.get(e.weight or "", 1) * value[s, e.tail] for e in shape.into(v)]
    if v in shape.pools:
        largest = terms[pattern.winners[at]] + symbol.get(f"slack@{s}{v}", 0)
        value[at] = symbol.get(f"gate:{v}", 1) * largest
        return
    before[at] = value[at] = total(terms) + symbol.get(f"b>{v}", 0)
    if v in shape.hidden:
        gate = symbol.get(f"slope@{s}{v}", pattern.gates[at])
        bent = gate * before[at] ** shape.degree + (before[at] ** 3 if shape.bend else 0)
        value[at] = symbol.get(f"gate:{v}", 1) * bent


def _symbols(
    shape: Shape, constants: tuple[str, ...], copies: tuple[str, ...], quadratic: bool, gates: bool, slack: bool
) -> dict[str, Poly]:
    samples = range(shape.samples)
    y = [f"@{s}{v}" for s in samples for v in shape.outputs]
    parameters = [*shape.weights, *shape.biases]
    names = [*parameters, *(f"x@{s}{v}" for s in samples for v in shape.inputs), *(f"g{n}" for n in y), *constants]
    names += [f"{c}.{p}" for c in copies for p in parameters]
    names += [f"use:{e.name}" for e in shape.edges if shape.is_tied or e.weight is None]
    names += [f"gate:{v}" for v in shape.hidden if gates]
    names += [f"slope@{s}{v}" for s in samples for v in shape.gated if shape.slopes]
    names += [f"slack@{s}{v}" for s in samples for v in shape.pools if slack]
    names += [f"Q{n}{m}" for n in y for m in y if quadratic and n <= m]
    return symbols(names)
