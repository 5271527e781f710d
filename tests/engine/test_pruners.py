"""The scores of the five pruners, against plain implementations that share no code with them."""

import copy

import pytest
import torch
from problems import bits, dense_model, dense_problem, integer_batch, integer_weights, problem_of
from torch import Tensor, nn

from pruning.answers import ScoreError, call_scorer
from pruning.engine import prune
from pruning.models.chains import mlp
from pruning.network import Network
from pruning.problem import LOSSES, Probe, Problem, squared_error
from pruning.pruner import Pruner, State, scored
from pruning.pruners import built_in, grasp
from pruning.pruners.magnitude import magnitude
from pruning.pruners.random import random
from pruning.pruners.snip import snip
from pruning.pruners.synflow import synflow
from pruning.schedule import exponential
from pruning.trace import trace


def scores_of(problem: Problem, pruner: Pruner) -> dict[str, Tensor]:
    network = problem.network
    return call_scorer(pruner, network, State(network.weights, network.initial), Probe(problem))


def convolutional_model() -> nn.Module:
    layers = [nn.Conv2d(1, 2, 2, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(2, 2, 1, groups=2), nn.ReLU()]
    return integer_weights(nn.Sequential(*layers, nn.Flatten(), nn.Linear(8, 2)))


MODELS = {
    "dense": (dense_model(), integer_batch((3, 4), (3, 2))),
    "convolutional": (convolutional_model(), integer_batch((3, 1, 4, 4), (3, 2))),
}


@pytest.fixture(params=MODELS)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, Problem]:
    model, batch = MODELS[request.param]
    return model, problem_of(model, batch)


def plain_synflow(model: nn.Module, shape: tuple[int, ...]) -> dict[str, Tensor]:
    """SynFlow as anyone would write it on a module: |w|, no biases, an input of ones, w * w.grad."""
    model = copy.deepcopy(model).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(parameter.abs() if name.endswith("weight") else torch.zeros_like(parameter))
    model(torch.ones(1, *shape, dtype=torch.float64)).sum().backward()
    return {n: (p * p.grad).detach() for n, p in model.named_parameters() if n.endswith("weight")}


def test_synflow(case):
    model, problem = case
    expected = plain_synflow(model, tuple(problem.network.example.shape[1:]))
    assert {n: s.tolist() for n, s in scores_of(problem, synflow).items()} == {
        n: s.tolist() for n, s in expected.items()
    }
    assert any(s.any() for s in expected.values())


def test_magnitude(case):
    model, problem = case
    for name, score in scores_of(problem, magnitude).items():
        assert torch.equal(score, model.get_parameter(name).abs())


def test_snip(case):
    """On integers every order of summation gives the same gradient."""
    model, problem = case
    assert problem.batch
    model.zero_grad()
    squared_error(model(problem.batch[0]), problem.batch[1]).backward()
    for name, score in scores_of(problem, snip).items():
        weight = model.get_parameter(name)
        assert torch.equal(score, (weight * weight.grad).abs())
        assert score.any()


@pytest.mark.parametrize("temperature", [1.0, 256.0])
def test_grasp_is_the_weight_times_the_hessian_times_the_gradient(monkeypatch, temperature):
    """By the whole Hessian. With a power of two for temperature all numbers are dyadic and all sums exact."""
    monkeypatch.setattr(grasp, "TEMPERATURE", temperature)
    model = integer_weights(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)), seed=5)
    x, y = integer_batch((3, 2), (3, 2))
    names = ["0.weight", "2.weight"]
    sizes = [model.get_parameter(n).numel() for n in names]

    def loss(flat: Tensor) -> Tensor:
        pieces = torch.split(flat, sizes)
        weights = {n: p.view_as(model.get_parameter(n)) for n, p in zip(names, pieces, strict=True)}
        return squared_error(torch.func.functional_call(model, weights, (x,)) / temperature, y)

    flat = torch.cat([model.get_parameter(n).detach().flatten() for n in names])
    gradient = torch.autograd.functional.jacobian(loss, flat)
    expected = flat * (torch.autograd.functional.hessian(loss, flat) @ gradient)
    scores = scores_of(problem_of(model, (x, y)), grasp.grasp)
    assert torch.equal(torch.cat([scores[n].flatten() for n in names]), expected)
    assert expected.any()


def test_the_temperature_of_grasp_is_the_papers():
    assert grasp.TEMPERATURE == 200


def test_random_is_uniform_noise_that_asks_for_nothing_but_randomness():
    problem = dense_problem()
    probe = Probe(problem)
    state = State(problem.network.weights, problem.network.initial)
    for score in random.score(problem.network, state, probe).values():
        assert ((score >= 0) & (score < 1)).all()
    assert probe.calls == {"rand": 1}


def test_who_asks_for_data():
    asked = {}
    for name, pruner in built_in().items():
        problem = dense_problem()
        probe = Probe(problem)
        call_scorer(pruner, problem.network, State(problem.network.weights, problem.network.initial), probe)
        asked[name] = probe.calls["batch"] > 0
    assert asked == {"grasp": True, "magnitude": False, "random": False, "snip": True, "synflow": False}


