"""The matrix of impostors: each is refuted, as the file says, by laws that its base keeps, and on a small network."""

from __future__ import annotations

from functools import lru_cache
from statistics import median

import pytest

from pruning.pruners.synflow import synflow
from theory.impostors.famous import FAMOUS
from theory.impostors.mutations import SCORES, SELECTIONS, STATES, mutants
from theory.laws import catalogue
from theory.measured.examined import BUDGET, refuting
from theory.measured.matrix import PAGE, impostors, page, recorded
from theory.networks import built_in as families
from theory.search import Ground, fails, family_ground

NAMES = [each.pruner.name for each in FAMOUS]


@lru_cache(maxsize=4)
def ground(name: str, family: str) -> Ground:
    return family_ground(families()[family], impostors()[name], BUDGET)


def test_the_file_knows_every_impostor():
    assert set(recorded()) == set(impostors())


@pytest.mark.parametrize("name", impostors())
def test_an_impostor_is_refuted(name):
    """By a contract, or by a law of a claim that it makes."""
    kills = refuting(impostors()[name], recorded()[name])
    assert kills
    law = min(kills, key=lambda law: kills[law].size)
    assert fails(catalogue()[law], ground(name, kills[law].family)) is not None


@pytest.mark.parametrize("name", NAMES)
def test_every_law_that_is_said_to_break_for_a_famous_one_breaks(name):
    for law, kill in sorted(recorded()[name].items(), key=lambda pair: pair[1].family):
        assert fails(catalogue()[law], ground(name, kill.family)) is not None, law


def test_half_of_the_impostors_are_refuted_within_three_layers_of_three_units():
    smallest = [refuting(impostors()[name], found) for name, found in recorded().items()]
    sizes = [min(kills.values(), key=lambda kill: kill.size) for kills in smallest]
    assert median(size.layers for size in sizes) <= 3 and median(size.units for size in sizes) <= 3


def test_each_mutation_stands_alone_and_in_pairs():
    names = list(mutants())
    for mutation in (*SCORES, *SELECTIONS, *STATES):
        assert f"SynFlow, {mutation}" in names
    assert all(made.claims == synflow.claims for made in mutants().values())


def test_the_page_says_what_the_file_says():
    assert PAGE.read_text(encoding="utf-8") == page(recorded())
