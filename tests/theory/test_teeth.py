"""Every law kills its impostor, lets a correct subject live on the same ground, and breaks outside its hypotheses."""

import pytest

from pruning.pruners.grasp import grasp
from pruning.pruners.synflow import synflow
from theory.law import Law, Subject
from theory.laws import catalogue
from theory.measured.scope import BUDGET, recorded
from theory.networks import built_in
from theory.networks.family import Family
from theory.search import breaks_outside, family_ground, refutes, search
from theory.subjects import Stepper, Subjected, the_loss
from theory.subjects import built_in as subjects
from theory.verdict import Outcome, Verdict

LAWS = catalogue()
OUT = Outcome.OUT_OF_SCOPE.value


def ground_that_kills(name: str) -> tuple[Family, Verdict]:
    """The first family on which a law breaks for its impostor, and the verdict."""
    law = LAWS[name]
    for family in built_in().values():
        verdict = search(law, law.impostor, family_ground(family, law.impostor, BUDGET))
        if verdict.outcome is Outcome.BROKEN:
            return family, verdict
    pytest.fail(f"{name} lets {law.impostor.name!r} live on every family")


def correct(law: Law) -> list[Subjected]:
    """Subjects of the law's own kind that keep it, or that it does not speak of."""
    if law.subject is Subject.STEP:
        return [s for s in subjects().values() if isinstance(s, Stepper)]
    if law.subject not in (Subject.SCORES, Subject.TRACE):
        return [the_loss]
    spoken_of = [pruner for pruner in (synflow, grasp) if law.given <= pruner.claims]
    return spoken_of[:1]


@pytest.mark.parametrize("name", LAWS)
def test_an_impostor_is_killed_and_a_correct_subject_lives_on_the_same_ground(name):
    """The impostor's witness stands alone. What lives is recorded, and tests/laws holds that record to what is so."""
    family, killed = ground_that_kills(name)
    assert killed.witness is not None, "it was caught among others and can't be shown alone"
    assert killed.witness.law == name and killed.witness.pruner == LAWS[name].impostor.name
    outcomes = [recorded()[s.name].get(name, {}).get(family.name, OUT) for s in correct(LAWS[name])]
    assert Outcome.HELD.value in outcomes and set(outcomes) <= {Outcome.HELD.value, OUT}


@pytest.mark.parametrize("name", [n for n, law in LAWS.items() if law.breaks_on])
def test_law_breaks_outside_its_hypotheses(name):
    assert breaks_outside(LAWS[name]) is not None


@pytest.mark.parametrize(("name", "said"), [(n, said) for n, law in LAWS.items() for said in law.corrects])
def test_what_is_often_said_is_false(name, said):
    assert refutes(LAWS[name], said) is not None
    assert said.statement.endswith(".") and said.statement != LAWS[name].statement


@pytest.mark.parametrize("name", LAWS)
def test_impostor_claims_what_it_breaks(name):
    """Else its being caught would be no failure."""
    law = LAWS[name]
    assert law.claim is None or law.claim in law.impostor.claims
