"""Scores and objectives as sums over paths: path norm, path mass, and a weight taken out."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import product

import torch
from torch import Tensor

from pruning.pruner import Claim
from pruning.pruners.synflow import synflow
from theory.case import Case
from theory.impostors.scores import doubled, halved, over_fan_in, squared_flow
from theory.law import Balances, Grade, Subject, at_most, equal, law
from theory.networks.outside import max_net, saturated_net, square_chain, tanh_net
from theory.networks.spec import NetSpec
from theory.numerics import Bound, gamma
from theory.oracles.maxflow import largest_flow
from theory.oracles.paths import path_sums
from theory.traits import Trait

PATH_SUM = {Claim.DATA_FREE, Claim.POSITIVE}
SAMPLES = 12  # weights taken out one by one, per network

Sums = tuple[Fraction, dict[str, dict[tuple[int, ...], Fraction]]]


@law(
    "B1",
    subject=Subject.SCORES,
    claim=Claim.PATH_NORM,
    needs={Trait.TINY, Trait.WRITTEN},
    given=PATH_SUM,
    needs_objective=True,
    source="l1 path norm of Neyshabur et al. 2015; where paths meet in a max-pool the largest goes on",
    impostor=squared_flow,
    grades=(Grade.EXACT, Grade.ROUNDED),
    one_by_one=True,
)
def path_norm(case: Case) -> Iterator[Balances]:
    """The objective is the sum over all input-output paths of the product of the absolute weights on them."""
    sums = _path_sums(case)
    if sums is None:
        return
    objective, expected = case.values(case.batch.weights).unsqueeze(1), _column([float(r) for r, _ in sums], case)
    yield equal("R", objective, expected, bound=relative_bound(case, 1, expected))


@law(
    "B2",
    subject=Subject.SCORES,
    claim=Claim.PATH_NORM,
    needs={Trait.TINY, Trait.WRITTEN},
    given=PATH_SUM,
    needs_objective=True,
    source="theta dR/dtheta of a sum over paths",
    impostor=halved,
    grades=(Grade.EXACT, Grade.ROUNDED),
    one_by_one=True,
)
def path_mass(case: Case) -> Iterator[Balances]:
    """A weight's score is the sum over the paths through it of the product of the absolute weights on them."""
    sums = _path_sums(case)
    if sums is None:
        return
    for name, score in case.scores.items():
        places = list(product(*map(range, score.shape[1:])))
        rows = [[float(masses[name][place]) for place in places] for _, masses in sums]
        expected = torch.tensor(rows, dtype=case.dtype, device=score.device)
        yield equal(f"weight of {name}", score.flatten(1), expected, bound=relative_bound(case, 1, expected))


def _path_sums(case: Case) -> list[Sums] | None:
    """R and path masses of each problem in exact fractions; None for an operator that the oracle does not know."""
    try:
        return [path_sums(NetSpec.of(case.batch, i)) for i in range(case.batch.size)]
    except ValueError:
        return None


def _column(numbers: list[float], case: Case) -> Tensor:
    return torch.tensor(numbers, dtype=case.dtype, device=case.units.device).unsqueeze(1)


def relative_bound(case: Case, more: int, size: Tensor) -> Bound | None:
    """gamma of 2K and some roundings more, relative to sums in which nothing cancels.

    Infinite, so that nothing is judged, where the scores' own pass may have underflowed.
    """
    k = case.path_roundings
    if k is None:
        return None
    bound = case.bounded(gamma(2 * k + more, case.dtype) * size.abs())
    clear = torch.ones_like(bound.exact) if case.flow is None else case.flow.clear
    return Bound(torch.where(clear.unsqueeze(1), bound.size, torch.inf), bound.exact)


@law(
    "B3",
    subject=Subject.SCORES,
    claim=Claim.LEAVE_ONE_OUT,
    needs={Trait.HOMOGENEOUS, Trait.MULTILINEAR},
    given=PATH_SUM,
    needs_objective=True,
    source="R is affine in each weight; path norm of Neyshabur et al. 2015",
    impostor=halved,
    breaks_on=(synflow, max_net),
    grades=(Grade.EXACT, Grade.ROUNDED),
)
def leave_one_out(case: Case) -> Iterator[Balances]:
    """A weight's score is what the objective loses when just that weight is set to zero."""
    for name, index, score, loss, bound in _taken_out(case):
        yield equal(
            f"weight {name}[{index}]",
            loss,
            score,
            bound=bound,
            label=lambda b, u, n=name, i=index, s=score, d=loss: (  # type: ignore[misc]
                f"weight {n}[{i}]: score {float(s[b, u]):.6g}, without it R falls by {float(d[b, u]):.6g}"
            ),
        )


@law(
    "B3'",
    subject=Subject.SCORES,
    claim=Claim.LEAVE_ONE_OUT,
    needs={Trait.HOMOGENEOUS, Trait.MONOTONE},
    given=PATH_SUM,
    needs_objective=True,
    source="R is convex in each weight where paths meet in a max-pool",
    impostor=halved,
    breaks_on=(synflow, tanh_net),
    grades=(Grade.EXACT, Grade.ROUNDED),
)
def leave_one_out_bound(case: Case) -> Iterator[Balances]:
    """The objective never loses more than a weight's score when just that weight is set to zero."""
    for name, index, score, loss, bound in _taken_out(case):
        yield at_most(f"weight {name}[{index}]", loss, score, bound=bound)


