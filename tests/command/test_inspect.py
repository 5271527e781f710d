"""`prunelaws inspect`: the map of a model, without any pruner."""

import json

import hub
import pytest
import torch
from conftest import Run

from pruning.problem import Problem, squared_error
from pruning.trace import trace
from reports.inspection import NOTHING, alike, speaks
from theory.case import Case
from theory.full_size import Model, batch_of_model
from theory.law import Subject
from theory.laws import catalogue
from theory.subjects import the_loss


def record(run: Run, model: str) -> dict:
    ended = run("inspect", model, "--json")
    assert ended.status == 0, ended.err
    return json.loads(ended.out)


def test_a_chain_of_linear_layers_meets_every_hypothesis_on_chains(run: Run) -> None:
    found = record(run, "mine.py:small")
    assert (found["weights"], found["layers"], found["units"], found["sound units"]) == (72, 2, 8, 8)
    assert [m["operators"] for m in found["modules"]] == [["linear"], ["relu"], ["linear"]]
    assert all((m["degree"], m["monotone"], m["convex"]) == (1, True, True) for m in found["modules"])
    laws = {law["id"]: law for law in found["laws"]}
    assert all(laws[id]["applies"] and not laws[id]["partly"] for id in ("A1", "A2", "A4", "B12a", "1b.degree_one"))
    assert laws["1b.rotary"]["reason"] == laws["1b.layer_norm"]["reason"] == NOTHING


def test_a_small_chain_meets_what_laws_ask_of_size(run: Run) -> None:
    laws = {law["id"]: law for law in record(run, "mine.py:small")["laws"]}
    assert laws["M3"]["applies"] and laws["B10"]["applies"]
    assert "a network of a family" in laws["B1"]["reason"]
    laws = {law["id"]: law for law in record(run, "vgg11_bn")["laws"]}
    assert "at most 3,000 weights" in laws["M3"]["reason"] and "at most 400 weights" in laws["B10"]["reason"]


def test_parameters_that_are_not_pruned_are_named(run: Run) -> None:
    assert record(run, "mine.py:indices")["unpruned"] == ["0.weight: read by embedding"]
    assert "parameters that are not pruned:\n  0.weight: read by embedding\n" in run("inspect", "mine.py:indices").out


def test_what_repeated_blocks_say_is_said_once() -> None:
    assert alike(["h.0.a: x", "h.0.b: y", "h.1.a: x", "h.1.b: y", "h.3.a: x", "c: d", "c: 5 of 7"]) == [
        "h.{0,1,3}.a: x", "h.{0..1}.b: y", "c: d", "c: 5 of 7",
    ]  # fmt: skip
    stages = [f"s.{s}.l.{block}: x" for s, blocks in enumerate((3, 4, 6, 3)) for block in range(blocks)]
    assert alike(stages) == ["s.{0..3}.l.{0..2}: x", "s.{1..2}.l.3: x", "s.2.l.{4..5}: x"]
    assert alike(["1: x", "1: x"]) == ["1: x"] and alike([]) == []


def test_what_is_lost_is_named_with_its_module(run: Run) -> None:
    found = record(run, "mine.py:curved")
    laws = {law["id"]: law for law in found["laws"]}
    assert any(line.startswith("1: softmax") for line in found["objections"])
    assert laws["A1"]["applies"] and laws["A1"]["partly"] and "1: softmax" in laws["A2"]["reason"]
    text = run("inspect", "mine.py:curved").out
    assert "units that may not balance:\n  1: softmax" in text and "A1*" in text


def test_a_model_that_goes_by_its_values_is_followed_and_every_command_says_so(run: Run) -> None:
    told = "2: the model goes by a number that it reads off a tensor; what is checked is the way that it goes on its"
    assert f"followed, for torch.export can't trace it:\n  {told}" in run("inspect", "mine.py:turning").out
    ended = run("prune", "magnitude", "--model", "mine.py:turning", "--compression", "2")
    assert ended.status == 0 and ended.err.count(told) == 1


@pytest.mark.parametrize("model", ["tokens", "indices", "pictures", "one_number"])
def test_no_data_needs_to_be_named_whatever_goes_in_and_comes_out(run: Run, model: str) -> None:
    laws = {law["id"]: law for law in record(run, f"mine.py:{model}")["laws"]}
    assert laws["1b.embedding"]["applies"] == (model == "indices")
    assert laws["A13"]["applies"] == (model in ("tokens", "indices"))


@pytest.mark.parametrize("name", ["resnet of basic blocks", "vit", "gpt2, eager", "llama", "qwen3", "swin"])
def test_a_law_speaks_of_modules_exactly_where_it_measures_something(name: str) -> None:
    made = hub.MODELS[name]
    network, x = trace(made.model(torch.float32), made.inputs(2, torch.float32)).to(dtype=torch.float64), made.inputs(2)
    problem = Problem(network, (x, torch.zeros_like(network.forward(network.weights, x))), squared_error, 0)
    case = Case.under(the_loss, batch_of_model(Model(name, problem)), generic=True)
    for law in catalogue().values():
        if law.subject is Subject.MODULE:
            assert speaks(law, case) == (next(iter(law.measure(case)), None) is not None), law.id
