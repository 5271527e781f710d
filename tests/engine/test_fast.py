"""The fast path: the textbook loop's masks, entry by entry, wherever it takes a network; else it says why not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from problems import dense_problem
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from pruning.answers import ScoreError, call_scorer
from pruning.engine import prune
from pruning.fast import best
from pruning.fast.best import prune_at_best
from pruning.fast.links import Links
from pruning.fast.lower import NotLoweredError
from pruning.fast.rounds import Watch
from pruning.fast.run import FastRun, run_synflow
from pruning.fast.steps import Weighted
from pruning.fast.store import Store
from pruning.fast.survivors import MANY, SAMPLE, Survivors
from pruning.masks import Masks
from pruning.models import make
from pruning.network import Network
from pruning.problem import Probe, Problem, squared_error
from pruning.pruner import State
from pruning.pruners.magnitude import magnitude
from pruning.pruners.random import random
from pruning.pruners.snip import snip
from pruning.pruners.synflow import synflow
from pruning.rounds import Trace
from pruning.schedule import exponential, fixed_step, linear
from pruning.trace import trace
from theory.networks import built_in as families
from theory.networks.family import examples
from theory.numerics import unit_roundoff


def textbook(network: Network, keep: int, rounds: int) -> Trace:
    plan = exponential(network.initial.kept, keep, rounds)
    return prune(Problem(network, None, squared_error, 0), synflow, plan)


def same(network: Network, keep: int, rounds: int) -> None:
    """Every record of a run, too: rounds of removal, counts, masses and cuts."""
    wanted = textbook(network, keep, rounds)
    found = run_synflow(network, exponential(network.initial.kept, keep, rounds))
    for name, died in wanted.died.items():
        assert torch.equal(found.died[name], died), name
    assert torch.equal(found.kept, wanted.kept)
    assert (found.targets, found.flat, found.revived) == (wanted.targets, wanted.flat, wanted.revived)
    torch.testing.assert_close(found.mass, wanted.mass, rtol=HALF, atol=0)
    torch.testing.assert_close(found.cut, wanted.cut, rtol=HALF, atol=0)
    torch.testing.assert_close(found.log_cut, wanted.log_cut, rtol=0, atol=HALF)


HALF = unit_roundoff(torch.float64) ** 0.5  # half of the digits: sums in another order agree in more
LOWERED = ["dense, integer", "conv, integer", "residual, integer", "linear, integer", "kinked"]


@pytest.mark.parametrize("family", LOWERED)
def test_masks_are_those_of_the_textbook_loop_on_random_networks(family: str) -> None:
    """Integer weights: sums are exact, so that ties are ties."""
    taken = 0
    for shape, seed in examples(families()[family], 16, 0):
        network = families()[family].batch(shape, seed, 1).problem(0).network
        total = network.initial.total
        try:
            FastRun(network)
        except NotLoweredError:
            continue
        taken += 1
        for keep, rounds in ((1, 3), (max(total - 1, 1), 1), (max(total // 3, 1), 4), (total, 1)):
            same(network, keep, rounds)
    assert taken > 3


@st.composite
def convolutional(draw: st.DrawFn, pooled: bool = False) -> tuple[nn.Module, Tensor]:
    """Convolutions with strides, padding, dilation and groups, pools, norms and residual sums, then a classifier.

    pooled: without a max-pool, and with an average over all places before the classifier.
    """
    channels, size = draw(st.sampled_from([2, 4])), draw(st.integers(5, 9))
    layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1)]
    for _ in range(draw(st.integers(0, 3))):
        kinds = ["conv", "grouped", "average", "norm", "residual", "dilated", "branches"]
        kind = draw(st.sampled_from(kinds if pooled else [*kinds, "max"]))
        if kind == "conv":
            stride, padding = draw(st.integers(1, 2)), draw(st.integers(0, 2))
            layers.append(nn.Conv2d(channels, channels, 3, stride, padding, bias=draw(st.booleans())))
        elif kind == "grouped":
            layers.append(nn.Conv2d(channels, channels, (1, 3), padding=(0, 1), groups=channels // 2))
        elif kind == "dilated":
            layers.append(nn.Conv2d(channels, channels, 2, padding=1, dilation=2))
        elif kind == "max":
            layers.append(nn.MaxPool2d(draw(st.integers(2, 3)), draw(st.integers(1, 2)), draw(st.integers(0, 1))))
        elif kind == "average":
            layers.append(nn.AvgPool2d(2, draw(st.integers(1, 2)), draw(st.integers(0, 1))))
        elif kind == "norm":
            layers.append(nn.BatchNorm2d(channels))
        elif kind == "branches":
            layers.append(Branches(channels, draw(st.integers(1, 2))))
        else:
            layers.append(Residual(nn.Conv2d(channels, channels, 3, padding=1)))
        layers.append(nn.ReLU())
    tails = [nn.AdaptiveAvgPool2d(1)] if pooled else [nn.Identity(), nn.AdaptiveAvgPool2d((2, 3))]
    layers.append(draw(st.sampled_from(tails)))
    body = nn.Sequential(*layers, nn.Flatten()).eval()
    x = torch.ones(2, 3, size, size + 1)
    try:
        features = body(x).shape[1]
    except RuntimeError:  # a window larger than what is left
        return nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 2)), x
    return nn.Sequential(*body, nn.Linear(features, draw(st.integers(1, 3)))).eval(), x


class Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class Branches(nn.Module):
    """Three readers of one value: a norm with a convolution, a strided one, and the sum that joins these."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.wide = nn.Conv2d(channels, channels, 3, stride, 1)
        self.short = nn.Conv2d(channels, channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.wide(self.norm(x).relu()) + self.short(x)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.booleans().flatmap(convolutional), st.integers(0, 2**16), st.sampled_from(["ties", "real"]), st.floats(0, 1))
