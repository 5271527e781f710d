"""`prunelaws discover`: tables, JSON, exit statuses."""

import json

import pytest
from conftest import Run


def test_a_pruner_is_profiled_on_small_networks(run: Run) -> None:
    ended = run("discover", "synflow", "--json")
    assert ended.status == 0
    record = json.loads(ended.out)
    assert (record["subject"], record["kind"], record["seed"]) == ("synflow", "pruner", 0)
    found = {one["architecture"]: one["found"] for one in record["architectures"]}
    # hidden units: 4 + 3; channels: 3; 3 of the stream, 4 of the block's; the control has none
    assert list(found.values()) == [7, 7, 3, 7, 0]
    for one in record["architectures"]:
        assert one["convincing"] and one["gap"] >= one["gap needed"]
        assert one["found"] == one["explained"] == one["stated and held"] == len(one["laws"])


def test_the_table_says_what_is_lacking_and_what_does_not_hold(run: Run) -> None:
    ended = run("discover", "mine.py:magnitude")
    assert ended.status == 0
    row = next(line for line in ended.out.splitlines() if line.startswith("MLP 3-4-3-2 "))
    assert row.split()[2:8] == ["30", "0", "0", "0", "7", "0"]
    assert "explained by" not in ended.out


def test_a_model_lists_its_laws(run: Run) -> None:
    ended = run("discover", "mine.py:small")
    assert ended.status == 0
    assert "explained by A1 (8)" in ended.out
    assert "A1  unit 7 after 0: what enters = what leaves" in ended.out


def test_a_model_with_data(run: Run) -> None:
    record = json.loads(run("discover", "mine.py:small", "--data", "mine.py:data", "--json").out)
    assert [one["found"] for one in record["architectures"]] == [8]


def test_the_same_seed_gives_the_same_laws(run: Run) -> None:
    def gaps(seed: str) -> list[float]:
        record = json.loads(run("discover", "mine.py:small", "--seed", seed, "--json").out)
        return [one["gap"] for one in record["architectures"]]

    assert gaps("1") == gaps("1") != gaps("2")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nonsense",), "there is no pruner or model 'nonsense'"),
        (("absent.py:thing",), "there is no file 'absent.py'"),
        (("mine.py:number",), "wanted (model, example input)|can't be|raised"),
        (("mine.py:no_layers",), "no prunable layer"),
        (("mine.py:quitting_model",), "raised SystemExit"),
        (("mine.py:small", "--device", "nonsense"), "the device 'nonsense' can't be used here"),
        (("synflow", "--seed", "-1"), "--seed"),
        ((), "PRUNER"),
    ],
)
def test_a_users_mistake_is_one_clear_line(run: Run, arguments: tuple[str, ...], said: str) -> None:
    ended = run("discover", *arguments)
    assert ended.status == 2
    assert any(part in ended.err for part in said.split("|"))
    assert ended.out == ""
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("pruner", ["raises", "wrong_shapes", "nothing", "not_a_number", "quits"])
def test_a_scorer_that_fails_is_told_without_a_traceback(run: Run, pruner: str) -> None:
    ended = run("discover", f"mine.py:{pruner}")
    assert ended.status == 1
    assert pruner.replace("_", " ") in ended.err.replace("_", " ")
    assert "Traceback" not in ended.out + ended.err


def test_what_a_scorer_prints_stays_out_of_the_result(run: Run) -> None:
    ended = run("discover", "mine.py:prints", "--json")
    assert json.loads(ended.out)["kind"] == "pruner"


def test_help_teaches(run: Run) -> None:
    text = run("discover", "--help").out
    assert "PRUNER|MODEL" in text and "null space" in text
