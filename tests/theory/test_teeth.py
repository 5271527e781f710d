"""Every law kills its impostor, lets SynFlow live on the same ground, and breaks outside its hypotheses."""

from functools import cache

import pytest

from pruning.pruners.synflow import synflow
from theory.laws import catalogue
from theory.networks import built_in
from theory.networks.family import Family
from theory.search import Budget, breaks_outside, family_ground, search
from theory.verdict import Outcome

BUDGET = Budget(shapes=6, problems=16, seed=0)
LAWS = catalogue()


@cache
def ground_that_kills(name: str) -> tuple[Family, object]:
    """The first family on which a law breaks for its impostor, and the verdict."""
    law = LAWS[name]
    for family in built_in().values():
        verdict = search(law, law.impostor, family_ground(family, law.impostor, BUDGET))
        if verdict.outcome is Outcome.BROKEN:
            return family, verdict
    pytest.fail(f"{name} lets {law.impostor.name!r} live on every family")


@pytest.mark.parametrize("name", LAWS)
def test_impostor_is_killed_and_its_witness_stands_alone(name):
    _, verdict = ground_that_kills(name)
    assert verdict.witness is not None, "it was caught among others and can't be shown alone"
    assert verdict.witness.law == name and verdict.witness.pruner == LAWS[name].impostor.name


@pytest.mark.parametrize("name", LAWS)
def test_synflow_lives_on_the_same_ground(name):
    family, _ = ground_that_kills(name)
    verdict = search(LAWS[name], synflow, family_ground(family, synflow, BUDGET))
    assert verdict.outcome is Outcome.HELD and verdict.cases and verdict.balances


@pytest.mark.parametrize("name", [n for n, law in LAWS.items() if law.breaks_on])
def test_law_breaks_outside_its_hypotheses(name):
    assert breaks_outside(LAWS[name]) is not None


@pytest.mark.parametrize("name", LAWS)
def test_impostor_claims_what_it_breaks(name):
    """Else its being caught would be no failure."""
    law = LAWS[name]
    assert law.claim is None or law.claim in law.impostor.claims
