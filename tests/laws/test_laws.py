"""Every law, subject and family: what is claimed holds, and what is not claimed breaks where theory says."""

from dataclasses import replace
from functools import lru_cache

import pytest

from pruning.pruners import built_in as pruners
from theory.law import kinds_of
from theory.laws import catalogue
from theory.measured.scope import BUDGET, compared, kinds, recorded, subjects, trivial_share
from theory.networks import built_in as families
from theory.search import Ground, family_ground, rerun, search
from theory.verdict import Outcome
from theory.witness.files import load_corpus

CONSERVATION = {
    "neuron_conservation",
    "neuron_conservation_by_degree",
    "boundary_conservation",
    "layer_conservation",
    "layer_mean",
    "random_cut",
}
RESCALING = {"neuron_rescaling", "power_of_two_rescaling"}

# What each pruner does not claim and breaks; everything else that is in scope must hold.
BROKEN = {
    "synflow": set(),
    "snip": CONSERVATION | {"sign_flips", "data_free", "data_free_runs", "maximal_critical_compression"},
    "grasp": CONSERVATION
    | RESCALING
    | {"rescaled_masks", "sign_flips", "positivity", "data_free", "data_free_runs", "maximal_critical_compression"},
    "magnitude": CONSERVATION | RESCALING | {"rescaled_masks", "layer_scaling", "maximal_critical_compression"},
    "random": CONSERVATION | {"layer_scaling", "unit_permutation", "zero_when_masked", "maximal_critical_compression"},
}
CORPUS = load_corpus()
LAWS, SUBJECTS, FAMILIES, PRUNERS = catalogue(), subjects(), families(), pruners()  # which look into folders
ITEMS = [
    (subject, family, law.name)
    for subject in SUBJECTS
    for family in FAMILIES
    for law in LAWS.values()
    if family in recorded().get(subject, {}).get(law.name, {})
]


@lru_cache(maxsize=20)  # tests come subject by subject and family by family, or law by law, mostly about one subject
def ground(subject: str, family: str) -> Ground:
    return family_ground(FAMILIES[family], SUBJECTS[subject], BUDGET)


@pytest.mark.parametrize(("subject", "family", "law"), ITEMS)
def test_law(subject: str, family: str, law: str) -> None:
    """The outcome is the recorded one: held where it is claimed, and broken nowhere else than the theory says."""
    verdict = search(LAWS[law], SUBJECTS[subject], ground(subject, family), CORPUS)
    assert verdict.outcome.value == recorded()[subject][law][family], verdict.where
    if verdict.outcome is Outcome.BROKEN:
        assert law in BROKEN.get(subject, set()), verdict.where
    else:
        assert verdict.outcome is Outcome.VACUOUS or verdict.balances > 0, f"nothing was checked: {verdict}"


@pytest.mark.parametrize("law", LAWS)
def test_every_kind_of_balance_of_a_law_is_compared(law: str) -> None:
    """No part of a law goes silent: each is compared where the file says that it first was."""
    wanted = compared()[law]
    for place in dict.fromkeys(wanted.values()):
        found = kinds(LAWS[law], ground(*place))
        assert {kind for kind, where in wanted.items() if where == place} <= found, place


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_not_recorded_is_out_of_scope(subject: str, family: str) -> None:
    """The exact set: what a change brings into scope, or takes out, must be recorded."""
    place, found = ground(subject, family), recorded().get(subject, {})
    for law in LAWS.values():
        if law.subject in kinds_of(SUBJECTS[subject]) and family not in found.get(law.name, {}):
            assert search(law, SUBJECTS[subject], place, {}).outcome is Outcome.OUT_OF_SCOPE, law.name


@pytest.mark.parametrize(("law", "pruner"), [(law, p) for p, laws in BROKEN.items() for law in sorted(laws)])
def test_unclaimed_law_breaks_on_its_witness(law: str, pruner: str) -> None:
    found, subject = LAWS[law], PRUNERS[pruner]
    assert found.claim not in subject.claims
    witness = CORPUS[law, pruner]
    assert rerun(witness, found, subject) is not None, f"{witness.network} no longer breaks {law}"


def test_every_broken_law_is_recorded_as_broken_somewhere() -> None:
    for pruner, laws in BROKEN.items():
        assert laws == {law for law, outcomes in recorded()[pruner].items() if "broken" in outcomes.values()}


def test_every_law_is_checked_somewhere() -> None:
    for law in LAWS.values():
        outcomes = [o for found in recorded().values() for o in found.get(law.name, {}).values()]
        assert outcomes, f"{law.name} is checked nowhere"
        assert outcomes.count("vacuous") < len(outcomes), f"{law.name} is vacuous everywhere"


@pytest.mark.parametrize("law", LAWS)
def test_few_problems_are_trivial(law: str) -> None:
    """By the file's few shapes, or where those are too many by four times as many."""
    assert trivial_share(law) < 0.25 or finer_trivial_share(law) < 0.25


def finer_trivial_share(law: str) -> float:
    live, trivial, budget = 0, 0, replace(BUDGET, shapes=4 * BUDGET.shapes)
    for name, subject in SUBJECTS.items():
        for family in recorded().get(name, {}).get(law, {}):
            verdict = search(LAWS[law], subject, family_ground(FAMILIES[family], subject, budget))
            live, trivial = live + verdict.cases, trivial + verdict.trivial
    return trivial / (live + trivial)


def test_the_table_names_every_claim_free_law() -> None:
    for name, broken in BROKEN.items():
        claimed = {law.name for law in LAWS.values() if law.claim is None or law.claim in PRUNERS[name].claims}
        assert not claimed & broken
    assert set(BROKEN) == set(PRUNERS)


def test_every_claim_has_a_law_that_tests_it() -> None:
    tested = {law.claim for law in LAWS.values()}
    promised: set[object] = set().union(*(p.claims for p in PRUNERS.values()))
    assert promised <= tested
