"""The other verbs: prune, list, explain, repro."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import Run

from pruning.maskfile import load_masks
from pruning.newer import newer
from pruning.pruner import Claim
from pruning.pruners import built_in
from theory.laws import catalogue
from theory.witness.files import CORPUS


def test_prune_prints_what_was_kept_round_by_round(run: Run) -> None:
    ended = run("prune", "synflow", "--model", "mine.py:small", "--compression", "10", "--rounds", "5", "--json")
    result = json.loads(ended.out)
    assert ended.status == 0
    assert (result["kept"], result["total"]) == (7, 72)
    assert [layer["size"] for layer in result["layers"]] == [48, 24]
    assert sum(layer["kept"] for layer in result["layers"]) == 7
    assert [r["kept"] for r in result["rounds"]] == [r["target"] for r in result["rounds"]]
    assert all(r["pruned_mass"] < r["cut_mass"] for r in result["rounds"])
    assert all(r["log_cut_mass"] == pytest.approx(math.log(r["cut_mass"])) for r in result["rounds"])


@pytest.mark.parametrize("schedule", ["mass-safe", "count-safe", "hybrid"])
def test_prune_goes_as_far_as_a_live_path_lets_it(run: Run, schedule: str) -> None:
    arguments = ("--model", "mine.py:small", "--schedule", schedule, "--json")
    result = json.loads(run("prune", "synflow", "--compression", "max", *arguments).out)
    assert [layer["kept"] for layer in result["layers"]] == [1] * len(result["layers"])
    assert all(r["pruned_mass"] < r["cut_mass"] for r in result["rounds"])
    ended = run("prune", "magnitude", "--compression", "max", *arguments)
    assert ended.status == 2 and "rests on the union bound (prunelaws explain B6), which 'magnitude'" in ended.err
    ended = run("prune", "synflow", "--compression", f"{result['total']}", *arguments)
    assert ended.status == 1 and "1 weights were asked for, and each of the" in ended.err


def test_prune_has_no_cut_mass_without_an_objective(run: Run) -> None:
    result = json.loads(run("prune", "random", "--model", "mine.py:small", "--compression", "2", "--json").out)
    assert [r["cut_mass"] for r in result["rounds"]] == [None]


def test_masks_that_are_written_can_be_read(run: Run, folder: Path) -> None:
    arguments = ("--model", "mine.py:small", "--compression", "8", "-o", "masks.safetensors")
    assert run("prune", "magnitude", *arguments).status == 0
    weights = {"0.weight": torch.empty(8, 6), "2.weight": torch.empty(3, 8)}
    masks, provenance = load_masks(folder / "masks.safetensors", weights)
    assert masks.kept == 9
    assert provenance["pruner"] == "magnitude"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--compression", "0.5"), "compression is 0.5, wanted 1 or more"),
        (("--compression", "0"), "wanted 1 or more"),
        (("--compression", "nan"), "wanted 1 or more"),
        (("--compression", "1000"), "below one weight; the highest possible compression is 72"),
        (("--compression", "2", "--schedule", "nonsense"), "there is no schedule 'nonsense'"),
        (("--compression", "2", "--schedule", "one-shot", "--rounds", "3"), "a one-shot schedule has 1 round"),
        (("--compression", "2", "--rounds", "0"), "--rounds"),
        (("--compression", "70", "--schedule", "fixed-step", "--rounds", "32767"), "a run has at most 32,767"),
        (("--compression", "much"), "compression is 'much', wanted a number or max"),
        (("--compression", "max"), "compression max is for mass-safe, count-safe, hybrid"),
        ((), "--compression"),
        (("--compression", "2", "--rounds", "40000"), "--rounds"),
        (("--compression", "2", "-o", "/dev/full"), "is no regular file"),
        (("--compression", "2", "-o", "."), "is no regular file"),
    ],
)
def test_prune_refuses_what_can_not_be(run: Run, arguments: tuple[str, ...], said: str) -> None:
    ended = run("prune", "magnitude", "--model", "mine.py:small", *arguments)
    assert ended.status == 2
    assert said in ended.err
    assert ended.out == ""


def test_a_scorer_that_fails_while_pruning_breaks_a_contract(run: Run) -> None:
    ended = run("prune", "mine.py:raises", "--model", "mine.py:small", "--compression", "2")
    assert ended.status == 1
    assert "raised RuntimeError: boom" in ended.err


def test_the_list_of_laws_is_complete(run: Run) -> None:
    rows = json.loads(run("list", "--laws", "--json").out)
    assert [row["name"] for row in rows] == list(catalogue())
    assert {"id", "name", "statement", "source", "subject", "claim", "grades"} <= set(rows[0])
    shown = run("list", "--laws").out
    assert all(f" {row['name']} " in shown and row["impostor"] in shown for row in rows)


def test_the_list_of_claims_says_by_laws_what_each_means(run: Run) -> None:
    rows = json.loads(run("list", "--claims", "--json").out)
    assert list(rows) == [claim.value for claim in Claim]
    named = [law["id"] for laws in rows.values() for law in laws]
    assert sorted(named) == sorted(law.id for law in catalogue().values() if law.claim)
    shown = " ".join(run("list", "--claims").out.split())
    assert all(law["statement"] in shown for laws in rows.values() for law in laws)


def test_two_lists_are_not_asked_for_at_once(run: Run) -> None:
    ended = run("list", "--laws", "--claims")
    assert ended.status == 2 and "ask for one of them" in ended.err


def test_the_list_of_what_is_built_in(run: Run) -> None:
    found = json.loads(run("list", "--json").out)
    assert set(found["pruners"]) == {*built_in(), *newer()} > {"synflow", "snip", "grasp", "magnitude", "random", "px"}
    assert "vgg16_bn" in found["models"]
    assert "dense, integer" in found["families"]


@pytest.mark.parametrize("law", list(catalogue()))
def test_explain_says_what_a_law_is_and_shows_it_broken(run: Run, law: str) -> None:
    ended = run("explain", law)
    assert ended.status == 0
    assert catalogue()[law].statement in ended.out
    assert catalogue()[law].impostor.name in ended.out


@pytest.mark.parametrize("name", ["a1", "A1", "Neuron_Conservation", " A1"])
def test_a_law_is_known_however_it_is_written(run: Run, name: str) -> None:
    assert run("explain", name).out.startswith("A1  neuron_conservation")


def test_explain_of_no_law(run: Run) -> None:
    ended = run("explain", "nonsense")
    assert ended.status == 2 and "there is no law 'nonsense'; `prunelaws list --laws` shows them all" in ended.err
    assert "did you mean neuron_conservation or " in run("explain", "neuron_conservtion").err


def test_a_name_that_a_file_lacks_is_met_with_those_that_it_defines(run: Run) -> None:
    ended = run("verify", "mine.py:laer")
    assert ended.status == 2 and "mine.py has no 'laer'" in ended.err
    assert " liar," in ended.err and " magnitude," in ended.err
    assert "torch" not in ended.err and "Claim" not in ended.err and "global_top_k" not in ended.err


@pytest.mark.parametrize("text", ["", "{", "[]", '{"law": "A1"}', "null"])
def test_a_file_that_is_no_witness(run: Run, folder: Path, text: str) -> None:
    (folder / "witness.json").write_text(text)
    ended = run("repro", "witness.json")
    assert ended.status == 2
    assert "is no witness" in ended.err


def test_a_witness_of_weights_that_are_no_numbers_is_none(run: Run, folder: Path) -> None:
    data = json.loads((CORPUS / "neuron-conservation--magnitude.json").read_text())
    data["spec"]["values"]["0.weight"] = [[float("nan")]]
    (folder / "witness.json").write_text(json.dumps(data))
    ended = run("repro", "witness.json")
    assert ended.status == 2 and "is no witness" in ended.err and "NaN" in ended.err


def test_a_witness_of_ones_own_pruner_asks_for_it(run: Run, folder: Path) -> None:
    text = (CORPUS / "neuron-conservation--magnitude.json").read_text()
    (folder / "witness.json").write_text(text.replace('"magnitude"', '"my own"'))
    ended = run("repro", "witness.json")
    assert ended.status == 2 and "the witness is of 'my own'" in ended.err and "add --pruner" in ended.err
    assert run("repro", "witness.json", "--pruner", "magnitude").status == 1


def test_a_witness_that_is_missing(run: Run) -> None:
    assert run("repro", "absent.json").status == 2


def test_a_failure_that_is_gone_is_said_to_be(run: Run, folder: Path) -> None:
    run("verify", "mine.py:liar", "--laws", "A1", "--examples", "16", "-o", "out")
    witness = next((folder / "out" / "witnesses").glob("*.json"))
    ended = run("repro", str(witness), "--pruner", "synflow")
    assert ended.status == 0
    assert "the failure is gone" in ended.out


def test_a_witness_that_can_not_be_judged_is_not_said_to_be_gone(run: Run, folder: Path) -> None:
    run("verify", "mine.py:liar", "--laws", "A1", "--examples", "16", "-o", "out")
    witness = next((folder / "out" / "witnesses").glob("*.json"))
    ended = run("repro", str(witness), "--pruner", "mine.py:nothing")
    assert ended.status == 3
    assert "no usable scores" in ended.err and "gone" not in ended.out


def test_the_command_is_also_a_module(folder: Path) -> None:
    ended = subprocess.run([sys.executable, "-m", "prunelaws"], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "--help" in ended.stderr


def test_help_teaches(run: Run) -> None:
    for verb in ("verify", "prune", "list", "explain", "repro"):
        assert "Usage" in run(verb, "--help").out
    assert "Exit status" in run("--help").out


def test_a_witness_lies_beside_a_script_that_repro_runs(run: Run) -> None:
    run("verify", "mine.py:magnitude", "--claim", "neuron conserved", "--laws", "A1", "--examples", "8")
    script = next(Path("reports/out/witnesses").glob("neuron-conservation--*.py"))
    assert "load_pruner('mine.py:magnitude', beside=__file__)" in script.read_text(encoding="utf-8")
    ended = run("repro", str(script))
    assert ended.status == 1 and "should be" in ended.out
    ended = run("repro", str(script), "--pruner", "synflow")
    assert ended.status == 2 and "names its pruner itself" in ended.err
    script.write_text(script.read_text(encoding="utf-8").replace("mine.py", "gone.py"))
    ended = run("repro", str(script))
    assert ended.status == 2 and "there is no file 'gone.py'" in ended.err
    ended = run("repro", "mine.py")
    assert ended.status == 2 and "is no script that `verify` wrote" in ended.err
    ended = run("repro", "absent.py")
    assert ended.status == 2 and "there is no such file" in ended.err


def test_a_pruner_that_ends_its_process_has_no_scripts(run: Run) -> None:
    ended = run("verify", "mine.py:leaves", "--laws", "S1", "--examples", "4")
    assert ended.status == 3 and not list(Path("reports/out").glob("witnesses/*.py"))
