"""Laws of modules: each kills its impostor, holds for torch's own operators, and the folklore it corrects is false."""

import functools
from dataclasses import replace

import hub
import pytest
import torch

from pruning.graph import INPUT
from pruning.problem import LOSSES, Problem, squared_error
from pruning.trace import trace
from theory.case import Case
from theory.full_size import Model, batch_of_model
from theory.impostors.modules import each, swapped
from theory.judge import judge, out_of_scope
from theory.law import Grade, Subject, kinds_of, laws_in
from theory.laws import (
    attention,
    before_norms,
    catalogue,
    computed,
    gates,
    norms,
    operators,
    parameters,
    values,
    weights,
)
from theory.networks import built_in
from theory.networks.batch import batch_of
from theory.networks.layers import Act, Attention, Branches, Dense
from theory.networks.shape import Shape
from theory.nodes.heads import Wired, heads_of
from theory.nodes.local import located, measured
from theory.nodes.norms import norms_of
from theory.proofs import PROOFS
from theory.search import Budget, Ground, family_ground, search
from theory.subjects import built_in as subjects
from theory.subjects import the_loss
from theory.verdict import Outcome

FILES = (attention, before_norms, computed, gates, norms, operators, parameters, values, weights)
LAWS = {law.id: law for file in FILES for law in laws_in(file)}
ALL = pytest.mark.parametrize("id", LAWS)
KILLING = Budget(shapes=6, problems=16, seed=0)
LIVING = Budget(shapes=10, problems=250, seed=5)
WANTED = 1000
UNPROVED = {"1b.degree_one", "1b.fork", "1b.product", "1b.gain_and_shift", "1b.query_key_norm", "1b.embedding"}


def test_every_law_is_about_modules_binds_everyone_and_corrects_something():
    assert len(LAWS) == 23
    assert all(law.subject is Subject.MODULE and law.claim is None and law.corrects for law in LAWS.values())
    assert {id for id in LAWS if id not in PROOFS} == UNPROVED


@functools.cache  # what one law has computed of a case serves the others
def ground(family: str, budget: Budget) -> Ground:
    return family_ground(built_in()[family], the_loss, budget)


@ALL
def test_no_false_alarm(id, record_property):
    """1,000 problems or more that have the operator: the order gained is that of an identity."""
    problems, gains, looped = 0, [], 0
    for family in built_in().values():
        if problems < WANTED or family.name == "rarer modules":
            verdict = search(LAWS[id], the_loss, ground(family.name, LIVING))
            assert verdict.outcome is not Outcome.BROKEN, (family.name, verdict.where, verdict.gain)
            problems, looped = problems + verdict.cases, looped + verdict.looped
            gains += [verdict.gain] if verdict.cases and verdict.gain is not None else []
    if problems < WANTED:
        for name in ("normalised", "attention", "tied, real", "gated, real", "rarer modules"):
            more = Budget(20, LIVING.problems, LIVING.seed + 1)
            verdict = search(LAWS[id], the_loss, ground(name, more))
            assert verdict.outcome is not Outcome.BROKEN, (name, verdict.where, verdict.gain)
            problems += verdict.cases
            gains += [verdict.gain] if verdict.cases and verdict.gain is not None else []
    record_property("problems", problems)
    record_property("least gain", min(gains))
    assert problems >= WANTED and not looped


@ALL
def test_a_law_holds_where_its_folklore_fails(id):
    (said,) = LAWS[id].corrects
    subject, spec = said.breaks_on
    judgement = judge(LAWS[id], Case.under(subject if subject is the_loss else the_loss, spec.batch()))
    assert judgement is None or not judgement.failures


@pytest.mark.parametrize("id", [id for id, law in LAWS.items() if Grade.EXACT in law.grades])
def test_whole_numbers_are_compared_without_a_tolerance(id):
    verdict = search(LAWS[id], the_loss, family_ground(built_in()["residual, integer"], the_loss, KILLING))
    assert verdict.grades["exact"] > 0


def test_a_slope_off_by_a_billionth_is_seen():
    def nudged(x):
        made = torch.relu(x)
        return made + 1e-9 * (made - made.detach())

    subject = swapped("ReLU off by 1e-9", each("relu", lambda op: nudged))
    verdict = search(LAWS["1b.degree_one"], subject, family_ground(built_in()["dense, real"], subject, KILLING))
    assert verdict.outcome is Outcome.BROKEN and 0 < verdict.gain < 14.5


