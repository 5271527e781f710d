"""What the bounds still catch: a score that is off by four bounds, or by one part in a thousand million."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from subjects import CORRECT, FAMILIES, cases, with_scores
from torch import Tensor

from pruning.pruner import Pruner, State
from pruning.pruners.synflow import synflow
from theory.case import Case
from theory.judge import judge, out_of_scope
from theory.law import Law, Subject
from theory.laws import catalogue
from theory.numerics import least_flow

A1 = catalogue()["neuron_conservation"]
BOUNDED = [f for f in FAMILIES if f.name.startswith(("dense", "conv", "residual", "linear"))]
ERROR = 1e-9
BOUNDED_LAWS = [A1, catalogue()["declared_objective"]]
ORDER_LAWS = [
    law
    for law in catalogue().values()
    if law.subject is Subject.SCORES and law.claim in synflow.claims and not law.one_by_one
]


def with_one_off(pruner: Pruner, pick: Callable[[Tensor, State], Tensor]) -> Pruner:
    """The pruner with one score off by ERROR: among those that are not 0, the one where `pick` is largest."""

    def score(network, state, probe):
        scores = pruner.score(network, state, probe)
        flat = torch.cat([s.flatten() for s in scores.values()])
        hit = torch.arange(len(flat)) == torch.where(flat == 0, -1, pick(flat, state)).argmax()
        pieces = torch.where(hit, flat * (1 + ERROR), flat).split([s.numel() for s in scores.values()])
        return {n: piece.view(s.shape) for (n, s), piece in zip(scores.items(), pieces, strict=True)}

    return replace(pruner, score=score)


def scattered(flat: Tensor) -> Tensor:
    """A number between 0 and 1 for each place, much as if drawn."""
    return (torch.arange(1, len(flat) + 1, dtype=torch.float64) * 0.7548776662 * len(flat)).frac()


def by_digits(flat: Tensor, state: State) -> Tensor:
    """Another score wherever the weights differ."""
    weights = torch.cat([w.flatten() for w in state.weights.values()]).double()
    return (weights * 0.6180339887 + scattered(flat)).frac().abs()


def random_one(pruner: Pruner) -> Pruner:
    """One random score is off: another in every network."""
    return with_one_off(pruner, by_digits)


def same_one(pruner: Pruner) -> Pruner:
    """The score of the same weight is always off."""
    return with_one_off(pruner, lambda flat, state: scattered(flat))


@pytest.mark.parametrize("pruner", CORRECT, ids=lambda p: p.name)
@pytest.mark.parametrize("family", [f for f in BOUNDED if f.generic], ids=lambda f: f.name)
def test_four_bounds_too_much_is_caught_in_every_unit(family, pruner):
    """Of the first sixteen of each network."""
    tried = 0
    for case in cases(family, pruner, 12, 1):
        bound = case.flow_bound().size[0]
        for unit in case.units.tolist()[:16]:
            if float(case.absolute[0, unit]) <= least_flow(case.dtype):
                continue  # nothing flows there
            edge = case.graph.junction_of(unit).incoming[0]
            scores = {n: s.clone() for n, s in case.scores.items()}
            enters = edge.per_head(torch.eye(case.graph.units)[unit]).bool()
            sizes = torch.where(enters, scores[edge.weight][0].abs(), -1)
            scores[edge.weight][0].view(-1)[int(sizes.argmax())] += 4 * float(bound[unit])
            assert judge(A1, with_scores(case, scores)).failures, (case.batch.shape, unit)
            tried += 1
    assert tried > 50


def judged(family, pruner: Pruner, problems: int, seed: int, at_once: int = 5) -> Iterator[tuple[Case, Tensor]]:
    """Cases with hidden units, and which of their problems have scores that are not all 0: else nothing is said."""
    for case in cases(family, pruner, problems // at_once, at_once, seed):
        if len(case.units):
            yield case, torch.stack([s.flatten(1).any(1) for s in case.scores.values()]).any(0)


def of_a_mutant(clean: Case, mutated: Callable[[Pruner], Pruner]) -> Case:
    """The case under the pruner with one score off; its objective is the same, and so is the flow."""
    case = Case(clean.batch, mutated(synflow))
    vars(case)["flow"] = clean.flow
    return case


def refuted(case: Case, laws: list[Law]) -> Tensor:
    """The problems that any of the laws refutes; no further law is asked when all of them are."""
    broken = torch.zeros(case.batch.size, dtype=torch.bool)
    for law in laws:
        found = judge(law, case) if out_of_scope(law, case) is None else None
        broken |= found.broken if found is not None else False
        if bool(broken.all()):
            break
    return broken


@pytest.mark.parametrize("family", [f for f in BOUNDED if not f.generic], ids=lambda f: f.name)
@pytest.mark.parametrize(("mutated", "problems"), [(random_one, 280), (same_one, 60)])
def test_one_score_off_is_always_caught_in_exact_problems(family, mutated, problems):
    tried = 0
    for clean, scored in judged(family, synflow, problems, seed=4):
        assert not refuted(clean, BOUNDED_LAWS).any()
        exact = scored & clean.exact
        assert (refuted(of_a_mutant(clean, mutated), BOUNDED_LAWS) | ~exact).all(), clean.batch.shape
        tried += int(exact.sum())
    assert tried > 0.8 * problems, tried


@pytest.mark.parametrize("family", [f for f in BOUNDED if f.generic], ids=lambda f: f.name)
@pytest.mark.parametrize(("mutated", "problems"), [(random_one, 100), (same_one, 60)])
def test_one_score_off_is_always_caught_in_rounded_problems(family, mutated, problems):
    tried = 0
    for clean, scored in judged(family, synflow, problems, seed=4):
        assert not refuted(clean, BOUNDED_LAWS).any() and not bool(clean.exact.any())
        assert (refuted(of_a_mutant(clean, mutated), BOUNDED_LAWS) | ~scored).all(), clean.batch.shape
        tried += int(scored.sum())
    assert tried > 0.8 * problems, tried


@pytest.mark.parametrize("family", BOUNDED, ids=lambda f: f.name)
@pytest.mark.parametrize(("mutated", "least"), [(random_one, 0.99), (same_one, 0.85)])
def test_one_score_off_is_caught_in_nearly_all_problems_by_order(family, mutated, least):
    """A scorer whose arithmetic is not known: no objective, so no bound, and networks without biases.

    An error in a random score shows wherever scores are compared with those of an equivalent network. One
    that stays with its weight shows in its unit's sums alone, and there only a share above about 1e-12 does:
    at a corner of a kernel that mostly sees padding a score is less.
    """
    hits, tried = 0, 0
    for clean, scored in judged(family, replace(synflow, objective=None), 130, seed=6, at_once=2):
        if not clean.has_sources:
            case = Case(clean.batch, mutated(clean.pruner), generic=clean.generic)
            hits += int((refuted(case, ORDER_LAWS) & scored).sum())
            tried += int(scored.sum())
    assert tried >= 45 and hits >= least * tried, (hits, tried)


def test_the_mutation_is_one_score_off_by_its_size():
    for case in cases(FAMILIES[1], random_one(synflow), 5, 1):
        clean = Case(case.batch, synflow).scores
        ratios = torch.cat([(case.scores[n] / clean[n]).flatten() for n in clean]) - 1
        off = ratios[ratios.nan_to_num() != 0]
        assert len(off) == 1 and abs(float(off[0]) - ERROR) < torch.finfo(torch.float64).eps
