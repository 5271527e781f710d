"""Newer pruners that rank weights and walks: against numbers by hand, by numpy and by plain loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from problems import bits, dense_problem, integer_batch, integer_weights, problem_of
from torch import Tensor, nn

from pruning.answers import call_scorer
from pruning.engine import prune
from pruning.inputs import layers, per_output
from pruning.masks import Masks, group_top_k, layer_top_k
from pruning.newer import newer
from pruning.newer.force import force
from pruning.newer.lamp import lamp
from pruning.newer.phew import phew
from pruning.newer.ria import ria
from pruning.newer.sparsegpt import DAMPING, reconstruction_error, sparsegpt, undamped
from pruning.newer.wanda import wanda
from pruning.problem import Probe, Problem, squared_error
from pruning.pruner import Claim, Pruner, State, scored
from pruning.pruners.magnitude import magnitude
from pruning.schedule import exponential, one_shot
from pruning.trace import trace

EPS = float(np.finfo(np.float64).eps)


def chain(*matrices: list[list[float]], x: list[list[float]], y: list[list[float]], seed: int = 0) -> Problem:
    """Linear layers without biases, ReLU between them."""
    parts: list[nn.Module] = []
    for matrix in matrices:
        weight = torch.tensor(matrix, dtype=torch.float64)
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=torch.float64)
        layer.weight = nn.Parameter(weight)
        parts += [layer, nn.ReLU()]
    batch = torch.tensor(x, dtype=torch.float64), torch.tensor(y, dtype=torch.float64)
    return problem_of(nn.Sequential(*parts[:-1]), batch, seed=seed)


@cache
def shaped(widths: tuple[int, ...], samples: int) -> Problem:
    matrices = [[[0.0] * a] * b for a, b in pairwise(widths)]
    return chain(*matrices, x=[[0.0] * widths[0]] * samples, y=[[0.0] * widths[-1]] * samples)


def drawn(seed: int, widths: tuple[int, ...] = (4, 5, 6, 3), samples: int = 8) -> Problem:
    source, problem = torch.Generator().manual_seed(seed), shaped(widths, samples)
    weights = {n: torch.randn(w.shape, generator=source).double() for n, w in problem.network.weights.items()}
    x = torch.randn(samples, widths[0], generator=source).double()
    return replace(problem, network=problem.network.with_weights(weights), batch=(x, problem.batch[1]), seed=seed)


def scores_of(problem: Problem, pruner: Pruner, masks: Masks | None = None) -> dict[str, Tensor]:
    network = problem.network
    return call_scorer(pruner, network, State(network.weights, masks or network.initial), Probe(problem))


def kept(problem: Problem, pruner: Pruner, keep: int) -> Masks:
    return prune(problem, pruner, one_shot(problem.network.initial.total, keep)).masks


def lists(tensors: dict[str, Tensor]) -> list[object]:
    return [t.tolist() for t in tensors.values()]


def on_a_live_path(masks: Masks) -> list[np.ndarray]:
    """Which weights of a chain of linear layers lie on a path of kept weights from input to output."""
    matrices = [m.numpy() for m in masks.values()]
    ahead = [np.ones(matrices[0].shape[1], bool)]
    for m in matrices:
        ahead.append((m & ahead[-1]).any(1))
    behind = [np.ones(matrices[-1].shape[0], bool)]
    for m in reversed(matrices):
        behind.append((m & behind[-1][:, None]).any(0))
    behind.reverse()
    return [m & a & b[:, None] for m, a, b in zip(matrices, ahead[:-1], behind[1:], strict=True)]


RANKED = [lamp, force, wanda, ria, sparsegpt, undamped]
ALL = [*RANKED, phew]


@pytest.mark.parametrize("pruner", RANKED, ids=lambda p: p.name)
def test_every_count_is_met(pruner: Pruner) -> None:
    problem = dense_problem()
    total = problem.network.initial.total
    for keep in range(1, total + 1):
        assert kept(problem, pruner, keep).kept == keep
    assert prune(problem, pruner, exponential(total, 7, 4)).kept.sum(1).tolist() == [26, 17, 11, 7]


@pytest.mark.parametrize("pruner", ALL, ids=lambda p: p.name)
def test_all_of_them_run_on_a_network_of_every_layout_and_change_nothing(pruner: Pruner) -> None:
    problem = problem_of(convolutions(), integer_batch((3, 2, 3, 3), (3, 2)))
    before = {n: bits(w) for n, w in problem.network.weights.items()}
    run = prune(problem, pruner, exponential(problem.network.initial.total, 9, 3))
    assert {n: bits(w) for n, w in problem.network.weights.items()} == before
    again = prune(problem, pruner, exponential(problem.network.initial.total, 9, 3))
    assert again.masks == run.masks


def test_who_asks_for_data() -> None:
    asked = {p.name for p in ALL if prune(dense_problem(), p, one_shot(41, 20)).calls.get("batch")}
    assert asked == {"force", "wanda", "ria", "sparsegpt", "sparsegpt undamped"}
    assert all(newer()[p.name] is p for p in ALL)


# shares of groups


def test_groups_keep_equal_shares_and_the_largest_remainders_the_rest() -> None:
    scores = {"a": torch.arange(4.0).view(2, 2), "b": torch.tensor([[9.0, 8.0]])}
    masks = Masks.full(scores)
    counts = {k: layer_top_k(scores, masks, k).kept_by_layer() for k in range(7)}
    # k * 4/6 and k * 2/6: 0.67 + 0.33, 1.33 + 0.67, 2 + 1, 2.67 + 1.33, 3.33 + 1.67
    assert counts == {0: [0, 0], 1: [1, 0], 2: [1, 1], 3: [2, 1], 4: [3, 1], 5: [3, 2], 6: [4, 2]}
    assert layer_top_k(scores, masks, 3)["a"].tolist() == [[False, False], [True, True]]


def test_of_equal_groups_and_equal_scores_the_first_are_kept() -> None:
    scores = {"a": torch.zeros(3, 2)}
    rows = {"a": torch.arange(3).unsqueeze(1).expand(3, 2)}
    found = group_top_k(scores, Masks.full(scores), 4, rows)
    assert found["a"].tolist() == [[True, True], [True, False], [True, False]]


def test_a_pruned_weight_never_returns_to_its_group() -> None:
    scores = {"a": torch.tensor([[5.0, 1.0, 2.0], [4.0, 3.0, 9.0]])}
    masks = Masks({"a": torch.tensor([[False, True, True], [True, True, True]])})
    rows = {"a": torch.arange(2).unsqueeze(1).expand(2, 3)}
    # 3 of 5: 1.2 of the first row, 1.8 of the second
    assert group_top_k(scores, masks, 3, rows)["a"].tolist() == [[False, False, True], [True, False, True]]
    with pytest.raises(ValueError, match="asked to keep 6 weights, wanted 0 to 5: a pruned weight never returns"):
        group_top_k(scores, masks, 6, rows)
    assert group_top_k(scores, Masks({"a": torch.zeros(2, 3, dtype=torch.bool)}), 0, rows).kept == 0


def test_a_choice_stands_in_for_the_selection_and_sees_the_network() -> None:
    def first_layer(network, state, keep, probe):
        return {n: m if n == next(iter(network.weights)) else m & False for n, m in state.masks.items()}

    problem = dense_problem()
    pruner = scored("first layer", magnitude.score, choose=first_layer)
    run = prune(problem, pruner, one_shot(problem.network.initial.total, 20))
    assert run.masks.kept_by_layer() == [20, 0, 0]
    left = sum(float(w.abs().sum()) for w in list(problem.network.weights.values())[1:])
    assert float(run.mass) == left  # the scores are there all the same
    with pytest.raises(TypeError, match="the choice of pruner 'x' is 3, wanted a function"):
        scored("x", magnitude.score, choose=3)


# what layers read


def convolutions() -> nn.Module:
    """Groups, strides, padding, dilation; transposed as well; and a linear layer."""
    return integer_weights(
        nn.Sequential(
            nn.Conv2d(2, 4, 2, groups=2, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(4, 4, (2, 1), dilation=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(4, 6, 2, groups=2, stride=2, padding=1, output_padding=1, dilation=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(192, 2),
        )
    )


def test_a_layer_is_its_matrix_times_what_it_reads() -> None:
    """On integers, to the bit: the products of rows and inputs are the outputs, less the bias."""
    x, y = integer_batch((3, 2, 3, 3), (3, 2))
    problem = problem_of(convolutions(), (x, y))
    network, made = problem.network, {}

    def see(name: str, value: Tensor) -> Tensor:
        made[name] = value
        return value

    replace(network, tap=see).forward(network.weights, x)
    found = layers(network, network.weights, x)
    assert [layer.inputs.shape[0] for layer in found.values()] == [2, 1, 2, 1]
    for name, layer in found.items():
        matrix = layer.matrix(network.weights[name]).numpy()
        outputs = np.einsum("gsc,goc->sgo", layer.inputs.numpy(), matrix)
        bias = network.fixed[name.replace("weight", "bias")].numpy()
        expected = np.moveaxis(made[layer.edge.node.name].numpy(), 1, -1).reshape(-1, len(bias)) - bias
        assert np.array_equal(outputs.reshape(expected.shape), expected)
        assert torch.equal(layer.entries(layer.matrix(network.weights[name])), network.weights[name])


def test_a_weight_that_is_used_twice_reads_what_both_uses_do() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(torch.relu(self.linear(x)))

    model = Twice().double()
    model.linear.weight = nn.Parameter(torch.tensor([[1.0, 2.0], [3.0, -1.0]], dtype=torch.float64))
    x = torch.tensor([[1.0, 1.0], [0.0, 2.0]], dtype=torch.float64)
    network = trace(model, x)
    found = layers(network, network.weights, x)["linear.weight"].inputs
    assert found.tolist() == [[[1, 1], [0, 2], [3, 2], [4, 0]]]


# LAMP


def test_lamp_divides_each_square_by_those_that_are_not_smaller() -> None:
    problem = chain([[3.0, -1.0], [2.0, 0.0]], [[-5.0, 5.0]], x=[[1.0, 1.0]], y=[[0.0]])
    # of equal weights the first counts as the larger one
    assert lists(scores_of(problem, lamp)) == [[[1, 1 / 14], [4 / 13, 0]], [[1, 25 / 50]]]
    assert lists(scores_of(chain([[0.0]], [[2.0]], x=[[1.0]], y=[[0.0]]), lamp)) == [[[0]], [[1]]]


def test_lamp_keeps_the_largest_of_each_layer_and_ends_with_one_but_not_on_one_path() -> None:
    connected = 0
    for seed in range(50):
        problem = drawn(seed)
        for keep in (3, 10, 40):
            for weight, mask in zip(problem.network.weights.values(), kept(problem, lamp, keep).values(), strict=True):
                assert weight[mask].abs().min() >= weight[~mask].abs().max()
        ended = kept(problem, lamp, 3)
        assert ended.kept_by_layer() == [1, 1, 1]
        connected += on_a_live_path(ended)[0].any()
    assert 0 < connected < 25


# FORCE


def test_force_scores_pruned_weights_by_the_slope_of_the_pruned_network() -> None:
    """h = (1, 2), and only the first reaches y = 3, whose slope is 3."""
    problem = chain([[1.0], [2.0]], [[3.0, 1.0]], x=[[1.0]], y=[[0.0]])
    masks = Masks({"0.weight": torch.tensor([[True], [True]]), "2.weight": torch.tensor([[True, False]])})
    scores = scores_of(problem, force, masks)
    # w1: 1 * 3 * 3 and 2 * 0 * 3; w2: 3 * 1 * 3 and 1 * 2 * 3, what it would have if it came back
    assert lists(scores) == [[[9], [0]], [[9, 6]]]
    assert force.select(scores, masks, 3)["2.weight"].tolist() == [[True, True]]
    assert not masks["2.weight"].all()
    assert force.rounds == 60


def test_force_starts_like_snip_and_lets_weights_return() -> None:
    problem = drawn(0)
    x, y = problem.batch
    model = {n: w.clone().requires_grad_() for n, w in problem.network.weights.items()}
    squared_error(problem.network.forward(model, x), y).backward()
    for name, score in scores_of(problem, force).items():
        assert torch.equal(score, (model[name] * model[name].grad).abs())
    revived = [prune(drawn(seed), force, exponential(68, 12, 10)).revived for seed in range(10)]
    assert any(map(sum, revived))
    assert Claim.NESTED_MASKS not in force.claims and Claim.IDEMPOTENT not in force.claims


# PHEW


def test_phew_keeps_whole_walks_and_nothing_else() -> None:
    for seed in range(20):
        problem = drawn(seed)
        for keep in (1, 3, 10, 30):
            masks = kept(problem, phew, keep)
            assert keep <= masks.kept < keep + 3  # the last walk is of three
            assert all((m.numpy() == live).all() for m, live in zip(masks.values(), on_a_live_path(masks), strict=True))
        assert kept(problem, phew, 3).kept_by_layer() == [1, 1, 1]


def test_phew_hangs_on_the_seed_alone() -> None:
    problem = drawn(0)
    found = [kept(replace(problem, seed=seed), phew, 20) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    assert kept(replace(problem, batch=None), phew, 20) == found[0]


def test_a_walk_of_phew_takes_each_weight_in_proportion() -> None:
    """Of n walks the part that takes the first of |w| = 1, 3 misses 1/4 by t with chance 2 exp(-2 n t^2): Hoeffding."""
    runs = 400
    problem = chain([[1.0], [-3.0]], [[2.0, 2.0]], x=[[1.0]], y=[[0.0]])
    taken = sum(bool(kept(replace(problem, seed=s), phew, 2)["0.weight"][0]) for s in range(runs))
    assert abs(taken / runs - 1 / 4) <= math.sqrt(math.log(2 / 1e-9) / (2 * runs))
    wide = chain([[1.0], [1.0]], [[1.0, -3.0]], x=[[1.0]], y=[[0.0]])  # the second walk is backward: from the output
    both = [kept(replace(wide, seed=s), phew, 3) for s in range(runs)]
    assert {tuple(m.kept_by_layer()) for m in both} == {(2, 2)}


def test_phew_walks_neither_on_what_is_pruned_nor_on_zeros_nor_for_ever() -> None:
    problem = chain([[1.0, 0.0], [1.0, 1.0]], [[1.0, 1.0]], x=[[1.0, 1.0]], y=[[0.0]])
    assert lists(dict(kept(problem, phew, 5))) == [[[True, False], [True, True]], [[True, True]]]
    masks = Masks({"0.weight": torch.tensor([[True, True], [True, True]]), "2.weight": torch.tensor([[False, True]])})
    pruned = replace(problem, network=replace(problem.network, initial=masks))
    run = prune(pruned, phew, one_shot(5, 4))
    # the first unit leads nowhere: the weights into it are on no path
    assert lists(dict(run.masks)) == [[[False, False], [True, True]], [[False, True]]]
    dead = chain([[1.0], [0.0]], [[0.0, 1.0]], x=[[1.0]], y=[[0.0]])
    assert kept(dead, phew, 2).kept == 0


def test_phew_ends_a_convolutional_chain_as_one_path_of_channels() -> None:
    layers_ = [nn.Conv2d(2, 4, 1, groups=2), nn.ReLU(), nn.ConvTranspose2d(4, 4, 1, groups=2), nn.ReLU(), nn.Flatten()]
    model = nn.Sequential(*layers_, nn.Linear(16, 2)).double()
    for seed in range(10):
        problem = problem_of(model, integer_batch((2, 2, 2, 2), (2, 2)), seed=seed)
        masks = kept(problem, phew, 3)
        assert masks.kept_by_layer() == [1, 1, 1]
        (outer, _, *_), (inner, _, *_), (_, column) = (m.nonzero()[0].tolist() for m in masks.values())
        assert outer == inner  # a transposed convolution's first axis is what it reads
        group, out = inner // 2, masks["2.weight"].nonzero()[0].tolist()[1]
        assert column // 4 == 2 * group + out


class Residual(nn.Module):
    """y = C(relu(x A + B relu(D relu(x A)))), with a norm behind if asked for."""

    def __init__(self, norm: bool) -> None:
        super().__init__()
        self.a, self.d, self.b = (nn.Linear(3, 3, bias=False) for _ in range(3))
        self.norm = nn.LayerNorm(3) if norm else nn.Identity()
        self.c = nn.Linear(3, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.a(x))
        return self.c(self.norm(torch.relu(x + self.b(torch.relu(self.d(x))))))


def test_phew_goes_through_a_branch_or_past_it() -> None:
    through = []
    for seed in range(20):
        problem = problem_of(Residual(norm=False).double(), integer_batch((2, 3), (2, 2)), seed=seed)
        masks = kept(problem, phew, 1)
        counts = dict(zip(masks, masks.kept_by_layer(), strict=True))
        assert counts["a.weight"] == counts["c.weight"] == 1 and counts["b.weight"] == counts["d.weight"]
        place = {n: m.nonzero()[0].tolist() for n, m in masks.items() if m.any()}
        ways = ["a.weight", "d.weight", "b.weight", "c.weight"] if counts["b.weight"] else ["a.weight", "c.weight"]
        assert all(place[one][0] == place[two][1] for one, two in pairwise(ways))
        through.append(counts["b.weight"])
    assert set(through) == {0, 1}


def test_phew_begins_anew_behind_a_norm() -> None:
    problem = problem_of(Residual(norm=True).double(), integer_batch((2, 3), (2, 2)))
    assert all(kept(problem, phew, 20).kept_by_layer())
    assert kept(problem, phew, 1).kept_by_layer()[-1] == 0


# Wanda


def test_wanda_is_the_weight_times_the_norm_of_its_input() -> None:
    problem = chain(
        [[1.0, -2.0], [3.0, 1.0], [-1.0, -1.0]], [[1.0, 1.0, 9.0]], x=[[3.0, 5.0], [4.0, 12.0]], y=[[0.0], [0.0]]
    )
    # norms 5 and 13; behind the ReLU 0 and 0, 14 and 24, 0 and 0
    first, second = scores_of(problem, wanda).values()
    assert first.tolist() == [[5, 26], [15, 13], [5, 13]]
    assert second.tolist() == [[0, math.sqrt(14**2 + 24**2), 0]]


def test_wanda_compares_output_by_output() -> None:
    for seed in range(10):
        problem = drawn(seed)
        scores = scores_of(problem, wanda)
        masks = kept(problem, wanda, 33)
        for name, mask in masks.items():
            for row, score in zip(mask.numpy(), scores[name].numpy(), strict=True):
                share = 33 / 68 * len(row)
                assert row.sum() in (math.floor(share), math.ceil(share))
                assert set(np.argsort(-score)[: row.sum()]) == set(np.flatnonzero(row))


def test_wanda_on_convolutions_by_plain_loops() -> None:
    """Of each weight the norm of all that it is multiplied with, place by place; rows are the outputs in any layout."""
    x, y = integer_batch((2, 2, 4, 4), (2, 1))
    source = torch.Generator().manual_seed(3)
    straight = nn.Conv2d(2, 4, 2, stride=2, padding=1, groups=2, bias=False)
    across = nn.ConvTranspose2d(4, 2, 2, stride=2, groups=2, bias=False)
    model = nn.Sequential(straight, nn.ReLU(), across, nn.Flatten(), nn.Linear(72, 1, bias=False)).double()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randint(1, 9, p.shape, generator=source))
    model.requires_grad_(False)
    problem = problem_of(model, (x, y))
    scores, masks = scores_of(problem, wanda), kept(problem, wanda, 53)
    hidden = torch.relu(straight(x)).numpy()

    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)))
    for (o, i, r, c), score in np.ndenumerate(scores["0.weight"].numpy()):
        read = padded[:, o // 2 + i, r : r + 5 : 2, c : c + 5 : 2]
        assert score == abs(float(straight.weight[o, i, r, c])) * math.sqrt((read**2).sum())
    for (i, o, r, c), score in np.ndenumerate(scores["2.weight"].numpy()):  # every place is sent everywhere
        assert score == abs(float(across.weight[i, o, r, c])) * math.sqrt((hidden[:, i] ** 2).sum())
    rows = {o: [(i, 0) for i in range(4) if i // 2 == o] for o in range(2)}  # one output for each group
    for ins in rows.values():
        taken = np.array([masks["2.weight"][i, o].numpy() for i, o in ins])
        values = np.array([scores["2.weight"][i, o].numpy() for i, o in ins])
        assert taken.sum() in (math.floor(8 * 53 / 104), math.ceil(8 * 53 / 104))
        assert values[taken].min() >= values[~taken].max()


# RIA


def test_ria_adds_the_parts_of_column_and_row_and_takes_the_root_of_the_norm() -> None:
    problem = chain([[1.0, -3.0], [2.0, 2.0]], [[0.0, 4.0]], x=[[16.0, 81.0]], y=[[0.0]])
    first, second = scores_of(problem, ria).values()
    columns, rows = [[1 / 3, 3 / 5], [2 / 3, 2 / 5]], [[1 / 4, 3 / 4], [2 / 4, 2 / 4]]
    roots = [4, 9]
    assert first.tolist() == [[(columns[i][j] + rows[i][j]) * roots[j] for j in range(2)] for i in range(2)]
    # a column of zeros scores 0; the other is all of its column and all of its row
    assert second.tolist() == [[0, 2 * math.sqrt(2 * 16 + 2 * 81)]]


def test_ria_compares_layer_by_layer() -> None:
    problem = drawn(1)
    scores, masks = scores_of(problem, ria), kept(problem, ria, 33)
    for name, mask in masks.items():
        share = 33 / 68 * mask.numel()
        assert int(mask.sum()) in (math.floor(share), math.ceil(share))
        assert scores[name][mask].min() > scores[name][~mask].max()


# SparseGPT

# 2 x these are orthogonal, and every number on the way is a dyadic one that float64 holds
ONES, HALVES, EVENS = (np.array(v, float) for v in ([1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1]))


def test_undamped_sparsegpt_is_the_squared_distance_to_the_inputs_behind() -> None:
    x = np.stack([ONES + HALVES, 3 * EVENS + ONES + 2 * HALVES, 0 * ONES, ONES + HALVES, 2 * ONES], 1)
    problem = chain([[1.0, 2.0, 5.0, 3.0, -1.0]], x=x.tolist(), y=[[0.0]] * 4)
    # the first is the fourth again, the second has 3 evens of its own, the fourth its halves; the last stands alone
    assert lists(scores_of(problem, undamped)) == [[[0, 4 * 36, 0, 9 * 4, 16]]]


def refit(x: np.ndarray, w: np.ndarray, j: int) -> float:
    """The least squared change of x @ w when w[j] goes and the weights behind it are free."""
    goal = x[:, j] * w[j]
    if j + 1 == x.shape[1]:
        return float(goal @ goal)
    step = np.linalg.lstsq(x[:, j + 1 :], goal, rcond=None)[0]
    return float(((goal - x[:, j + 1 :] @ step) ** 2).sum())


@pytest.mark.parametrize("damping", [0.0, DAMPING])
def test_sparsegpt_against_refits_of_the_weights_behind(damping: float) -> None:
    """A distance moves by at most (1 + cond) times what the columns do, relative to its own column, and its square by
    twice that; in either computation the columns move by an eps for each of the roundings in 4 products per column."""
    for seed in range(20):
        problem = drawn(seed, (6, 4), 10)
        (weight,), (score,) = problem.network.weights.values(), scores_of(problem, of(damping)).values()
        x = problem.batch[0].numpy()
        ridge = math.sqrt(damping * (x**2).sum(0).mean())
        x = np.vstack([x, ridge * np.eye(6)])
        norms = np.linalg.norm(x, axis=0)
        moved = 4 * 6 * (sum(x.shape)) * EPS * (1 + np.linalg.cond(x / norms))
        for (o, j), found in np.ndenumerate(score.numpy()):
            w = weight[o].numpy()
            assert abs(found - refit(x, w, j)) <= 2 * 2 * moved * (w[j] * norms[j]) ** 2


def test_sparsegpt_is_the_released_formula() -> None:
    """w^2 over the squared diagonal of the upper Cholesky factor of the inverse.

    An inverse and a factor of n rows lose at most n^2 roundings of each kind times the condition of what they are of.
    """
    for seed in range(10):
        problem = drawn(seed, (6, 4), 3)  # fewer samples than columns
        (weight,), (score,) = problem.network.weights.values(), scores_of(problem, sparsegpt).values()
        x = problem.batch[0].numpy()
        h = x.T @ x
        h += 0.01 * h.diagonal().mean() * np.eye(6)
        upper = np.linalg.cholesky(np.linalg.inv(h)).T
        expected = weight.numpy() ** 2 / upper.diagonal() ** 2
        assert np.abs(score.numpy() / expected - 1).max() <= 2 * 6**2 * EPS * np.linalg.cond(h)


def of(damping: float) -> Pruner:
    return scored("some", reconstruction_error(damping))


def test_sparsegpt_takes_an_input_that_is_always_0_as_free() -> None:
    problem = chain([[1.0, 7.0]], x=[[2.0, 0.0]], y=[[0.0]])
    assert lists(scores_of(problem, undamped)) == [[[4, 0]]]
    ((first, second),) = scores_of(problem, sparsegpt)["0.weight"]
    assert first > 4 and second == 0


# what leaves the function as it is


def rescaled(problem: Problem, seed: int) -> Problem:
    """Each hidden unit's inputs times a power of two, its outputs by the same: not a bit of any path changes."""
    network, source = problem.network, torch.Generator().manual_seed(seed)
    weights = dict(network.weights)
    for one, two in pairwise(weights):
        by = torch.exp2(torch.randint(-4, 5, (weights[one].shape[0],), generator=source)).double()
        weights[one], weights[two] = weights[one] * by[:, None], weights[two] / by
    x = problem.batch[0]
    assert torch.equal(network.forward(weights, x), network.forward(network.weights, x))
    return replace(problem, network=network.with_weights(weights))


def changed(pruner: Pruner, keep: int = 30, samples: int = 8) -> int:
    pairs = [(drawn(seed, samples=samples), seed) for seed in range(20)]
    return sum(kept(p, pruner, keep) != kept(rescaled(p, seed), pruner, keep) for p, seed in pairs)


@pytest.mark.parametrize(("keep", "samples"), list(product((10, 30, 50), (2, 8))))
def test_masks_that_do_not_see_the_scale_of_hidden_units(keep: int, samples: int) -> None:
    assert [changed(p, keep, samples) for p in (wanda, undamped, force)] == [0, 0, 0]


def by_output(score: Callable[..., dict[str, Tensor]]) -> Pruner:
    return scored("by output", score, choose=per_output(score))


def test_masks_that_do() -> None:
    """Of SparseGPT's two sides, damping and comparing outputs with each other, either is enough."""
    assert all(changed(p) for p in (ria, lamp, sparsegpt))
    assert changed(by_output(reconstruction_error(DAMPING)))
    assert changed(scored("by layer", reconstruction_error(0.0), select=layer_top_k))
    assert {p.name for p in ALL if Claim.RESCALED_MASKS in p.claims} == {"wanda", "sparsegpt undamped", "force"}