# local flows


def drawn(shape: Shape, size: int = 3, loss: str = "squared-error"):
    source = torch.Generator().manual_seed(0)
    tensors = {n: torch.randn(size, *s, generator=source).double() for n, s in shape.parameters().items()}
    inputs = torch.randn(size, shape.samples, *shape.input, generator=source).double()
    targets = torch.randn(size, shape.samples, *shape.output, generator=source).double()
    return Case(batch_of(shape, tensors, inputs, targets, loss, 0), the_loss, generic=True)


def test_flows_and_saliencies_are_those_of_autograd():
    case = drawn(Shape((Dense(2, 3, True), Act("relu"), Dense(3, 1)), (2,), 4))
    local = measured(case, [INPUT, "value0", ("value2", 0)], ["0.weight", "0.bias"])
    for i, problem in enumerate(case.batch.singles()):
        network, (x, y) = problem.network, problem.batch
        w, b, v = network.weights["0.weight"], network.fixed["0.bias"], network.weights["2.weight"]
        w, b, x = (t.clone().requires_grad_() for t in (w, b, x))
        z = torch.nn.functional.linear(x, w, b)
        h = torch.relu(z)
        loss = squared_error(h @ v.T, y)
        gw, gb, gx, gz, gh = torch.autograd.grad(loss, [w, b, x, z, h])
        torch.testing.assert_close(local.saliency("0.weight")[i], w.detach() * gw)
        torch.testing.assert_close(local.saliency("0.bias")[i], b.detach() * gb)
        torch.testing.assert_close(local.flow(INPUT)[i], x.detach() * gx)
        torch.testing.assert_close(local.flow("value0")[i], z.detach() * gz)
        torch.testing.assert_close(local.flow(("value2", 0))[i], h.detach() * gh)


def test_each_use_of_a_value_has_a_slope_of_its_own():
    """y = x * x, and x + x: each use carries what it would alone."""
    case = drawn(Shape((Branches("product", ((), ())), Dense(2, 1)), (2,), 1))
    local = measured(case, ["value0", ("value0", 0), ("value0", 1), INPUT], [])
    assert torch.equal(local.flow(("value0", 0)), local.flow(("value0", 1)))
    torch.testing.assert_close(local.flow(INPUT), 2 * local.flow("value0"))


def test_a_read_may_replace_what_one_operator_sees():
    case = drawn(Shape((Branches("sum", ((), ())), Dense(2, 1)), (2,), 1))
    network = case.network_of(0)
    x = case.batch.inputs[0]
    half = replace(network, read=lambda node, i, value: value * 0 if (node, i) == ("value0", 1) else value)
    torch.testing.assert_close(2 * half.forward(network.weights, x), network.forward(network.weights, x))
    assert torch.equal(
        replace(network, read=lambda n, i, v: v).forward(network.weights, x), network.forward(network.weights, x)
    )


def test_a_full_size_model_is_measured_in_portions(monkeypatch):
    case = drawn(Shape((Dense(2, 3, True), Act("relu"), Dense(3, 3, True), Act("relu"), Dense(3, 1)), (2,), 4))
    whole = replace(case, batch=replace(case.batch, shape=None))
    calls = []
    monkeypatch.setattr("theory.nodes.local.SITES_AT_ONCE", 2)
    monkeypatch.setattr("theory.nodes.local.measured", lambda *a: calls.append(a) or measured(*a))
    assert len(list(located(whole, weights.weighted_in(case.graph)))) == 3 and len(calls) == 2
    assert len(list(located(case, weights.weighted_in(case.graph)))) == 3 and len(calls) == 3


# attention, with every option


@pytest.mark.parametrize("heads, kv_heads", [(1, 1), (2, 2), (2, 1), (4, 2)])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rope", [False, True])
@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_with_every_option(heads, kv_heads, bias, rope, qk_norm, causal):
    layer = Attention(3, 3, heads, kv_heads, 4, bias, rope, qk_norm, causal)
    case = drawn(Shape((Dense(3, 3), layer, Dense(3, 2)), (4, 3), 2), size=8)
    spoken = {law.id for law in LAWS.values() if law_holds(law, case)}
    assert {"1b.attention_scores", "1b.attention_values", "1b.key_bias"} <= spoken
    assert ("1b.query_key_norm" in spoken) is qk_norm
    assert ("1b.rotary" in spoken) is (rope and not qk_norm)
    assert ("1b.grouped_query" in spoken) is (heads > kv_heads and not qk_norm)


