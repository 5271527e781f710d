"""Witnesses as scripts: each shows its failure by itself, and none where the pruner is right."""

from __future__ import annotations

import ast
import re

import pytest
import torch

from pruning.pruner import Pruner
from pruning.references import load_pruner
from pruning.surroundings import as_they_were
from theory.laws import catalogue
from theory.networks import built_in as families
from theory.numerics import unit_roundoff
from theory.search import Budget, family_ground, search
from theory.verdict import Witness
from theory.witness.scripts import LONGEST, script

SCORES, PICKS = "theory.impostors.scores", "theory.impostors.selections"
BUDGET = Budget(shapes=6, problems=4, seed=0)

# a law, a pruner that breaks it, where, and one that doesn't; what the script shows it by
SHOWN = [
    ("neuron_conservation", f"{SCORES}:over_fan_in", "dense, integer", "synflow", "an equation"),
    ("neuron_conservation", "magnitude", "conv, integer", "synflow", "an equation"),
    ("neuron_conservation", f"{SCORES}:nudged", "dense, real", "synflow", "an equation"),
    ("layer_conservation", "snip", "dense, real", "synflow", "an equation"),
    ("declared_objective", f"{SCORES}:halved", "dense, integer", "synflow", "an equation"),  # one side is no score
    ("positivity", f"{SCORES}:signed_saliency", "dense, integer", "snip", "an equation"),  # at most
    ("sign_flips", "snip", "dense, integer", "synflow", "an equation"),  # two sets of weights
    ("zero_when_masked", f"{SCORES}:mask_gradient", "dense, integer", "snip", "an equation"),  # masks
    ("masked_as_zero", f"{SCORES}:stale_gradient", "dense, integer", "synflow", "an equation"),
    ("sample_order", f"{SCORES}:last_half", "dense, integer", "snip", "an equation"),  # two batches
    ("determinism", f"{SCORES}:unseeded", "dense, integer", "synflow", "data"),
    ("gradient_signal", f"{SCORES}:lowering_flow", "dense, real", "grasp", "an equation"),
    ("exact_budget", f"{PICKS}:by_threshold", "dense, integer", "synflow", "a run"),
    ("nested_masks", f"{PICKS}:unpinned", "conv, integer", "synflow", "a run"),
    ("data_free", "snip", "dense, integer", "synflow", "a run"),
    ("data_free_runs", f"{PICKS}:data_reading", "dense, integer", "synflow", "a run"),
    ("maximal_critical_compression", "magnitude", "dense, integer", "synflow", "a run"),
    ("maximal_critical_compression", f"{SCORES}:over_layer", "conv, real", "synflow", "a run"),
    ("pure_choice", f"{PICKS}:writing_choice", "dense, integer", "synflow", "data"),
    ("repeated_runs", f"{PICKS}:unseeded_choice", "dense, integer", "synflow", "data"),
    ("usable_runs", f"{SCORES}:only_unpruned", "dense, integer", "synflow", "a run"),
    ("purity", f"{SCORES}:mutating", "dense, integer", "synflow", "data"),
    ("neuron_conservation", "magnitude", "residual, integer", "synflow", "an equation"),  # a class for the branches
    ("neuron_conservation_by_degree", "magnitude", "power, integer", "synflow", "an equation"),  # and for relu^2
]


def found(law: str, reference: str, family: str) -> tuple[Witness, Pruner]:
    pruner = load_pruner(reference)
    verdict = search(catalogue()[law], pruner, family_ground(families()[family], pruner, BUDGET))
    assert verdict.witness is not None
    return verdict.witness, pruner


def run(text: str) -> int:
    with as_they_were(), pytest.raises(SystemExit) as ended:  # a script chooses its default dtype
        exec(compile(text, "witness.py", "exec"), {"__file__": __file__})
    return int(ended.value.code or 0)