def test_masks_are_those_of_the_textbook_loop_on_convolutions(made, seed, kind, share) -> None:
    """Ties: weights of -1, 0 and 1, most of them equal; real: such that only rounding could tie them."""
    model, x = made
    source = torch.Generator().manual_seed(seed)
    model = model.double()
    for parameter in model.parameters():
        drawn = torch.randn(parameter.shape, generator=source, dtype=torch.float64)
        parameter.data = drawn.round().clamp(-1, 1) if kind == "ties" else drawn
    network = trace(model, x.double())
    total = network.initial.total
    masks = {n: torch.rand(w.shape, generator=source) < 0.9 for n, w in network.weights.items()}
    if share < 0.3 and all(bool(m.any()) for m in masks.values()):
        network = Network(**{**vars(network), "initial": Masks(masks)})
    keep = max(1, round(share * network.initial.kept))
    assert total
    same_up_to_ties(network, keep)


def test_a_stride_that_sees_the_first_classes_alone_does_not_see_the_others() -> None:
    layers = [nn.Conv2d(3, 2, 3, padding=1), nn.Conv2d(2, 2, 1, 3), nn.Flatten(), nn.Linear(12, 1)]
    network = trace(nn.Sequential(*layers).double(), torch.ones(1, 3, 6, 7, dtype=torch.float64))
    same(network, network.initial.total // 2, 3)


def conv(inputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, 4, 3, stride, padding=1)


@pytest.mark.parametrize(
    ("layers", "classes"),
    [
        ([conv(3), nn.ReLU(), conv(4), nn.AdaptiveAvgPool2d(1)], [9, 1, 1]),  # by values 9, 25, 1
        ([conv(3), nn.ReLU(), conv(4, 2), nn.ReLU(), conv(4), nn.AdaptiveAvgPool2d(1)], [9, 9, 1, 1]),
        ([conv(3), nn.MaxPool2d(2), conv(4), conv(4), nn.AvgPool2d(4)], [9, 9, 1, 1]),
    ],
    ids=["an average over all", "strides", "behind a max-pool"],
)
def test_behind_the_last_max_pool_layers_see_sums_over_places_of_equal_slopes(
    layers: list[nn.Module], classes: list[int]
) -> None:
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4, 2)).double()
    network = trace(model, torch.ones(1, 3, 8, 8, dtype=torch.float64))
    assert [layer.classes for layer in FastRun(network).lowered.weighted] == classes
    same(network, network.initial.total // 4, 5)


class Plus(nn.Module):
    """Features, and what a layer makes of them."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


@pytest.mark.parametrize(
    "head",
    [
        [nn.AdaptiveAvgPool2d(1), nn.Flatten()],
        [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout()],
        [nn.Flatten()],
        [nn.Flatten(), Plus(nn.Linear(100, 100))],
        [nn.AdaptiveAvgPool2d(1), nn.Flatten(), Plus(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 4)))],
        [],
    ],
    ids=["pooled", "and dropped", "flat", "and a sum", "a sum of pooled", "channels"],
)
def test_outputs_that_no_layer_makes_are_none_that_can_be_dropped(head: list[nn.Module]) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1), *head).double()
    source = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=source, dtype=torch.float64)
    network = trace(model, torch.ones(1, 3, 5, 5, dtype=torch.float64))
    for keep in (network.initial.total // 4, 9):
        same(network, keep, 12)


def test_an_identity_carries_its_part_of_the_objective_to_the_end() -> None:
    model = Plus(nn.Linear(3, 3)).double()
    same(trace(model, torch.ones(1, 3, dtype=torch.float64)), 1, 7)


def test_what_overflows_between_two_cuts_is_an_error_as_in_the_textbook_loop() -> None:
    model = nn.Sequential(nn.Linear(4, 4), Plus(chain_of(420, 4)), nn.Linear(4, 2)).double()
    network = trace(model, torch.ones(1, 4, dtype=torch.float64))
    network = network.with_weights({n: w * 8 for n, w in network.weights.items()})
    plan = exponential(network.initial.total, 9, 3)
    for way in (prune, prune_at_best):
        with pytest.raises(ScoreError, match=r"of 'synflow' (returned .* infinite scores|overflows)"):
            way(Problem(network, None, squared_error, 0), synflow, plan)


@pytest.mark.parametrize("pruner", [synflow, magnitude, snip], ids=lambda p: p.name)
@pytest.mark.parametrize("target", [2.0, "3", True, torch.tensor(3)])
def test_a_schedule_that_gives_no_whole_number_is_refused_by_both_ways(pruner, target) -> None:
    problem = dense_problem()
    for way in (prune, prune_at_best):
        with pytest.raises(TypeError, match=r"the schedule gave .* for round 1, wanted a whole number"):
            way(problem, pruner, lambda *_: target)
        with pytest.raises(TypeError, match="the schedule is 3; wanted such as"):
            way(problem, pruner, 3)


def same_up_to_ties(network: Network, keep: int) -> None:
    """The masks are equal; or, where rounding ordered what is equal, the scores that they exchange are equal."""
    rounds = 4
    wanted = textbook(network, keep, rounds)
    found = run_synflow(network, exponential(network.initial.kept, keep, rounds))
    assert found.targets == wanted.targets and found.kept.sum(1).tolist() == wanted.kept.sum(1).tolist()
    differ = [r for r in range(1, rounds + 1) if wanted.masks_at(r) != found.masks_at(r)]
    if not differ:
        return
    before = wanted.masks_at(differ[0] - 1)
    probe = Probe(Problem(network, None, squared_error, 0))
    scores = call_scorer(synflow, network, State(network.weights, before), probe)
    exchanged = torch.cat([scores[n][wanted.masks_at(differ[0])[n] != m] for n, m in found.masks_at(differ[0]).items()])
    torch.testing.assert_close(exchanged, exchanged[:1].expand_as(exchanged), rtol=HALF, atol=0)


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(Residual(nn.Conv2d(3, 3, 3, padding=1)), nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(64, 2)),
        nn.Sequential(nn.MaxPool2d(2), Residual(Residual(nn.Conv2d(3, 3, 1))), nn.Flatten(), nn.Linear(27, 2)),
        nn.Sequential(nn.Flatten(), Residual(nn.Linear(108, 108)), nn.ReLU(), nn.Linear(108, 3)),
    ],
    ids=["a sum with the input", "nested sums", "features"],
)
def test_what_the_input_is_joined_with_passes_its_slope_on(model: nn.Module) -> None:
    source = torch.Generator().manual_seed(0)
    for parameter in model.double().parameters():
        parameter.data = torch.randn(parameter.shape, generator=source, dtype=torch.float64)
    network = trace(model, torch.ones(1, 3, 6, 6, dtype=torch.float64))
    for keep in (network.initial.total // 3, 5):
        same(network, keep, 6)


def test_a_deep_chain_has_a_cut_behind_every_layer_and_a_sum_has_none_within() -> None:
    chain = FastRun(trace(chain_of(5, 2), torch.ones(1, 2, dtype=torch.float64)))
    assert len(chain.cuts) == 4
    inner = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    whole = nn.Sequential(nn.Linear(2, 2, bias=False), Residual(inner), nn.Linear(2, 1, bias=False)).double()
    joined = FastRun(trace(whole, torch.ones(1, 2, dtype=torch.float64)))
    names = [step.name for step in joined.lowered.steps]
    assert joined.cuts == {names[0], names[3]}


def test_a_perceptron_at_two_compressions_over_a_hundred_rounds() -> None:
    model, x = make("mlp", 0)
    network = trace(model, x).to(dtype=torch.float64)
    for compression in (10**2, 10**4):
        same(network, round(network.initial.total / compression), 100)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)), "1: tanh is no operator that the fast path knows"),
        (nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Linear(2, 3), nn.Flatten(), nn.Linear(6, 1)), "0"),
    ],
)
def test_what_it_can_not_do_is_named_and_left_to_the_textbook_loop(model: nn.Module, said: str) -> None:
    network = trace(model.double(), torch.ones(1, 4, dtype=torch.float64))
    plan = exponential(network.initial.total, 3, 4)
    with pytest.raises(NotLoweredError, match=said):
        run_synflow(network, plan)
    heard: list[str] = []
    found = prune_at_best(Problem(network, None, squared_error, 0), synflow, plan, say=heard.append)
    assert found.masks == textbook(network, 3, 4).masks
    assert len(heard) == 1 and heard[0].startswith("the textbook loop is used") and said in heard[0]


@pytest.mark.parametrize("pruner", [synflow, magnitude, random, snip], ids=lambda p: p.name)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("keep", [1, 5, 40])
def test_the_best_way_is_the_fast_one_and_leaves_the_same_trace(pruner, masked, keep, monkeypatch) -> None:
    problem = dense_problem()
    network = problem.network
    weights = {n: w.clone() for n, w in network.weights.items()}
    weights["0.weight"][1:3] = 0  # kept weights of size 0
    network = network.with_weights(weights)
    if masked:
        masks = {n: torch.arange(m.numel()).view(m.shape) % 3 > 0 for n, m in network.initial.items()}
        network = Network(**{**vars(network), "initial": Masks(masks)})
    problem = Problem(network, problem.batch, problem.loss, problem.seed)
    plan = exponential(network.initial.total, min(keep, network.initial.kept), 6)
    wanted = prune(problem, pruner, plan)
    if pruner is not snip:
        monkeypatch.setattr(best, "prune", None)
    heard: list[str] = []
    found = prune_at_best(problem, pruner, plan, say=heard.append)
    assert heard == []
    for name, died in wanted.died.items():
        assert torch.equal(found.died[name], died), name
    assert torch.equal(found.kept, wanted.kept) and found.calls == wanted.calls
    assert (found.targets, found.flat, found.revived) == (wanted.targets, wanted.flat, wanted.revived)
    for one, other in ((found.mass, wanted.mass), (found.cut, wanted.cut), (found.log_cut, wanted.log_cut)):
        torch.testing.assert_close(one, other, rtol=HALF, atol=0, equal_nan=True)


@pytest.mark.parametrize("pruner", [synflow, magnitude, random], ids=lambda p: p.name)
def test_the_best_way_refuses_what_the_textbook_loop_refuses(pruner) -> None:
    problem = dense_problem()
    for way in (prune, prune_at_best):
        for target in (problem.network.initial.total + 1, -1):
            with pytest.raises(ScoreError, match=f"the selection of '{pruner.name}' .*asked to keep {target} weights"):
                way(problem, pruner, lambda *_, target=target: target)
    heard: list[tuple[int, int]] = []
    for way in (prune, prune_at_best):
        assert way(problem, pruner, lambda *_: None, lambda *told: heard.append(told)).rounds == 0
    assert heard == []
    broken = problem.network.with_weights({n: w / 0 for n, w in problem.network.weights.items()})
    with pytest.raises(ValueError, match=r"holds .* NaN or infinite"):
        prune_at_best(Problem(broken, None, problem.loss, 0), pruner, lambda *_: 1)


def test_the_best_way_is_the_textbook_loop_in_float32_which_is_told() -> None:
    problem = dense_problem()
    plan = exponential(problem.network.initial.total, 5, 3)
    heard: list[str] = []
    single = Problem(problem.network.to(dtype=torch.float32), None, squared_error, 0)
    prune_at_best(single, synflow, plan, say=heard.append)
    assert "it is for float64 on the CPU" in heard[0]


def chain_of(depth: int, width: int) -> nn.Sequential:
    source = torch.Generator().manual_seed(0)
    model = nn.Sequential(*(nn.Linear(width, width, bias=False) for _ in range(depth))).double()
    for layer in model:
        layer.weight.data = torch.randn(width, width, generator=source, dtype=torch.float64)
    return model


def test_a_network_that_overflows_float64_is_scored_as_if_it_did_not() -> None:
    """Powers of two, layer by layer, change no mantissa: the textbook loop on such weights is the oracle."""
    model = chain_of(420, 8)
    deep = trace(model, torch.ones(1, 8, dtype=torch.float64))
    assert not torch.isfinite(deep.forward({n: w.abs() for n, w in deep.weights.items()}, deep.example)).all()
    scaled = deep.with_weights({n: w / 4 for n, w in deep.weights.items()})
    keep, rounds = 8_000, 5
    wanted = textbook(scaled, keep, rounds)
    found = run_synflow(deep, exponential(deep.initial.total, keep, rounds))
    assert all(torch.equal(found.died[n], died) for n, died in wanted.died.items())
    assert found.cut[0] == torch.inf  # which no float64 holds; the masks don't mind
    torch.testing.assert_close(found.log_cut, wanted.log_cut + len(deep.weights) * math.log(4), rtol=HALF, atol=0)


def test_a_schedule_that_goes_by_scores_sees_them_ascending_with_the_silent_ones() -> None:
    problem = dense_problem()
    network = problem.network
    seen: list[Tensor] = []

    def watching(round_: int, kept: int, alive):
        seen.append(alive())
        return kept // 2 if round_ < 4 else None

    run_synflow(network, watching)
    fast, seen = seen, []
    prune(problem, synflow, watching)
    assert len(fast) == len(seen) == 4
    for one, other in zip(fast, seen, strict=True):
        torch.testing.assert_close(one, other, rtol=HALF, atol=0)


def test_masks_are_the_same_by_one_thread_and_by_two() -> None:
    """More weights than are looked at without a sample, in products that are shared out to threads."""
    model, x = make("vgg11_bn", 0)
    network = trace(model, x).to(dtype=torch.float64)
    plan = exponential(network.initial.total, network.initial.total // 100, 6)
    found = []
    for count in (1, 2):
        with threadpool_limits(count):
            found.append(run_synflow(network, plan))
    assert all(torch.equal(found[0].died[n], died) for n, died in found[1].died.items())


def test_another_schedule_and_progress() -> None:
    network = dense_problem().network
    heard: list[tuple[int, int]] = []
    total = network.initial.total
    found = run_synflow(network, linear(total, 4, 5), Watch(lambda r, kept: heard.append((r, kept))))
    assert [r for r, _ in heard] == [1, 2, 3, 4, 5] and heard[-1][1] == 4 == found.masks.kept


def test_one_run_of_fixed_steps_is_a_run_of_its_own_for_each_of_25_compressions() -> None:
    """10^0.16 to 10^4, at 25 rounds per factor of ten: mask for mask, by the fast path and by the textbook loop."""
    model, x = make("mlp", 0)
    network = trace(model, x).to(dtype=torch.float64)
    counts = [round(network.initial.total * 10 ** (-4 * j / 25)) for j in range(1, 26)]
    plans = [fixed_step(network.initial.total, keep, 25) for keep in counts]
    shared = run_synflow(network, plans[-1])
    assert shared.rounds == 100
    wanted = prune(Problem(network, None, squared_error, 0), synflow, plans[-1])
    for j, plan in enumerate(plans, 1):
        assert shared.masks_at(4 * j) == run_synflow(network, plan).masks == wanted.masks_at(4 * j), j


@pytest.mark.parametrize("kind", ["real", "a few values", "wide", "mostly zeros", "beside the sample"])
def test_the_highest_of_many_scores_are_those_of_sorting_them(kind: str) -> None:
    """More than are sorted at once: a sample brackets the threshold. Weights stand for scores: what flows is 1."""
    drawn = np.random.default_rng(0).random(3 * MANY)
    scores = {
        "real": drawn,
        "a few values": np.ceil(4 * drawn),
        "wide": np.exp(200 * (drawn - 0.5)),
        "mostly zeros": np.where(drawn < 0.6, 0.0, drawn),
        "beside the sample": drawn,
    }[kind]
    if kind == "beside the sample":  # nothing scores where a sample would look
        for layer in np.split(scores, [MANY, MANY + 7]):
            layer[:: 3 * MANY // SAMPLE + 1] = 0
    ranked = np.argsort(-scores, kind="stable")
    positive = int((scores > 0).sum())
    for k in (0, 1, 2, positive // 50, positive // 2, positive - positive // 50, positive - 1, positive, positive + 9):
        survivors = weighing(np.split(scores, [MANY, MANY + 7]))
        mass, silent = survivors.keep(k, 1)
        assert not silent and sum(survivors.kept()) == min(k, len(scores))
        fell = np.concatenate(survivors.died) == 1
        assert np.array_equal(np.flatnonzero(fell), np.sort(ranked[k:]))
        assert mass == pytest.approx(scores[fell].sum())


@pytest.mark.parametrize("bracket", [(0.0, 0.1), (0.9, np.inf), (0.9, 1.0)], ids=["low", "high", "high, with an end"])
def test_a_bracket_that_misses_the_threshold_is_noticed(bracket: tuple[float, float], monkeypatch) -> None:
    scores = np.random.default_rng(1).random(1000)
    monkeypatch.setattr(Survivors, "_bracket", lambda *_: bracket)
    survivors = weighing(np.split(scores, [300]))
    survivors.keep(500, 1)
    fell = np.concatenate(survivors.died) == 1
    assert np.array_equal(np.flatnonzero(fell), np.sort(np.argsort(-scores, kind="stable")[500:]))


LINKS = Links.seen(np.zeros((1, 1), np.intp), 1)


def weighing(scores: list[NDArray[np.float64]]) -> Survivors:
    """Survivors whose weights are their scores; zeros are weights too."""
    layers = []
    for flat in scores:
        layer = Weighted("layer", ("x",), Store(flat.copy()[None, None]), 1, LINKS, True)
        layer.columns, layer.slopes = np.ones((1, len(flat), 1)), np.ones((1, 1, 1))
        layers.append(layer)
    died = [np.zeros(len(flat), np.int16) for flat in scores]
    return Survivors(layers, died, [np.flatnonzero(flat == 0) for flat in scores])
