"""Contracts and plain promises of a score: usable, pure, positive, data-free, repeatable, of its objective."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from pruning.answers import ScoreError, ask_scorer
from pruning.masks import Masks
from pruning.network import Network
from pruning.problem import Probe
from pruning.pruner import Claim, State
from theory.calculus import by_certificate, slopes, standing, times
from theory.case import Case
from theory.impostors.scores import halved, logarithmic, mutating, peeking, signed_saliency, unseeded
from theory.law import Balances, Grade, Subject, at_most, counted, equal, law, none_of, told
from theory.laws.masked import random_masks
from theory.laws.paths import relative_bound
from theory.traits import Trait
from theory.untouched import changed_by, elsewhere

EXACT = (Grade.EXACT,)


@law(
    "S1",
    subject=Subject.SCORES,
    claim=None,
    source="contract: a selection needs one finite number per weight",
    impostor=logarithmic,
    grades=EXACT,
)
def usable_scores(case: Case) -> Iterator[Balances]:
    """The scorer returns one finite number per weight, in the weights' type, and does not raise."""
    together = _fault(case)
    faults = [_fault(case.only(i)) for i in range(case.batch.size)] if together else []
    if not any(faults):
        faults = [together] * case.batch.size
    yield none_of("fault", torch.tensor([[float(bool(f))] for f in faults]), lambda b, u: faults[b])


@law(
    "B14",
    subject=Subject.SCORES,
    claim=None,
    source="contract: scoring must not touch what it scores",
    impostor=mutating,
    grades=EXACT,
    one_by_one=True,
)
def purity(case: Case) -> Iterator[Balances]:
    """Scoring leaves weights, constants, masks, data, random states and torch's modes as they were, to the bit."""
    masks = random_masks(case)
    problems = enumerate(case.batch.singles())

    def score(network: Network, state: State, probe: Probe) -> None:
        ask_scorer(case.pruner, network, state, probe)

    changed = [changed_by(score, p, Masks({n: m[i] for n, m in masks.items()})) for i, p in problems]
    count = torch.tensor([[float(len(names))] for names in changed])
    yield none_of("tensors changed", count, lambda b, u: f"scoring changed {', '.join(changed[b])}")


@law(
    "S2",
    subject=Subject.SCORES,
    claim=Claim.POSITIVE,
    source="Tanaka et al. 2020, the axiom's hypothesis",
    impostor=signed_saliency,
    grades=EXACT,
)
def positivity(case: Case) -> Iterator[Balances]:
    """No score is negative, before anything is pruned and after; without data, where the network is monotone."""
    if not case.scored[1].calls["batch"] and Trait.MONOTONE not in case.traits:
        return
    pruned = replace(case, masks=random_masks(case)).scores
    both = [*case.scores.items(), *((f"{name} once pruned", score) for name, score in pruned.items())]
    for name, score in both:
        flat = score.flatten(1)
        yield at_most(
            f"weight of {name}",
            -flat,
            torch.zeros_like(flat),
            bound=counted(flat),
            label=lambda b, u, n=name, s=flat: f"weight {n}[{u}] scores {float(s[b, u]):.6g}",  # type: ignore[misc]
        )


@law(
    "S4",
    subject=Subject.SCORES,
    claim=Claim.DATA_FREE,
    source="Tanaka et al. 2020, section 5",
    impostor=peeking,
    grades=EXACT,
)
def data_free(case: Case) -> Iterator[Balances]:
    """Scoring asks for no data and no labels."""
    pruned = replace(case, masks=random_masks(case))
    calls = case.scored[1].calls["batch"] + pruned.scored[1].calls["batch"]
    count = torch.full((case.batch.size, 1), float(calls))
    yield none_of("uses of the batch", count, lambda b, u: f"the scorer asked for the batch {calls} times")


@law(
    "S5",
    subject=Subject.SCORES,
    claim=Claim.DETERMINISTIC,
    source="same problem, same seed, same scores",
    impostor=unseeded,
    grades=EXACT,
)
def determinism(case: Case) -> Iterator[Balances]:
    """The same problem scored twice gives the same bits."""
    with elsewhere():  # who draws from torch's own state draws something else now
        again = replace(case).scores
    for name, score in case.scores.items():
        first, second = score.flatten(1), again[name].flatten(1)
        yield equal(f"weight of {name}", first, second, bound=counted(first), scale=torch.ones_like(first))


@law(
    "S6",
    subject=Subject.SCORES,
    claim=None,
    needs_objective=True,
    source="contract: S = w * dR/dw, Tanaka et al. 2020, section 4, or its size, as in SNIP; rounding bounds rest on R",
    impostor=halved,
    grades=(Grade.EXACT, Grade.ROUNDED, Grade.ORDER),
)
def declared_objective(case: Case) -> Iterator[Balances]:
    """Each score is, up to its sign, its weight times the derivative of the objective that the pruner declares."""
    product, cancels = times(standing(case), slopes(case)), not _nothing_cancels(case)
    certified = torch.zeros(case.batch.size, dtype=torch.bool) if case.flow is None else case.flow.exact
    for name, score in case.scores.items():
        left, right = score.abs().flatten(1), product[name].abs().flatten(1)

        def label(b: int, u: int, name: str = name, left: Tensor = left, right: Tensor = right) -> str:
            return f"weight {name}[{u}]: size {' and not '.join(told(left[b, u], right[b, u]))}"

        bound = None if cancels else relative_bound(case, 2, right)
        if bound is None:
            yield from by_certificate(f"weight of {name}", left, right, left + right, certified, label)
        else:
            yield equal(f"weight of {name}", left, right, bound=bound, label=label)


def _nothing_cancels(case: Case) -> bool:
    """Whether all terms of every sum are nonnegative."""
    return Claim.PATH_SUM in case.pruner.claims and {Trait.HOMOGENEOUS, Trait.MULTILINEAR} <= case.traits


def _fault(case: Case) -> str:
    try:
        return "" if case.scores else "no scores"
    except ScoreError as error:
        return str(error)