@pytest.mark.parametrize(("law", "reference", "family", "right", "way"), SHOWN)
def test_a_script_fails_with_the_pruner_and_not_with_a_right_one(law, reference, family, right, way, capsys):
    if law == "neuron_conservation" and family == "residual, integer":
        witness, pruner = joined(law, reference, family)
    else:
        witness, pruner = found(law, reference, family)
    text = script(witness, catalogue()[law], pruner, reference)
    assert ("scores(pruner" in text, "prune(problem" in text, "repro(json" in text) == (
        way == "an equation",
        way == "a run",
        way == "data",
    )
    assert len(text.splitlines()) < LONGEST
    assert run(text) == 1 and capsys.readouterr().out
    assert run(text.replace(repr(reference), repr(right))) == 0
    assert ("beside=__file__" in text) == (":" in reference)


def test_a_script_finds_the_pruner_above_it_and_says_where_there_is_none(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("from pruning.pruners.magnitude import magnitude as mine\n")
    witness, pruner = found("neuron_conservation", "magnitude", "dense, integer")
    for law, reference in (("neuron_conservation", "mine.py:mine"), ("purity", "mine.py:mine")):
        text = script(witness, catalogue()[law], pruner, reference)
        below = tmp_path / "out" / "witnesses" / "shown.py"
        below.parent.mkdir(parents=True, exist_ok=True)
        monkeypatch.chdir(below.parent.parent)
        with as_they_were(), pytest.raises(SystemExit) as ended:
            exec(compile(text, "shown.py", "exec"), {"__file__": str(below)})
        assert ended.value.code == 1


def test_a_script_without_its_pruner_ends_with_another_status(tmp_path, monkeypatch, capsys):
    witness, pruner = found("neuron_conservation", "magnitude", "dense, integer")
    text = script(witness, catalogue()["neuron_conservation"], pruner, "nowhere.py:mine")
    monkeypatch.chdir(tmp_path)
    with as_they_were(), pytest.raises(SystemExit) as ended:
        exec(compile(text, "shown.py", "exec"), {"__file__": str(tmp_path / "shown.py")})
    assert ended.value.code == 2 and "there is no file 'nowhere.py'" in capsys.readouterr().err


def joined(law: str, reference: str, family: str) -> tuple[Witness, Pruner]:
    """A witness that is not minimised, so that its branches are still there."""
    from dataclasses import replace

    from theory.networks.family import examples
    from theory.networks.spec import NetSpec

    witness, pruner = found(law, reference, family)
    for shape, seed in examples(families()[family], 6, 0):
        batch = families()[family].batch(shape, seed, 1)
        spec = NetSpec.of(batch, 0)
        if "sum(" in str(spec):
            return replace(witness, spec=spec.to_json(), network=str(spec)), pruner
    raise AssertionError("no network of the family has branches")


def test_a_script_imports_torch_and_where_the_pruner_is_from_alone():
    witness, pruner = found("neuron_conservation", "magnitude", "dense, integer")
    text = script(witness, catalogue()["neuron_conservation"], pruner, "magnitude")
    modules = {n.module for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ImportFrom)}
    assert modules == {"torch", "prunelaws"}
    assert re.search(r'left = a\["0\.weight"\]', text) and 'right = a["2.weight"]' in text


def test_a_bound_is_the_one_that_was_derived():
    witness, pruner = found("neuron_conservation", f"{SCORES}:nudged", "dense, real")
    text = script(witness, catalogue()["neuron_conservation"], pruner, f"{SCORES}:nudged")
    allowed = float(re.search(r"abs\(left - right\) > ([^)]*)\)", text)[1])
    assert 0 <= allowed < abs(witness.left - witness.right)


def test_a_script_still_fails_where_a_bug_is_half_mended():
    """What is allowed does not grow with the gap that was found: it is half the digits of what flows there."""
    witness, pruner = found("neuron_conservation", "magnitude", "dense, integer")
    text = script(witness, catalogue()["neuron_conservation"], pruner, "magnitude")
    allowed = float(re.search(r"abs\(left - right\) > ([^)]*)\)", text)[1])
    assert 0 < allowed <= unit_roundoff(torch.float64) ** 0.5 * (abs(witness.left) + abs(witness.right))
