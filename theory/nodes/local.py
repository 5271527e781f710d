"""Local flows: what a value carries where it is made or where one operator reads it, and the parameters' saliency."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from pruning.answers import call_objective
from pruning.masks import Masks, Tensors
from pruning.problem import Probe, Problem
from theory.case import Case
from theory.law import Balances, counted, equal, told

Use = tuple[str, int]  # a node by name, and which of the values it reads, counted from 0
Point = str | Use  # a value as it is made, or as one node reads it

SITES_AT_ONCE = 8  # of a full-size model, whose values are many


@dataclass(frozen=True, eq=False)
class Local:
    """Values and dR/dvalue by point, parameters and their gradients by name; tensors are (problems, *shape)."""

    value: Mapping[Point, Tensor]
    slope: Mapping[Point, Tensor]
    parameter: Tensors
    gradient: Tensors

    def flow(self, point: Point) -> Tensor:
        """a * dR/da, entry by entry."""
        return self.value[point] * self.slope[point]

    def saliency(self, name: str | None) -> Tensor:
        """theta * dR/dtheta; 0 where there is no such parameter."""
        if name is None:
            like = next(iter([*self.value.values(), *self.parameter.values()]))
            return torch.zeros(len(like), 1, dtype=like.dtype, device=like.device)
        return self.parameter[name] * self.gradient[name]


class Site(Protocol):
    """Where a law is looked at."""

    @property
    def points(self) -> Sequence[Point]:
        """The values to measure."""

    @property
    def parameters(self) -> Sequence[str | None]:
        """The parameters to measure; None for one that an operator could have and has not."""


S = TypeVar("S", bound=Site)


def located(case: Case, sites: Iterable[S]) -> Iterator[tuple[S, Local]]:
    """Each site with what flows there: for small networks by one pass, for full-size models by several."""
    found = list(sites)
    count = SITES_AT_ONCE if case.batch.shape is None else max(len(found), 1)
    for some in (found[i : i + count] for i in range(0, len(found), count)):
        points = dict.fromkeys(p for site in some for p in site.points)
        names = dict.fromkeys(n for site in some for n in site.parameters if n is not None)
        local = measured(case, list(points), list(names))
        yield from ((site, local) for site in some)


def measured(case: Case, points: Sequence[Point], parameters: Sequence[str]) -> Local:
    """What flows at some points, and the gradients by some parameters, of all problems at once."""
    keys = {point: f"{point}" if isinstance(point, str) else f"{point[0]}@{point[1]}" for point in points}

    def one(problem: Problem, masks: Masks) -> dict[str, Tensor]:
        network, effective = problem.network, masks.apply(problem.network.weights)
        seen: dict[Point, Tensor] = {}
        given = {n: t for n, t in {**network.fixed, **effective}.items() if n in parameters and t.is_floating_point()}

        def record(point: Point, value: Tensor) -> Tensor:
            if point in keys and value.is_floating_point():
                seen[point] = value
            return value

        def objective(own: dict[str, Tensor], shifts: dict[Point, Tensor] | None) -> Tensor:
            see = record if shifts is None else lambda point, value: value + shifts[point] if point in shifts else value
            fixed = {n: own.get(n, t) for n, t in network.fixed.items()}
            weights = {n: own.get(n, t) for n, t in effective.items()}
            tapped = replace(network, fixed=fixed, tap=see, read=lambda node, i, value: see((node, i), value))
            return call_objective(case.pruner, tapped, weights, Probe(problem))

        objective(given, None)
        zeros = {point: torch.zeros_like(value) for point, value in seen.items()}
        by_parameter, by_point = torch.func.grad(objective, argnums=(0, 1))(given, zeros)
        found = {f"value/{keys[p]}": v for p, v in seen.items()} | {f"slope/{keys[p]}": g for p, g in by_point.items()}
        found |= {f"parameter/{n}": t for n, t in given.items()}
        return found | {f"gradient/{n}": g for n, g in by_parameter.items()}

    flat = case.each(one)
    named = {kind: {n: flat[f"{kind}/{n}"] for n in parameters} for kind in ("parameter", "gradient")}
    at = {k: {p: flat[f"{k}/{keys[p]}"] for p in points if f"{k}/{keys[p]}" in flat} for k in ("value", "slope")}
    return Local(at["value"], at["slope"], named["parameter"], named["gradient"])


def balanced(
    case: Case, where: str, left: Tensor, right: Tensor, scale: Tensor, *, certified: bool = False
) -> Balances:
    """left = right, problem by problem; scale is the sum of the absolute terms. All are (problems, ...).

    certified: the sums are among those that the exactness certificate of the case speaks of.
    """
    size = (left + right + scale).shape
    left, right, scale = (t.expand(size).flatten(1) for t in (left, right, scale))
    bound = counted(left) if certified and bool(case.exact.all()) else None
    return equal(
        where,
        left,
        right,
        bound=bound,
        scale=scale,
        label=lambda b, u: f"{where}: {' against '.join(told(left[b, u], right[b, u]))}",
    )


def total(terms: Tensor, kept: int = 1) -> Tensor:
    """The sum over all axes but the first `kept`, and an axis of one where only the problems are left."""
    summed = terms.flatten(kept).sum(-1) if terms.dim() > kept else terms
    return summed.unsqueeze(1) if summed.dim() == 1 else summed
