"""Every law, subject and family: what a pruner claims holds, and what it does not claim breaks where theory says."""

from functools import lru_cache

import pytest

from pruning.pruner import Pruner
from pruning.pruners import built_in as pruners
from theory.judge import out_of_scope
from theory.law import Law
from theory.laws import catalogue
from theory.networks import built_in as families
from theory.search import Budget, Ground, family_ground, rerun, search
from theory.verdict import Outcome
from theory.witnesses import load_corpus

BUDGET = Budget(shapes=6, problems=16, seed=0)
CONSERVATION = {"neuron_conservation", "boundary_conservation", "layer_conservation", "random_cut"}
RESCALING = {"neuron_rescaling", "power_of_two_rescaling"}

# What each pruner does not claim and breaks; everything else that is in scope must hold.
BROKEN = {
    "synflow": set(),
    "snip": CONSERVATION | {"sign_flips", "data_free", "maximal_critical_compression"},
    "grasp": CONSERVATION | RESCALING | {"sign_flips", "positivity", "data_free", "maximal_critical_compression"},
    "magnitude": CONSERVATION | RESCALING | {"maximal_critical_compression"},
    "random": CONSERVATION | {"unit_permutation", "zero_when_masked", "maximal_critical_compression"},
}


@lru_cache(maxsize=2)  # tests come pruner by pruner and family by family
def ground(pruner: str, family: str) -> Ground:
    return family_ground(families()[family], pruners()[pruner], BUDGET)


def kept() -> list[tuple[str, str, str]]:
    return [
        (law.name, pruner, family)
        for pruner in pruners()
        for family in families()
        for law in catalogue().values()
        if law.name not in BROKEN[pruner] and any(_in_scope(law, ground(pruner, family)))
    ]


def _in_scope(law: Law, place: Ground) -> list[bool]:
    return [out_of_scope(law, case) is None for case in place.cases(law)]


@pytest.mark.parametrize(("law", "pruner", "family"), kept())
def test_law_holds(law: str, pruner: str, family: str) -> None:
    verdict = search(catalogue()[law], pruners()[pruner], ground(pruner, family))
    assert verdict.outcome is not Outcome.BROKEN, verdict.where
    assert verdict.balances > 0 or verdict.outcome is Outcome.OUT_OF_SCOPE, f"nothing was checked: {verdict}"


@pytest.mark.parametrize(("law", "pruner"), [(law, p) for p, laws in BROKEN.items() for law in sorted(laws)])
def test_unclaimed_law_breaks_on_its_witness(law: str, pruner: str) -> None:
    found, subject = catalogue()[law], pruners()[pruner]
    assert found.claim not in subject.claims
    witness = load_corpus()[law, pruner]
    assert rerun(witness, found, subject) is not None, f"{witness.network} no longer breaks {law}"


def test_the_table_names_every_claim_free_law() -> None:
    for name, broken in BROKEN.items():
        claimed = {law.name for law in catalogue().values() if law.claim is None or law.claim in pruners()[name].claims}
        assert not claimed & broken
    assert set(BROKEN) == set(pruners())


def test_every_claim_has_a_law_that_tests_it() -> None:
    tested = {law.claim for law in catalogue().values()}
    promised: set[object] = set().union(*(_claims(p) for p in pruners().values()))
    assert promised <= tested


def _claims(pruner: Pruner) -> set[object]:
    return set(pruner.claims)