def _taken_out(case: Case) -> Iterator[tuple[str, int, Tensor, Tensor, Bound | None]]:
    """Sampled weights: name, index, score, loss of R, and the rounding of both.

    Nothing cancels in R, R' and S, so each is within gamma_K of its true value, and gamma_2K of the
    computed ones bounds that; the difference adds one rounding.
    """
    whole = case.values(case.batch.weights)
    source = case.source(1)
    names = list(case.batch.weights)
    for draw in range(SAMPLES):
        name = names[draw % len(names)]
        weight = case.batch.weights[name]
        index = int(torch.randint(weight[0].numel(), (1,), generator=source))
        without = weight.clone()
        without.flatten(1)[:, index] = 0
        rest = case.values({**case.batch.weights, name: without})
        score = case.scores[name].flatten(1)[:, index]
        size = (whole.abs() + rest.abs() + score.abs()).unsqueeze(1)
        yield name, index, score.unsqueeze(1), (whole - rest).unsqueeze(1), relative_bound(case, 2, size)


@law(
    "B4",
    subject=Subject.SCORES,
    claim=Claim.PATH_SUM,
    needs={Trait.HOMOGENEOUS, Trait.MONOTONE},
    given=PATH_SUM,
    needs_objective=True,
    source="S/R is the probability that a random path uses the weight",
    impostor=doubled,
    breaks_on=(synflow, square_chain),
    grades=(Grade.EXACT, Grade.ROUNDED),
)
def no_more_than_all(case: Case) -> Iterator[Balances]:
    """No weight scores more than the objective."""
    whole = case.values(case.batch.weights).unsqueeze(1)
    for name, score in case.scores.items():
        flat = score.flatten(1)
        all_of_it = whole.expand_as(flat)
        yield at_most(f"weight of {name}", flat, all_of_it, bound=relative_bound(case, 1, all_of_it + flat.abs()))


@law(
    "A5",
    subject=Subject.SCORES,
    claim=Claim.PATH_SUM,
    needs={Trait.HOMOGENEOUS, Trait.MULTILINEAR},
    given=PATH_SUM,
    needs_objective=True,
    source="each path counts as often as it crosses the set; what a set of weights that is no cut gives",
    impostor=halved,
    breaks_on=(synflow, tanh_net),
    grades=(Grade.EXACT, Grade.ROUNDED),
)
def crossing_multiplicity(case: Case) -> Iterator[Balances]:
    """The scores of any weights add up to what each path carries, as often as it crosses them.

    With the weights of a set in two layers multiplied by t the objective is a polynomial of degree 2 in t,
    so its slope at 1, which counts the crossings, is (R(2) - R(0)) / 2.
    """
    source, names = case.source(7), list(case.batch.weights)
    for draw in range(4):
        pair = {names[draw % len(names)], names[int(torch.randint(len(names), (1,), generator=source))]}
        chosen = {n: torch.rand(case.batch.weights[n].shape[1:], generator=source) < 0.5 for n in pair}
        twice, none = (case.values(_multiplied(case, chosen, by)).unsqueeze(1) for by in (2.0, 0.0))
        parts = [(case.scores[n] * chosen[n].to(case.scores[n])).flatten(1) for n in pair]
        mass = torch.cat(parts, 1).sum(1, keepdim=True)
        size = (twice + none) / 2 + mass.abs()
        yield equal(
            "set of weights", mass, (twice - none) / 2, bound=relative_bound(case, case.total, size), scale=size
        )


def _multiplied(case: Case, chosen: Mapping[str, Tensor], by: float) -> dict[str, Tensor]:
    return {
        n: torch.where(chosen[n].to(w.device), by * w, w) if n in chosen else w for n, w in case.batch.weights.items()
    }


@law(
    "B10",
    subject=Subject.SCORES,
    claim=Claim.PATH_SUM,
    needs={Trait.HOMOGENEOUS, Trait.TINY},
    given=PATH_SUM,
    needs_objective=True,
    source="a nonnegative flow that every unit passes on is a largest one within itself; Ford and Fulkerson 1956",
    impostor=over_fan_in,
    breaks_on=(synflow, saturated_net),
    grades=(Grade.EXACT, Grade.ROUNDED),
    one_by_one=True,
)
def largest_flow_is_all(case: Case) -> Iterator[Balances]:
    """With scores as capacities, the largest flow from input to output is the objective."""
    if any(bool((s < 0).any()) for s in case.scores.values()):
        return
    flows = [float(largest_flow(*_capacities(case, i))) for i in range(case.batch.size)]
    whole = case.values(case.batch.weights).unsqueeze(1)
    yield equal("largest flow", _column(flows, case), whole, bound=case.cut_bound())


def _capacities(case: Case, index: int) -> tuple[dict[tuple[int, int], Fraction], list[int], list[int]]:
    """The scores between each two units, the input's units and the output's."""
    found: dict[tuple[int, int], Fraction] = {}
    for edge in case.graph.edges:
        units = torch.arange(case.graph.units, dtype=case.dtype)
        tails, heads = (per(units).flatten().long().tolist() for per in (edge.per_tail, edge.per_head))
        for tail, head, score in zip(tails, heads, case.scores[edge.weight][index].flatten().tolist(), strict=True):
            found[tail, head] = found.get((tail, head), Fraction()) + Fraction(score)
    return found, case.graph.inputs.tolist(), case.graph.outputs.tolist()
