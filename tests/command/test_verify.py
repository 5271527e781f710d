"""`prunelaws verify`: exit statuses, messages and files."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Run

from reports.failure import rerun
from reports.record import from_json

QUICK = ("--examples", "4")


def test_a_claim_that_is_broken_is_refuted_in_four_lines(run: Run) -> None:
    ended = run("verify", "mine.py:liar", "--laws", "neuron_conservation", *QUICK)
    assert ended.status == 1
    block = next(b for b in ended.out.split("\n\n") if b.startswith("liar claims")).splitlines()
    assert block[0] == "liar claims 'neuron conserved' but breaks neuron_conservation"
    assert [line.split()[0] for line in block[1:]] == ["law", "network", "where"]
    assert "Net(Dense([[" in block[2]
    assert " in, " in block[3] and "rerun: prunelaws repro " in block[3]
    assert "Traceback" not in ended.out + ended.err


def test_the_rerun_command_that_is_printed_works(run: Run) -> None:
    ended = run("verify", "mine.py:liar", "--laws", "A1", *QUICK)
    command = ended.out.split("rerun: prunelaws ")[1].splitlines()[0].split()
    again = run(*command)
    assert again.status == 1
    assert again.out.startswith("liar breaks neuron_conservation")


def test_claims_that_are_kept_end_well(run: Run) -> None:
    ended = run("verify", "mine.py:honest", *QUICK)
    assert ended.status == 0
    assert "Every claim and contract was kept" in ended.out
    assert "REFUTED" not in ended.out.split("(held*")[0]


def test_a_bare_function_is_held_to_contracts_only(run: Run) -> None:
    ended = run("verify", "mine.py:magnitude", *QUICK)
    assert ended.status == 0
    assert "broken" in next(line for line in ended.out.splitlines() if line.startswith("A1 "))
    assert "--claim" in ended.err and "claims=[" in ended.err
    assert "--claim 'positive'" in ended.err and "--claim 'neuron conserved'" not in ended.err


def test_a_bare_function_can_be_held_to_a_claim(run: Run) -> None:
    assert run("verify", "mine.py:magnitude", "--claim", "NEURON_CONSERVED", "--laws", "A1", *QUICK).status == 1
    assert run("verify", "mine.py:magnitude", "--claim", "positive", "--laws", "S2", *QUICK).status == 0


@pytest.mark.parametrize(
    ("pruner", "said"),
    [
        ("raises", "raised RuntimeError: boom"),
        ("wrong_shapes", "has shape (), wanted"),
        ("not_a_number", "NaN"),
        ("nothing", "returned NoneType, wanted a mapping"),
        ("changes_weights", "scoring changed weight"),
    ],
)
def test_a_broken_contract_fails_without_a_traceback(run: Run, pruner: str, said: str) -> None:
    ended = run("verify", f"mine.py:{pruner}", "--laws", "usable_scores,purity", *QUICK)
    assert ended.status == 1
    assert said in ended.out
    assert "Traceback" not in ended.out + ended.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nonsense",), "there is no pruner 'nonsense'; built in are force, grasp, lamp, magnitude, ntk-sap,"),
        (("absent.py:thing",), "there is no file 'absent.py'"),
        (("mine.py:absent",), "mine.py has no 'absent'"),
        (("mine.py:number",), "is a int, wanted"),
        (("no.such.module:thing",), "no.such.module can't be imported"),
        (("synflow", "--laws", "nonsense"), "there is no law 'nonsense'"),
        (("synflow", "--laws", ","), "',' names no law"),
        (("synflow", "--seed", "99999999999999999999"), "--seed"),
        (("synflow", "--model", "mine.py:small", "--classes", "3"), "--classes is for built-in models"),
        (("synflow", "--claim", "nonsense"), "there is no claim 'nonsense'"),
        (("synflow", "--examples", "0"), "examples is 0, wanted at least 1"),
        (("synflow", "--device", "nonsense"), "the device 'nonsense' can't be used here"),
        (("synflow", "--model", "nonsense"), "there is no model 'nonsense'"),
        (("synflow", "--model", "mine.py:no_layers"), "no prunable layer"),
        (("synflow", "--model", "mine.py:broken_weights"), "NaN or infinite"),
        (("synflow", "--model", "mine.py:infinite_weights"), "NaN or infinite"),
        (("synflow", "--model", "mine.py:waves"), "gives torch.complex"),
        (("synflow", "--model", "mine.py:no_layers", "--model", "nonsense"), "; there is no model 'nonsense'"),
        (("synflow", "--model", "mine.py:not_a_model"), "returned (int, int), wanted (model, example input)"),
        (("synflow", "--model", "mine.py:small", "--data", "mine.py:not_data"), "wanted (inputs, targets, loss)"),
        (("synflow", "--float32"), "--float32 is for models, and there is none: add --model"),
        (("synflow", "synflow"), "two of the pruners are named 'synflow'"),
        (("--nonsense",), "--nonsense"),
        (("synflow", "-o", "mine.py"), "can't be written to"),
    ],
)
def test_a_users_mistake_is_one_clear_line(run: Run, arguments: tuple[str, ...], said: str) -> None:
    ended = run("verify", *arguments)
    assert ended.status == 2
    assert said in ended.err
    assert ended.out == ""
    assert len([line for line in ended.err.splitlines() if line.startswith("prunelaws: ")]) == 1
    assert "Traceback" not in ended.err


def test_the_files_that_are_written(run: Run, folder: Path) -> None:
    ended = run("verify", "magnitude", "--laws", "A1,M1", *QUICK, "-o", "there", "--json")
    record = from_json((folder / "there" / "run.json").read_text())
    assert from_json(ended.out) == record
    assert "<html" in (folder / "there" / "report.html").read_text()
    assert (folder / "there" / "report.md").read_text().startswith("#")
    witness = json.loads(next((folder / "there" / "witnesses").glob("*.json")).read_text())
    assert witness["law"] == "neuron_conservation"


def test_the_same_seed_gives_the_same_verdicts(run: Run) -> None:
    def verdicts(seed: str) -> object:
        record = json.loads(run("verify", "snip", "--laws", "A1,S2", *QUICK, "--seed", seed, "--json").out)
        return [{k: v for k, v in each.items() if k != "seconds"} for each in record["verdicts"]]

    first = verdicts("1")
    assert verdicts("1") == first
    assert verdicts("2") != first


def test_a_model_is_not_pruned_for_laws_that_look_at_no_run(run: Run) -> None:
    model = ("--model", "mine.py:small", "--float32", *QUICK, "--json")
    for laws, runs in (("C1,1b.degree_one", 0), ("C1,A1", 1)):
        ended = run("verify", "synflow", "--laws", laws, *model)
        found = json.loads(ended.out)
        assert ended.status == 0 and len(found["runs"]) == len(found["precision"]) == runs
        assert ("--float32 had nothing to compare" in ended.err) == (not runs)
        assert any("mine.py:small" in v["ground"] and v["balances"] for v in found["verdicts"])


def test_a_model_is_verified_along_a_run(run: Run) -> None:
    laws = ("--laws", "A1,B6,S2,M0,M1,M2,M3,M4")
    ended = run("verify", "synflow", "--model", "mine.py:small", "--rounds", "8", *laws, *QUICK, "--json")
    assert ended.status == 0
    record = json.loads(ended.out)
    grounds = {v["ground"] for v in record["verdicts"]}
    assert {"mine.py:small, 8 rounds", *(f"mine.py:small, round {r} of 8" for r in (0, 2, 4, 6, 8))} <= grounds
    along = [v for v in record["verdicts"] if v["ground"] == "mine.py:small, 8 rounds"]
    assert {v["law"]: v["outcome"] for v in along} | {"maximal_critical_compression": ""} == {
        "usable_runs": "held",
        "union_bound": "held",
        "exact_budget": "held",
        "nested_masks": "held",
        "idempotence": "held",
        "maximal_critical_compression": "",
    }


def test_float32_stands_beside_float64_and_fails_nobody(run: Run, folder: Path) -> None:
    both = ("--float32", "--rounds", "3", "--laws", "exact_budget", "--examples", "1", "-o", "there")
    ended = run("verify", "synflow", "random", "--model", "mlp", *both)
    assert ended.status == 0
    record = from_json((folder / "there" / "run.json").read_text())
    mlp, other = record.precision
    assert (mlp.pruner, mlp.model, len(mlp.exchanged), mlp.ended) == ("synflow", "mlp", 3, "")
    assert mlp.kept == [sum(kept) for kept in record.runs[0].kept]
    assert other.drawn and other.differing == [1, 2, 3]
    assert 'id="precision"' in (folder / "there" / "report.html").read_text()
    assert "weights kept in float64" in ended.out and "synflow on mlp in float32" in ended.err


@pytest.mark.parametrize(
    ("pruner", "laws", "said"),
    [
        ("double_liar", "A1", "double liar claims 'neuron conserved' but breaks"),
        ("writes_masked_weights", "purity", "scoring changed weight"),
        ("refills_masks", "purity", "scoring changed mask"),
        ("changes_default_dtype", "purity", "torch's default dtype"),
        ("sets_the_seed", "S1,S2,B14", "scoring changed torch's random state"),
        ("sparse", "S1", "wanted a dense one"),
        ("late_reader", "data_free", "asked for the batch"),
        ("quits", "usable_scores", "raised SystemExit"),
        ("gives_up", "usable_scores", "raised GeneratorExit"),
        ("meagre", "exact_budget,idempotence", "but breaks exact_budget"),
    ],
)
def test_what_once_slipped_through_is_caught(run: Run, pruner: str, laws: str, said: str) -> None:
    ended = run("verify", f"mine.py:{pruner}", "--laws", laws, *QUICK)
    assert ended.status == 1
    assert said in ended.out


def test_a_scorer_that_quits_does_not_end_the_run(run: Run) -> None:
    ended = run("verify", "mine.py:quits", *QUICK)
    assert ended.status == 1
    assert "quits breaks the contract usable_scores" in ended.out


def test_a_scorer_that_ends_its_process_is_named(run: Run) -> None:
    ended = run("verify", "mine.py:leaves", "--laws", "S1", *QUICK)
    assert ended.status == 3 and not ended.out
    assert "the process of leaves ended in the middle of its work, with status 0" in ended.err


def test_a_factory_that_quits_is_a_users_mistake(run: Run) -> None:
    ended = run("verify", "synflow", "--model", "mine.py:quitting_model", *QUICK)
    assert ended.status == 2
    assert "raised SystemExit" in ended.err


@pytest.mark.parametrize(
    ("model", "law"), [("squeezed", "A10"), ("squeezed", "A9"), ("compared", "1b.degree_one"), ("largest", "A3")]
)
def test_what_once_raised_a_false_alarm_keeps_the_law(run: Run, model: str, law: str) -> None:
    """A gate that its own unit feeds, a weight over its norm, what an operator gives as one of several."""
    ended = run("verify", "random", "--laws", law, "--examples", "1", "--model", f"mine.py:{model}")
    assert ended.status == 0, ended.out


def test_a_failure_on_a_model_is_rerun_on_that_model(run: Run) -> None:
    ended = run("verify", "mine.py:liar", "--laws", "A1", "--examples", "1", "--model", "mine.py:small", "--json")
    found = from_json(ended.out)
    there = replace(found.failures[0], witness=None, ground="mine.py:small, round 0 of 1")
    assert rerun(found, there).startswith(
        "prunelaws verify mine.py:liar --laws neuron_conservation --model mine.py:small "
    )
    own = replace(there, pruner="saliency of the loss", law="gate_gradient", ground="mine.py:small")
    named = "prunelaws verify --laws gate_gradient --model mine.py:small "
    assert rerun(replace(found, runs=[]), own).startswith(named)


def test_a_claim_that_could_not_be_tested_is_not_kept(run: Run) -> None:
    ended = run("verify", "mine.py:untestable", "--laws", "B3,S1", *QUICK)
    assert ended.status == 3
    assert "untestable claims 'leave one out', and no law could test that here" in ended.err
    assert "1 was not tested" in ended.out


def test_what_a_scorer_prints_stays_out_of_the_result(run: Run) -> None:
    ended = run("verify", "mine.py:prints", "--laws", "S1", *QUICK, "--json")
    assert from_json(ended.out).checked > 0
    assert "noise" in ended.err


def test_units_that_a_sort_joins_are_named_and_what_is_concatenated_is_understood(run: Run) -> None:
    quick = ("--laws", "A1,B12c,S1", "--rounds", "4", *QUICK)
    ended = run("verify", "synflow", "snip", "--model", "mine.py:joined", *quick)
    assert ended.status == 0 and "not known" not in ended.err
    ended = run("verify", "synflow", "--model", "mine.py:curved", *quick)
    assert ended.status == 0 and "softmax is not known to be positively homogeneous" in ended.err


@pytest.mark.parametrize("where", [(), ("--model", "mine.py:small", "--rounds", "4")])
def test_a_scorer_that_fails_late_is_caught(run: Run, where: tuple[str, ...]) -> None:
    ended = run("verify", "mine.py:raises_once_pruned", "--laws", "usable_scores,usable_runs", *QUICK, *where)
    assert ended.status == 1
    assert "raised RuntimeError: late" in ended.out and "Traceback" not in ended.err


def test_data_is_used_for_the_pruners_that_ask_for_it(run: Run) -> None:
    quick = ("verify", "snip", "--laws", "A1,S1", *QUICK, "--model", "mine.py:small")
    with_data = run(*quick, "--data", "mine.py:data", "--json")
    assert with_data.status == 0
    assert json.loads(with_data.out)["runs"][0]["digest"] != json.loads(run(*quick, "--json").out)["runs"][0]["digest"]


def test_many_pruners_are_shown_in_tables_that_a_terminal_holds(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    names = ("synflow", "snip", "magnitude", "random")
    table = run("verify", *names, "--laws", "A1,S1", "--examples", "1").out.split("(held*")[0]
    assert max(map(len, table.splitlines())) <= 50
    assert all(name in table for name in names) and table.count("usable_scores") > 1


def test_what_stops_a_scorer_is_said_though_no_law_of_faults_was_chosen(run: Run) -> None:
    ended = run("verify", "mine.py:raises", "--laws", "A1", "--examples", "1")
    assert ended.status == 3
    assert "raised RuntimeError: boom" in ended.err and "Nothing was verified" in ended.out


def test_networks_that_are_all_too_large_are_missed(run: Run) -> None:
    ended = run("verify", "synflow", "--laws", "A1", "--examples", "1", "--max-params", "1")
    assert "no network of any family has 1 weights or fewer" in ended.err


def test_a_file_without_a_pruner_named_says_what_is_in_it(run: Run) -> None:
    ended = run("verify", "mine.py", *QUICK)
    assert ended.status == 2
    assert "mine.py is a file" in ended.err and "liar" in ended.err


def test_nothing_checked_is_no_success(run: Run) -> None:
    ended = run("verify", "magnitude", "--laws", "union_bound", *QUICK)
    assert ended.status == 3
    assert "verifies nothing" in ended.err
