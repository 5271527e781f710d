"""The pruning run: counts, fates and masses are what the scores say, and the problem stays as it was."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from problems import dense_model, dense_problem, everything, integer_batch, integer_weights, problem_of, snapshot
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from pruning import engine
from pruning.answers import ScoreError, call_scorer, check_scores
from pruning.engine import prune
from pruning.masks import Masks, Tensors, global_top_k
from pruning.network import Network
from pruning.problem import Probe, Problem
from pruning.pruner import Claim, Pruner, State, scored
from pruning.pruners import built_in
from pruning.pruners.magnitude import absolute, magnitude
from pruning.pruners.synflow import flow, synflow
from pruning.rounds import Trace
from pruning.schedule import exponential, linear, one_shot

PRUNERS = built_in()
ROUNDS = 4


def total(problem: Problem) -> int:
    return problem.network.initial.total


def run(problem: Problem, pruner: Pruner, keep: int = 6, rounds: int = ROUNDS) -> Trace:
    return prune(problem, pruner, exponential(total(problem), keep, rounds))


def replay(problem: Problem, pruner: Pruner, trace: Trace) -> list[tuple[dict[str, Tensor], Masks, Masks]]:
    """Scores, masks before and masks after, round by round, made anew outside the engine."""
    probe, masks, rounds = Probe(problem), problem.network.initial, []
    for target in trace.targets:
        scores = call_scorer(pruner, problem.network, State(problem.network.weights, masks), probe)
        after = global_top_k(scores, masks, target)
        rounds.append((scores, masks, after))
        masks = after
    return rounds


@pytest.fixture(params=sorted(PRUNERS))
def pruner(request: pytest.FixtureRequest) -> Pruner:
    return PRUNERS[request.param]


def test_the_five_pruners_are_there():
    assert sorted(PRUNERS) == ["grasp", "magnitude", "random", "snip", "synflow"]
    assert all(name == pruner.name for name, pruner in PRUNERS.items())


def test_every_round_keeps_exactly_its_target(pruner):
    problem = dense_problem()
    trace = run(problem, pruner)
    size = total(problem)
    assert trace.targets == (*(round(size * (6 / size) ** (t / ROUNDS)) for t in range(1, ROUNDS)), 6)
    assert tuple(trace.kept.sum(1).tolist()) == trace.targets
    assert trace.rounds == ROUNDS
    assert trace.masks.kept == 6


def test_masks_are_nested_and_nothing_is_revived(pruner):
    trace = run(dense_problem(), pruner)
    steps = [trace.masks_at(r) for r in range(ROUNDS + 1)]
    assert not any((after[n] & ~before[n]).any() for before, after in pairwise(steps) for n in after)
    assert trace.revived == (0,) * ROUNDS


def test_the_same_seed_gives_the_same_masks(pruner):
    first, second, other = (run(dense_problem(seed), pruner) for seed in (3, 3, 4))
    assert first.masks.digest() == second.masks.digest() != other.masks.digest()


def test_the_masks_of_each_round_are_those_of_scoring_and_selecting_by_hand(pruner):
    problem = dense_problem()
    trace = run(problem, pruner)
    for number, (_, before, after) in enumerate(replay(problem, pruner, trace), start=1):
        assert trace.masks_at(number - 1) == before
        assert trace.masks_at(number) == after
        assert trace.kept[number - 1].tolist() == after.kept_by_layer()


def test_the_mass_of_a_round_is_the_sum_of_the_scores_it_removed():
    """On integers every order of summation gives the same sum."""
    problem = dense_problem()
    unmasked = scored("unmasked", lambda network, state, probe: {n: w.square() for n, w in state.weights.items()})
    for pruner in (synflow, magnitude, unmasked):
        trace = run(problem, pruner)
        removed = [
            sum(scores[n][before[n] & ~after[n]].sum().item() for n in scores)
            for scores, before, after in replay(problem, pruner, trace)
        ]
        assert trace.mass.tolist() == removed
        assert trace.mass.dtype is torch.float64


def test_the_cut_of_a_round_is_the_objective_before_it(pruner):
    problem = dense_problem()
    trace = run(problem, pruner)
    if pruner.objective is None:
        assert trace.cut.isnan().all()
        return
    network, probe = problem.network, Probe(problem)
    rounds = replay(problem, pruner, trace)
    cuts = [pruner.objective(network, before.apply(network.weights), probe).item() for _, before, _ in rounds]
    assert trace.cut.tolist() == cuts


def test_a_weight_dies_in_the_round_that_removes_it(pruner):
    trace = run(dense_problem(), pruner)
    for name, died in trace.died.items():
        assert died.dtype is torch.int16
        for round_ in range(ROUNDS + 1):
            assert torch.equal(trace.masks_at(round_)[name], (died == 0) | (died > round_))
    for round_ in (-1, ROUNDS + 1):
        with pytest.raises(ValueError, match=f"round {round_} of a run of {ROUNDS} rounds"):
            trace.masks_at(round_)


def test_the_problem_is_left_as_it_was(pruner):
    problem = dense_problem()
    before, random = everything(problem), torch.get_rng_state()
    run(problem, pruner)
    assert everything(problem) == before
    assert torch.equal(torch.get_rng_state(), random)


def test_not_even_a_scorer_that_writes_into_all_it_sees_changes_the_problem():
    def vandal(network: Network, state: State, probe: Probe) -> dict[str, Tensor]:
        for tensors in (network.weights, network.fixed, network.neutral, network.initial, state.weights, state.masks):
            for tensor in tensors.values():
                tensor.zero_()
        for tensor in (network.example, *probe.batch()):
            tensor.zero_()
        return {n: torch.ones_like(w) for n, w in state.weights.items()}

    problem = dense_problem()
    before = everything(problem)
    prune(problem, scored("vandal", vandal, select=lambda s, m, k: m), one_shot(total(problem), 6))
    assert everything(problem) == before


def test_a_model_pruned_before_starts_from_its_masks(pruner):
    model = dense_model()
    torch_prune.random_unstructured(model[0], "weight", amount=9)
    problem = problem_of(model, integer_batch((3, 4), (3, 2)))
    trace = run(problem, pruner)
    gone = ~problem.network.initial["0.weight"]
    assert gone.sum() == 9
    assert (trace.died["0.weight"][gone] == -1).all()
    assert trace.masks_at(0) == problem.network.initial
    assert trace.masks.kept == 6


def test_density_one_keeps_everything(pruner):
    problem = dense_problem()
    trace = run(problem, pruner, keep=total(problem), rounds=1)
    assert trace.masks == problem.network.initial
    assert trace.mass.tolist() == [0.0]


def test_one_weight_can_be_all_that_is_kept(pruner):
    assert run(dense_problem(), pruner, keep=1, rounds=1).masks.kept == 1


def test_networks_of_one_weight_and_of_one_neuron(pruner):
    for widths in ([1, 1], [1, 1, 1], [3, 1, 2]):
        layers = [nn.Linear(a, b) for a, b in pairwise(widths)]
        problem = problem_of(integer_weights(nn.Sequential(*layers)), integer_batch((2, widths[0]), (2, widths[-1])))
        assert run(problem, pruner, keep=1, rounds=1).masks.kept == 1


def test_rounds_that_only_the_index_decided_are_told():
    dead = integer_weights(nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False)))
    dead[0].weight.data.zero_()
    trace = run(problem_of(dead, integer_batch((1, 2), (1, 2))), synflow, keep=3, rounds=2)
    assert trace.flat == (1, 2)
    assert run(dense_problem(), magnitude).flat == ()


def test_each_round_is_told_to_whoever_asks():
    heard: list[tuple[int, int]] = []
    problem = dense_problem()
    trace = prune(problem, synflow, linear(total(problem), 6, 3), lambda *told: heard.append(told))
    assert heard == list(enumerate(trace.targets, start=1))


def test_a_pruner_is_scored_once_a_round_and_no_more():
    trace = run(dense_problem(), PRUNERS["random"])
    assert trace.calls == {"rand": ROUNDS}


def test_a_schedule_may_ask_for_the_surviving_scores_and_sees_them_sorted():
    problem, seen = dense_problem(), []

    def until_two_left(round_: int, kept: int, alive: Callable[[], Tensor]) -> int | None:
        seen.append(alive())
        assert len(seen[-1]) == kept
        return max(2, kept // 2) if kept > 2 else None

    trace = prune(problem, magnitude, until_two_left)
    everything_ = torch.cat([w.abs().flatten() for w in problem.network.weights.values()])
    assert torch.equal(seen[0], everything_.sort().values)
    assert trace.targets[-1] == 2


def test_a_schedule_that_never_ends_is_an_error(monkeypatch):
    monkeypatch.setattr(engine, "MAX_ROUNDS", 20)
    tiny = problem_of(integer_weights(nn.Linear(1, 1)), integer_batch((1, 1), (1, 1)))
    pruner = scored("same", lambda network, state, probe: state.weights)
    with pytest.raises(ValueError, match="the schedule did not end within 20 rounds"):
        prune(tiny, pruner, lambda round_, kept, alive: 1)


def test_rounds_are_limited_by_the_type_that_counts_them():
    died = run(dense_problem(), magnitude).died["0.weight"]
    assert torch.iinfo(died.dtype).max == engine.MAX_ROUNDS


def test_a_schedule_that_has_ended_at_once_leaves_all_weights():
    problem = dense_problem()
    trace = prune(problem, synflow, lambda round_, kept, alive: None)
    assert (trace.rounds, trace.kept.shape, trace.masks) == (0, (0, 3), problem.network.initial)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(bad, pruner):
    model = dense_model()
    with torch.no_grad():
        model[2].weight[1, 1] = bad
    problem = problem_of(model, integer_batch((3, 4), (3, 2)))
    with pytest.raises(ValueError, match=r"the weight '2.weight' holds 1 NaN or infinite values of 15"):
        run(problem, pruner)


# what binds every scorer


def ones(network: Network) -> dict[str, Tensor]:
    return {n: torch.ones_like(w) for n, w in network.weights.items()}


def with_first(change: Callable[[Tensor], object]) -> Callable[..., object]:
    return lambda network, state, probe: {**ones(network), "0.weight": change(torch.ones(5, 4).double())}


def spoilt(value: float, count: int) -> Callable[[Tensor], Tensor]:
    def spoil(score: Tensor) -> Tensor:
        score.view(-1)[:count] = value
        return score

    return spoil


def raising(network: Network, state: State, probe: Probe) -> Tensors:
    raise RuntimeError("out of luck\nand a long second line")


FAULTS = {
    "raises": (raising, "the scorer of 'mine' raised RuntimeError: out of luck"),
    "exits": (lambda n, s, p: 1 / 0, "the scorer of 'mine' raised ZeroDivisionError: division by zero"),
    "nothing": (lambda n, s, p: None, "the scorer of 'mine' returned NoneType, wanted a mapping"),
    "a list": (lambda n, s, p: list(s.weights.values()), "the scorer of 'mine' returned list, wanted a mapping"),
    "no layer": (lambda n, s, p: {}, "missing '0.weight', '2.weight', '4.weight', not asked for none"),
    "a layer less": (lambda n, s, p: {"0.weight": s.weights["0.weight"]}, "missing '2.weight', '4.weight'"),
    "a layer more": (lambda n, s, p: {**ones(n), "bias": torch.ones(1)}, "missing none, not asked for 'bias'"),
    "a number": (with_first(lambda score: 1.0), "the scorer of 'mine' returned float for '0.weight', wanted a tensor"),
    "an array": (with_first(lambda score: score.numpy()), "returned ndarray for '0.weight', wanted a tensor"),
    "transposed": (with_first(lambda score: score.t()), "the score of '0.weight' has shape (4, 5), wanted (5, 4)"),
    "one per unit": (with_first(lambda score: score.sum(1)), "the score of '0.weight' has shape (5,), wanted (5, 4)"),
    "float32": (with_first(lambda score: score.float()), "returned torch.float32 on cpu for '0.weight', wanted the"),
    "integers": (with_first(lambda score: score.long()), "returned torch.int64 on cpu for '0.weight', wanted the"),
    "elsewhere": (with_first(lambda score: score.to("meta")), "returned torch.float64 on meta for '0.weight', wanted"),
    "NaN": (with_first(spoilt(float("nan"), 3)), "returned 3 NaN and 0 infinite scores of 20 for '0.weight'"),
    "inf": (with_first(spoilt(float("inf"), 2)), "returned 0 NaN and 2 infinite scores of 20 for '0.weight'"),
    "-inf": (with_first(spoilt(-float("inf"), 1)), "returned 0 NaN and 1 infinite scores of 20 for '0.weight'"),
}


@pytest.mark.parametrize(("score", "message"), FAULTS.values(), ids=FAULTS)
def test_a_scorer_that_breaks_the_contract_is_named_in_one_line(score, message):
    with pytest.raises(ScoreError) as caught:
        run(dense_problem(), scored("mine", score))
    assert message in str(caught.value)
    assert "'mine'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_scores_that_carry_a_gradient_are_taken_without_it():
    def tracked(network: Network, state: State, probe: Probe) -> dict[str, Tensor]:
        return {n: w.clone().requires_grad_() * 2 for n, w in state.weights.items()}

    problem = dense_problem()
    state = State(problem.network.weights, problem.network.initial)
    scores = call_scorer(scored("mine", tracked), problem.network, state, Probe(problem))
    assert not any(s.requires_grad for s in scores.values())
    check_scores("mine", problem.network.weights, scores)


SELECTIONS = {
    "raises": (lambda s, m, k: 1 / 0, "the selection of 'mine' raised ZeroDivisionError: division by zero"),
    "a dictionary": (lambda s, m, k: dict(m), "the selection of 'mine' returned dict, wanted Masks"),
    "a layer less": (lambda s, m, k: Masks({"0.weight": m["0.weight"]}), "the selection of 'mine' returned masks that"),
}


@pytest.mark.parametrize(("select", "message"), SELECTIONS.values(), ids=SELECTIONS)
def test_a_selection_that_breaks_the_contract_is_named_in_one_line(select, message):
    with pytest.raises(ScoreError) as caught:
        run(dense_problem(), scored("mine", absolute, select=select))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


OBJECTIVES = {
    "raises": (lambda n, w, p: 1 / 0, "the objective of 'mine' raised ZeroDivisionError: division by zero"),
    "a number": (lambda n, w, p: 1.0, "the objective of 'mine' returned float, wanted a tensor of one number"),
    "outputs": (lambda n, w, p: n.forward(w, p.ones()), "the objective of 'mine' returned shape (1, 2), wanted a"),
}


@pytest.mark.parametrize(("objective", "message"), OBJECTIVES.values(), ids=OBJECTIVES)
def test_an_objective_that_breaks_the_contract_is_named_in_one_line(objective, message):
    with pytest.raises(ScoreError) as caught:
        run(dense_problem(), scored("mine", absolute, objective=objective))
    assert message in str(caught.value)


def test_a_pruner_that_revives_is_recorded_as_such():
    def swap(scores: Tensors, masks: Masks, k: int) -> Masks:
        full = masks.kept == masks.total
        return global_top_k(scores, masks, k) if full else Masks({n: ~m for n, m in masks.items()})

    problem = dense_problem()
    trace = prune(problem, scored("swap", absolute, select=swap), linear(total(problem), 20, 2))
    assert trace.revived == (0, total(problem) - trace.targets[0])
    assert trace.kept[1].sum() == total(problem) - trace.targets[0]


def test_a_pruner_made_of_what_cannot_be_called_is_refused():
    for part in ({"score": 3}, {"score": absolute, "select": 3}, {"score": absolute, "objective": 3}):
        with pytest.raises(TypeError, match="of pruner 'mine' is 3, wanted a function"):
            scored("mine", **part)


def test_a_pruner_with_an_unknown_claim_is_refused_and_told_the_known_ones():
    with pytest.raises(ValueError, match=r"pruner 'mine' claims 'fast'; a claim is one of .*neuron conserved"):
        scored("mine", absolute, claims=["fast", "positive"])
    assert scored("mine", absolute, claims=["positive"]).claims == {Claim.POSITIVE}
    with pytest.raises(ValueError, match="pruner 'mine' has 0 rounds of scoring, wanted at least 1"):
        scored("mine", absolute, rounds=0)


def test_the_objective_of_synflow_is_read_only():
    problem = dense_problem()
    before = snapshot(problem.network.weights)
    flow(problem.network, problem.network.weights, Probe(problem))
    assert snapshot(problem.network.weights) == before


def test_a_problem_without_data_still_prunes_by_synflow_but_not_by_snip():
    problem = replace(dense_problem(), batch=None)
    assert run(problem, synflow).masks.kept == 6
    with pytest.raises(ScoreError, match="scorer of 'snip' raised ValueError: this pruner asks for data, and the pr"):
        run(problem, PRUNERS["snip"])
