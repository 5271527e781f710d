"""The corpus: each witness still shows its failure, is small, and is found anew without the corpus."""

import json
from pathlib import Path

import pytest
from test_laws import BROKEN, BUDGET

from pruning.pruner import Pruner
from pruning.pruners import built_in as pruners
from theory.impostors.famous import FAMOUS
from theory.laws import catalogue
from theory.measured.examined import is_held_to
from theory.networks import built_in as families
from theory.networks.shape import Conv, Dense
from theory.networks.spec import NetSpec
from theory.search import family_ground, rerun, search
from theory.verdict import Outcome, Witness
from theory.witness.files import CORPUS, load_corpus, read_witness, save_witness

KNOWN_WITNESSES = load_corpus()
KNOWN = {**pruners(), **{each.pruner.name: each.pruner for each in FAMOUS}}
PAIRS = [(law, pruner) for pruner, laws in BROKEN.items() for law in sorted(laws)]


def units(witness: Witness) -> list[int]:
    """Outputs of each weighted layer, the input's units first."""
    shape = NetSpec.from_json(witness.spec).shape
    return [shape.input[0], *(layer.outputs for layer in shape.layers if isinstance(layer, (Dense, Conv)))]


def test_the_corpus_has_a_witness_for_every_law_that_a_built_in_pruner_breaks_and_for_every_famous_mistake() -> None:
    built_in = [pair for pair in KNOWN_WITNESSES if pair[1] in pruners()]
    assert sorted(built_in) == sorted(PAIRS)
    assert {pruner for _, pruner in KNOWN_WITNESSES} <= set(KNOWN)
    for each in FAMOUS:
        assert any(_shows(law, whose, each.pruner) for law, whose in KNOWN_WITNESSES), each.mistake


def _shows(law: str, whose: str, pruner: Pruner) -> bool:
    """Whether a network of the corpus refutes a pruner, whoever else it was found with."""
    found = catalogue()[law]
    return is_held_to(pruner, found) and rerun(KNOWN_WITNESSES[law, whose], found, pruner) is not None


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.json")), ids=lambda path: path.stem)
def test_a_witness_in_the_corpus_is_small_and_shows_its_failure(path: Path) -> None:
    witness = read_witness(path)
    assert len(units(witness)) - 1 <= 3 and max(units(witness)) <= (3 if witness.pruner in pruners() else 5)
    assert rerun(witness, catalogue()[witness.law], KNOWN[witness.pruner]) is not None


@pytest.mark.parametrize(("law", "pruner"), PAIRS)
def test_a_witness_is_found_anew_without_the_corpus(law: str, pruner: str) -> None:
    found, subject = catalogue()[law], pruners()[pruner]
    grounds = (family_ground(family, subject, BUDGET) for family in families().values())
    verdict = next(v for v in (search(found, subject, g, {}) for g in grounds) if v.outcome is Outcome.BROKEN)
    assert verdict.witness is not None
    assert max(units(verdict.witness)) <= 3 and len(units(verdict.witness)) - 1 <= 3


def test_a_witness_is_written_whole_and_read_back(tmp_path: Path) -> None:
    witness = next(iter(KNOWN_WITNESSES.values()))
    path = save_witness(witness, tmp_path)
    assert read_witness(path) == witness
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_file_in_the_corpus_that_is_no_witness_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(json.dumps({"law": "A1"}))
    with pytest.raises(ValueError, match=r"bad\.json is no witness"):
        load_corpus(tmp_path)
