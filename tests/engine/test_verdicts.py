"""The verdicts of the docs: what is said there of published pruners and of packages is what they do."""

from __future__ import annotations

import pytest
from verdicts import BUDGET, PAGE, page, recorded, subjects

from theory.laws import catalogue
from theory.measured.examined import is_held_to, stands
from theory.networks import built_in as families
from theory.search import Ground, fails, family_ground
from theory.verdict import Standing

pytestmark = pytest.mark.filterwarnings("ignore:[\\s\\S]*torch.ao.quantization is deprecated:DeprecationWarning")
KNOWN = subjects()


def ground(name: str, family: str) -> Ground:
    return family_ground(families()[family], KNOWN[name].pruner, BUDGET)


def test_the_file_knows_every_subject():
    assert set(recorded()) == set(KNOWN)


def test_the_page_says_what_the_file_says():
    assert PAGE.read_text(encoding="utf-8") == page(recorded())


@pytest.mark.parametrize("name", KNOWN)
def test_what_is_said_to_be_refuted_fails_again(name):
    for law, finding in recorded()[name].items():
        if stands(KNOWN[name].pruner, law, finding) is Standing.REFUTED:
            assert fails(catalogue()[law], ground(name, finding.family)) is not None, law


@pytest.mark.parametrize("name", KNOWN)
def test_what_is_said_to_be_kept_does_not_fail(name):
    place = ground(name, "dense, integer")
    for law, finding in recorded()[name].items():
        if finding.outcome == "held" and is_held_to(KNOWN[name].pruner, catalogue()[law]):
            assert fails(catalogue()[law], place) is None, law
