"""The objective as a function of the weights that are kept: what pruning may do to a sum over paths."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from pruning.pruner import Claim
from pruning.pruners.synflow import synflow
from pruning.rounds import Trace
from theory.case import Case
from theory.impostors.scores import halved, rooted_flow, signed_flow, without_small
from theory.law import Balances, Grade, Subject, at_most, law, none_of
from theory.laws.paths import PATH_SUM, relative_bound
from theory.networks.outside import max_net, min_net, saturated_net, tanh_net
from theory.numerics import Bound, gamma
from theory.traits import Trait


@law(
    "B6",
    subject=Subject.TRACE,
    claim=Claim.UNION_BOUND,
    needs={Trait.HOMOGENEOUS, Trait.MONOTONE},
    given=PATH_SUM,
    needs_objective=True,
    source="each path that dies holds a pruned weight, and the scores count it at least once",
    impostor=halved,
    breaks_on=(synflow, tanh_net),
    grades=(Grade.ROUNDED,),
)
def union_bound(case: Case) -> Iterator[Balances]:
    """In each round the objective falls by at most the scores that were pruned."""
    rows = [torch.cat([_round_balance(case, i, run) for run in runs]) for i, runs in enumerate(case.traces)]
    before, mass, after = torch.stack(rows).unbind(-1)
    k, n = case.path_roundings, case.total
    bound = None
    if k is not None:
        size = gamma(2 * k + 1, case.dtype) * (before + after) + gamma(2 * k + n, case.dtype) * mass
        bound = Bound(size, torch.zeros(len(size), dtype=torch.bool))
    says_something = (mass > 0) & (mass < before)  # otherwise the right side is not even positive
    rounds = [(plan, r) for plan in case.plans for r in range(1, plan.rounds + 1)]
    yield at_most(
        "round",
        before - mass,
        after,
        bound=bound,
        scale=torch.where(says_something, before, 0),
        label=lambda b, u: (
            f"round {rounds[u][1]} of {rounds[u][0].rounds} to {rounds[u][0].keep} weights: R {float(before[b, u]):.6g}"
            f" - pruned {float(mass[b, u]):.6g} > {float(after[b, u]):.6g} left"
        ),
    )


def _round_balance(case: Case, index: int, run: Trace) -> Tensor:
    """(rounds, 3): R before, scores pruned, R after."""
    single = case.only(index)
    masked = {n: w * run.masks[n] for n, w in single.batch.weights.items()}
    end = single.values(masked).double().cpu()
    return torch.stack([run.cut, run.mass, torch.cat([run.cut[1:], end])], dim=1)


@law(
    "B7",
    subject=Subject.SCORES,
    claim=Claim.PATH_SUM,
    needs={Trait.HOMOGENEOUS, Trait.MONOTONE, Trait.MULTILINEAR},
    given=PATH_SUM,
    needs_objective=True,
    source="a polynomial with nonnegative coefficients; with maxima neither direction holds",
    impostor=rooted_flow,
    breaks_on=(synflow, replace(max_net, seed=1)),  # its draws meet two sets with a maximum of their own each
    grades=(Grade.EXACT, Grade.ROUNDED),
)
def supermodularity(case: Case) -> Iterator[Balances]:
    """What two sets of kept weights carry together, and in common, is no less than what each carries alone."""
    source = case.source(8)
    for draw in range(8):
        first, second = _drawn(case, source), _drawn(case, source)
        both = {n: first[n] | second[n] for n in first}
        common = {n: first[n] & second[n] for n in first}
        a, b, union, meet = (case.values(_kept(case, m)).unsqueeze(1) for m in (first, second, both, common))
        yield at_most(f"draw {draw}", a + b, union + meet, bound=relative_bound(case, 4, a + b + union + meet))


@law(
    "B8",
    subject=Subject.SCORES,
    claim=Claim.PATH_SUM,
    needs={Trait.HOMOGENEOUS, Trait.MONOTONE},
    given=PATH_SUM,
    needs_objective=True,
    source="a polynomial with nonnegative coefficients; scores need one without maxima",
    impostor=signed_flow,
    breaks_on=(synflow, saturated_net),
    grades=(Grade.EXACT, Grade.ROUNDED),
)
def monotonicity(case: Case) -> Iterator[Balances]:
    """Pruning raises neither the objective nor, without maxima, any score."""
    kept = _drawn(case, case.source(9))
    before, after = case.values(case.batch.weights).unsqueeze(1), case.values(_kept(case, kept)).unsqueeze(1)
    yield at_most("R", after, before, bound=relative_bound(case, 1, after.abs() + before.abs()))
    if Trait.MULTILINEAR not in case.traits and not case.outside:
        return
    pruned = replace(case, masks={n: m.expand(case.batch.size, *m.shape) for n, m in kept.items()}).scores
    for name, score in case.scores.items():
        left, right = pruned[name].flatten(1), score.flatten(1)
        yield at_most(f"weight of {name}", left, right, bound=relative_bound(case, 1, left.abs() + right.abs()))


@law(
    "B9",
    subject=Subject.SCORES,
    claim=Claim.PATH_SUM,
    needs={Trait.HOMOGENEOUS, Trait.MONOTONE},
    given=PATH_SUM,
    needs_objective=True,
    source="a score is the mass of the paths through a weight",
    impostor=without_small,
    breaks_on=(synflow, min_net),
    grades=(Grade.EXACT,),
)
def zero_score(case: Case) -> Iterator[Balances]:
    """Pruning every weight that scores zero leaves the objective as it is; without maxima no other weight is dead."""
    there = {n: s != 0 for n, s in case.scores.items()}
    before, after = (case.values(w).unsqueeze(1) for w in (case.batch.weights, _kept(case, there)))
    yield none_of(
        "R changed",
        (before != after).to(before),
        lambda b, u: f"R {float(before[b, u]):.6g} becomes {float(after[b, u]):.6g}",
        looked=before.isfinite() & after.isfinite(),
    )
    if Trait.MULTILINEAR in case.traits:
        yield from _live_paths(case, there)


def _live_paths(case: Case, there: Mapping[str, Tensor]) -> Iterator[Balances]:
    """Weights on a path without a zero, counted by what ones in place of weights would score."""
    present = {n: (w != 0).to(w) for n, w in case.batch.weights.items()}
    counts = replace(case, batch=replace(case.batch, weights=present), pruner=synflow).scores
    if case.flow is None:
        return  # it is not known where a score may have underflowed to 0
    for name, live in there.items():
        yield none_of(
            f"weight of {name}",
            (live != (counts[name] != 0)).flatten(1).to(case.dtype),
            lambda b, u, n=name, on=live: (  # type: ignore[misc]
                f"weight {n}[{u}] scores {'more than' if on.flatten(1)[b, u] else ''} 0 and is"
                f"{'' if not on.flatten(1)[b, u] else ' not'} on a live path"
            ),
            looked=case.flow.clear.unsqueeze(1),
        )


def _drawn(case: Case, source: torch.Generator) -> dict[str, Tensor]:
    """About three in four weights, one draw for all problems."""
    weights = case.batch.weights
    return {n: torch.rand(w.shape[1:], generator=source).lt(0.75).to(w.device) for n, w in weights.items()}


def _kept(case: Case, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {n: w * masks[n] for n, w in case.batch.weights.items()}