def test_pruned_weights_score_zero_where_a_pruner_says_so():
    problem = dense_problem()
    masks = prune(problem, random, exponential(problem.network.initial.total, 10, 1)).masks
    for pruner in built_in().values():
        if "zero when masked" in pruner.claims:
            state = State(problem.network.weights, masks)
            scores = call_scorer(pruner, problem.network, state, Probe(problem))
            assert not any(scores[n][~masks[n]].any() for n in masks)


# depth and precision


def test_synflow_scores_a_hundred_layers_in_float64():
    torch.manual_seed(0)
    model = mlp(128, [128] * 99, 128).double()
    scores = scores_of(Problem(trace(model, torch.ones(1, 128).double()), None, squared_error, 0), synflow)
    assert len(scores) == 100
    assert all(s.isfinite().all() and (s > 0).all() for s in scores.values())


def test_where_float32_overflows_the_error_says_so():
    torch.manual_seed(0)
    network = trace(mlp(128, [128] * 99, 128), torch.ones(1, 128))
    with pytest.raises(
        ScoreError, match=r"the usual causes are overflow .* leave the range of torch.float32"
    ) as caught:
        prune(Problem(network, None, squared_error, 0), synflow, exponential(network.initial.total, 100, 1))
    assert "'synflow'" in str(caught.value)


def test_a_frozen_network_is_scored_like_another():
    frozen = problem_of(dense_model().requires_grad_(False), integer_batch((3, 4), (3, 2)))
    for pruner in built_in().values():
        expected = scores_of(dense_problem(), pruner)
        assert {n: bits(s) for n, s in scores_of(frozen, pruner).items()} == {n: bits(s) for n, s in expected.items()}


# the probe


def test_one_seed_and_call_give_one_set_of_numbers():
    like = {"a": torch.ones(50), "b": torch.ones(3, 5)}

    def numbers(seed: int, call: int) -> dict[str, bytes]:
        probe = Probe(dense_problem(seed))
        drawn = [probe.rand(like) for _ in range(call)][-1]
        return {n: bits(t) for n, t in drawn.items()}

    assert numbers(0, 1) == numbers(0, 1)
    assert numbers(0, 2) == numbers(0, 2)
    assert len({numbers(seed, call)["a"] for seed in (0, 1, 2) for call in (1, 2, 3)}) == 9


def test_drawing_leaves_the_global_random_state_alone():
    probe, before = Probe(dense_problem()), torch.get_rng_state()
    probe.rand({"a": torch.ones(3)})
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("seed", [-1, 0, 2**63 - 1, 2**64])
def test_any_integer_is_a_seed(seed):
    drawn = Probe(Problem(dense_problem().network, None, squared_error, seed)).rand({"a": torch.ones(3)})["a"]
    assert ((drawn >= 0) & (drawn < 1)).all()


def test_a_probe_without_data_says_so():
    probe = Probe(Problem(dense_problem().network, None, squared_error, 0))
    with pytest.raises(ValueError, match="this pruner asks for data, and the problem has none: give it a batch"):
        probe.batch()


def test_ones_is_one_sample_whatever_the_example():
    probe = Probe(dense_problem())
    assert torch.equal(probe.ones(), torch.ones(1, 4, dtype=torch.float64))
    assert probe.calls == {}


def test_the_squared_error_has_integer_gradients():
    outputs = torch.tensor([[1.0, -2.0]], requires_grad=True)
    squared_error(outputs, torch.tensor([[3.0, 4.0]])).backward()
    assert outputs.grad is not None
    assert outputs.grad.tolist() == [[-2.0, -6.0]]
    assert set(LOSSES) == {"cross-entropy", "squared-error"}


def test_a_batch_that_does_not_fit_is_an_error_of_one_line():
    problem = dense_problem()
    wrong = Problem(problem.network, (torch.ones(2, 7).double(), torch.ones(2, 2).double()), squared_error, 0)
    with pytest.raises(ScoreError, match=r"the scorer of 'snip' raised RuntimeError: .*shapes") as caught:
        scores_of(wrong, snip)
    assert "\n" not in str(caught.value)


# no stray device, no wait for the host


def on_meta(problem: Problem) -> Problem:
    assert problem.batch
    x, y = problem.batch
    return Problem(problem.network.to("meta"), (x.to("meta"), y.to("meta")), problem.loss, problem.seed)


@pytest.mark.parametrize("pruner", built_in().values(), ids=built_in())
def test_two_rounds_run_on_the_meta_device(pruner, case):
    """It holds no values, so whatever asks for one, or makes a tensor elsewhere, fails there."""
    problem = on_meta(case[1])
    network, probe, masks = problem.network, Probe(problem), problem.network.initial
    for keep in (10, 5):
        scores = call_scorer(pruner, network, State(network.weights, masks), probe)
        masks = pruner.select(scores, masks, keep)
        assert {m.device.type for m in masks.values()} == {"meta"}
        assert {n: m.shape for n, m in masks.items()} == {n: w.shape for n, w in network.weights.items()}


def test_the_meta_device_catches_a_scorer_that_waits_for_the_host():
    def waiting(network: Network, state: State, probe: Probe) -> dict[str, Tensor]:
        largest = max(w.abs().max().item() for w in state.weights.values())
        return {n: w / largest for n, w in state.weights.items()}

    problem = on_meta(dense_problem())
    state = State(problem.network.weights, problem.network.initial)
    with pytest.raises(ScoreError, match="scorer of 'waiting' raised"):
        call_scorer(scored("waiting", waiting), problem.network, state, Probe(problem))
