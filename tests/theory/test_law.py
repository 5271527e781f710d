"""The decorator that makes laws, and the balances they yield."""

import types

import pytest
import torch

from pruning.pruners.synflow import synflow
from theory import laws
from theory.impostors.scores import halved
from theory.law import Grade, Subject, at_most, counted, equal, law, laws_in
from theory.networks.outside import tanh_net
from theory.traits import Trait

COMMON = {"subject": Subject.SCORES, "claim": None, "source": "here", "impostor": halved, "grades": (Grade.EXACT,)}


def test_the_first_line_of_the_docstring_is_the_statement():
    def something(case):
        """It holds.

        And more on why.
        """
        yield

    made = law("Z1", **COMMON)(something)
    assert (made.id, made.name, made.statement) == ("Z1", "something", "It holds.")


@pytest.mark.parametrize("text", [None, "", "   \n "])
def test_a_law_without_a_docstring_is_refused(text):
    def unsaid(case):
        yield

    unsaid.__doc__ = text
    with pytest.raises(ValueError, match="Z2 has no docstring"):
        law("Z2", **COMMON)(unsaid)


@pytest.mark.parametrize("trait", [Trait.HOMOGENEOUS, Trait.MULTILINEAR, Trait.CHAIN])
def test_a_hypothesis_asks_for_a_network_outside_of_it(trait):
    def needy(case):
        """It holds there."""
        yield

    with pytest.raises(ValueError, match="Z3 has hypotheses"):
        law("Z3", needs={trait}, **COMMON)(needy)
    assert law("Z3", needs={trait}, breaks_on=(synflow, tanh_net), **COMMON)(needy).needs == {trait}


def test_an_impostor_is_part_of_the_signature():
    with pytest.raises(TypeError, match="impostor"):
        law("Z4", **{k: v for k, v in COMMON.items() if k != "impostor"})


def test_two_laws_of_one_name_are_refused(monkeypatch):
    double = law("Z5", **COMMON)(laws.catalogue()["purity"].measure)
    assert double.name == "purity"
    monkeypatch.setattr(laws.conservation, "double", double, raising=False)
    with pytest.raises(ValueError, match="two laws are named 'purity'"):
        laws.catalogue()


def test_the_catalogue_has_every_law_once_in_the_order_of_its_numbers():
    found = laws.catalogue()
    assert len({la.id for la in found.values()}) == len(found) >= 20
    ids = [la.id for la in found.values()]
    assert ids.index("A1") < ids.index("A2") < ids.index("B3") < ids.index("B12a") < ids.index("M1")
    assert all(la.statement.endswith(".") and la.source and la.grades for la in found.values())


def test_laws_in_finds_laws_and_nothing_else():
    made = laws.catalogue()["purity"]
    module = types.SimpleNamespace(a=made, b=made.measure, c="purity")
    assert list(laws_in(module)) == [made]


@pytest.mark.parametrize("make", [equal, at_most])
def test_sides_of_other_shapes_are_refused(make):
    with pytest.raises(ValueError, match=r"'x' have left \(2, 3\) and right \(2, 1\), wanted \(batch, unit\)"):
        make("x", torch.ones(2, 3), torch.ones(2, 1))
    with pytest.raises(ValueError, match=r"wanted \(batch, unit\)"):
        make("x", torch.ones(2), torch.ones(2))


def test_residual_is_two_sided_for_equality_and_one_sided_for_at_most():
    left, right = torch.tensor([[1.0, 3.0]]), torch.tensor([[2.0, 1.0]])
    assert equal("x", left, right).residual.tolist() == [[1.0, 2.0]]
    assert at_most("x", left, right).residual.tolist() == [[0.0, 2.0]]
    assert equal("x", left, right).scale.tolist() == [[3.0, 4.0]]


def test_counted_tolerates_nothing():
    bound = counted(torch.ones(2, 3, dtype=torch.int64))
    assert not bound.size.any() and bound.exact.all() and bound.size.shape == (2, 3)