def law_holds(law, case) -> bool:
    """Whether it says something of the case; it must hold there."""
    assert out_of_scope(law, case) is None
    judgement = judge(law, case)
    assert judgement is None or not judgement.failures, (law.id, judgement.worst)
    return judgement is not None


def test_heads_know_their_channels():
    case = drawn(Shape((Attention(3, 3, 4, 2, 2), Dense(3, 1)), (4, 3), 2))
    (heads,) = heads_of(case.graph)
    wired = Wired(case)
    assert wired.fed(heads.q).order.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert wired.fed(heads.k, heads.turned).order.tolist() == [[0, 1], [0, 1], [2, 3], [2, 3]]
    assert wired.features(heads.mixed, (4, 2)).order.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]


@pytest.mark.parametrize("uses", [2, 3])
@pytest.mark.parametrize("bias", [False, True])
def test_tied_weights_with_any_number_of_uses(uses, bias):
    tied = [Dense(3, 3, bias, tied="1")] * (uses - 1)
    case = drawn(Shape((Dense(2, 3), Dense(3, 3, bias), *tied, Dense(3, 1)), (2,), 3))
    assert law_holds(LAWS["A11"], case)
    assert law_holds(LAWS["A8"], case)  # which leaves the tied ones alone


# models of the transformers package

EXPECTED = {
    "gpt2": {"1b.layer_norm", "1b.group_bias", "1b.attention_scores", "1b.attention_values", "1b.key_bias"},
    "gpt2, eager": {"1b.layer_norm", "1b.attention_scores", "1b.attention_values", "1b.key_bias", "1b.product"},
    "vit": {"1b.layer_norm", "1b.group_bias", "1b.attention_scores", "1b.attention_values", "1b.key_bias"},
    "llama": {"1b.layer_norm", "1b.grouped_query", "1b.rotary", "1b.attention_values", "1b.glu", "1b.gain_and_shift"},
    "qwen3": {"1b.layer_norm", "1b.query_key_norm", "1b.attention_values", "1b.glu", "1b.gain_and_shift"},
    "swin": {"1b.layer_norm", "1b.attention_scores", "1b.attention_values", "1b.key_bias"},
    "resnet of basic blocks": {"1b.batch_norm_eval", "1b.gain_and_shift", "1b.fork"},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_laws_hold_on_models_of_the_transformers_package(name):
    """They are traced in their own precision: Llama's norms are computed in float32 otherwise."""
    made = hub.MODELS[name]
    network = trace(made.model(torch.float32), made.inputs(2, torch.float32)).to(dtype=torch.float64)
    x = made.inputs(2)
    targets = torch.randn(network.forward(network.weights, x).shape, generator=torch.Generator().manual_seed(1))
    problem = Problem(network, (x, targets.double()), squared_error, 0)
    case = Case.under(the_loss, batch_of_model(Model(name, problem)), generic=True)
    spoken = {id for id, law in LAWS.items() if law_holds(law, case)}
    assert EXPECTED[name] | {"A8", "1b.degree_one", "1b.fork"} <= spoken


@pytest.mark.parametrize("name", hub.TIED)
def test_no_law_is_broken_by_a_language_model_whose_table_is_its_last_layer(name):
    made = hub.TIED[name]
    network = trace(made.model(torch.float32), made.inputs(2)).to(dtype=torch.float64)
    problem = Problem(network, (made.inputs(2), made.inputs(2).flip(1)), LOSSES["cross-entropy"], 0)
    batch = batch_of_model(Model(name, problem))
    held = set()
    for subject in subjects().values():
        case = Case.under(subject, batch, generic=True)
        for law in catalogue().values():
            if law.subject in kinds_of(subject) and out_of_scope(law, case) is None:
                found = judge(law, case)
                assert found is None or not found.failures, (law.id, found.failures)
                held |= {law.id} if found is not None and bool(found.live.any()) else set()
    assert {"C1", "C3", "1b.layer_norm", "A9"} <= held and "A13" not in held


def test_the_norms_of_llama_are_found_though_they_are_no_operator():
    made = hub.MODELS["llama"]
    graph = trace(made.model(torch.float32), made.inputs(2, torch.float32)).graph
    found = norms_of(graph)
    assert [n.kind for n in found] == ["rms_norm"] * 5 and all(n.gain and not n.shift and n.eps for n in found)
