"""measure_flow: its absolute saliency, its bound, and that `exact` is only said of what is exact."""

import functools
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from joined import JOINED, WHOLE
from subjects import (
    CONSERVATION,
    CORRECT,
    FAMILIES,
    MODELS,
    Block,
    Fork,
    Scale,
    cases,
    chain,
    closed,
    literal,
    redrawn,
    signed,
    traced,
    with_scores,
)
from torch import nn

from pruning.answers import ScoreError
from pruning.network import Network
from pruning.pruners.snip import snip
from pruning.pruners.synflow import synflow
from pruning.trace import trace
from theory import flow, numerics
from theory.case import Case
from theory.judge import judge, out_of_scope
from theory.law import Grade
from theory.laws import catalogue
from theory.networks.conv import conv_integer
from theory.networks.dense import dense_integer, dense_real
from theory.networks.shape import Conv, Dense, Flatten, Pool, Shape
from theory.networks.spec import NetSpec
from theory.oracles.exact import fractions, saliencies
from theory.subjects import the_loss

# networks without objections or products, and laws whose bound comes from the units'
BOUNDED = [f for f in FAMILIES if f.name.startswith(("dense", "conv", "residual", "linear"))]
A1, *CUTS = (
    next(la for la in CONSERVATION if la.name == name)
    for name in ("neuron_conservation", "boundary_conservation", "layer_conservation", "random_cut")
)
LAWS = [A1, *CUTS]


def test_absolute_saliency_is_the_brute_force_sum():
    """T = |w| * sum over samples of |d| * |a|, by hand on a chain of two layers with biases."""
    for case in cases(replace(dense_integer, name="two layers"), signed, 40, 1):
        if len(case.graph.edges) != 2:
            continue
        net, (x, target) = case.batch.problem(0).network, case.batch.problem(0).batch
        (n1, w1), (n2, w2) = net.weights.items()
        b1, b2 = (net.fixed.get(n.replace("weight", "bias"), torch.zeros(len(w))) for n, w in ((n1, w1), (n2, w2)))
        z = x @ w1.T + b1
        a = z.clamp(min=0)
        d2 = a @ w2.T + b2 - target
        d1 = (d2 @ w2) * (z > 0)
        t1, t2 = w1.abs() * (d1.abs().T @ x.abs()), w2.abs() * (d2.abs().T @ a.abs())
        biases = (b1.abs() * d1.abs().sum(0)) if net.fixed else torch.zeros(len(w1))
        (hidden,) = case.graph.hidden
        assert torch.equal(case.flow.mass[0, hidden.span], t1.sum(1) + t2.sum(0) + biases)
        assert float(case.flow.total[0]) == float(t1.sum() + t2.sum())
        assert float(case.flow.input[0]) == float((x * (d1 @ w1)).sum())
        assert float(case.flow.output[0]) == float(((d2 + target) * d2).sum())


def test_synflow_has_the_scores_themselves_as_absolute_saliency():
    for case in itertools.chain(*(cases(f, synflow, 6, 4) for f in BOUNDED)):
        total = torch.stack([s.flatten(1).sum(1) for s in case.scores.values()]).sum(0)
        assert torch.allclose(case.flow.total, total, rtol=numerics.gamma(case.total, torch.float64), atol=0)
        assert all(not f.any() for f in case.bias_flows.values()), "SynFlow sees no bias"
        around, rounding = case.absolute[:, case.units], numerics.gamma(2 * case.total, torch.float64)
        assert torch.allclose(case.flow.mass[:, case.units], around, rtol=rounding, atol=0)


def has_no_fractions(case: Case) -> bool:
    """The oracle knows neither transposed nor dilated convolutions."""
    return any(isinstance(la, Conv) and (la.transposed or la.dilation > 1) for la in case.batch.shape.layers)


@pytest.mark.parametrize("family", [dense_integer, conv_integer], ids=lambda f: f.name)
def test_what_counts_as_exact_is_exact(family):
    """Granted on nearly all small integers, and then the floats are the oracle's fractions."""
    granted = 0
    for case in cases(family, signed, 25, 1, seed=5):
        if case.total > 250 or not bool(case.exact) or has_no_fractions(case):
            continue
        granted += 1
        expected = saliencies(NetSpec.of(case.batch, 0))
        for name, found in (case.scores | case.bias_flows).items():
            assert (fractions(found[0].numpy()) == expected[name]).all()
    assert granted >= 5


BIG = 2.0**27


def exact_of(batch, pruner=signed) -> bool:
    return bool(Case(batch, pruner).exact)


def one_one_one(first: float, second: float, x: float = 1.0, target: float = 0.0, loss: str = "squared-error"):
    numbers = {"0.weight": torch.tensor([[first]]), "2.weight": torch.tensor([[second]])}
    wanted = torch.tensor([0]) if loss == "cross-entropy" else torch.tensor([[target]])
    return literal(chain(1, 1, 1), numbers, torch.tensor([[x]]), wanted, loss)


def test_exact_ends_where_a_partial_sum_reaches_two_to_the_53():
    assert exact_of(one_one_one(2.0**12, 2.0**13)), "S = w^2 = 2^50, T of both layers 2^51"
    assert not exact_of(one_one_one(2.0**13, 2.0**13)), "T = 2 * 2^52 is no longer below 2^53"
    assert not exact_of(one_one_one(BIG, BIG))
    assert not exact_of(one_one_one(BIG + 1, 1.0, x=BIG + 1, target=1.0))


def test_exact_is_refused_where_sums_cancel_but_their_parts_do_not_fit():
    numbers = {"0.weight": torch.tensor([[BIG + 1, -BIG - 1, 1.0]]).double(), "2.weight": torch.tensor([[1.0]])}
    inputs = torch.tensor([[BIG + 1, BIG + 1, 1.0]], dtype=torch.float64)
    assert not exact_of(literal(chain(3, 1, 1), numbers, inputs, torch.tensor([[0.0]])))


def test_exact_is_refused_where_only_the_bias_does_not_fit():
    """z = b + 3 - 3 with b just below 2^53: a sum on the way may round although its end does not."""
    numbers = {
        "0.weight": torch.tensor([[3.0, -3.0]]),
        "0.bias": torch.tensor([2.0**53 - 1], dtype=torch.float64),
        "2.weight": torch.tensor([[0.0]]),
        "2.bias": torch.tensor([0.0]),
    }
    small = numbers | {"0.bias": torch.tensor([2.0**40])}
    where = (torch.ones(1, 2), torch.tensor([[0.0]]))
    assert exact_of(literal(chain(2, 1, 1, bias=True), small, *where))
    assert not exact_of(literal(chain(2, 1, 1, bias=True), numbers, *where))


@pytest.mark.parametrize(
    "batch",
    [
        one_one_one(0.5, 1.0),
        one_one_one(1.0, 1.0, x=0.5),
        one_one_one(1.0, 1.0, target=0.5),
        one_one_one(1 / 3, 3.0),
    ],
    ids=["weight", "input", "target", "third"],
)
def test_exact_is_refused_for_numbers_that_are_not_whole(batch):
    assert not exact_of(batch)


def test_exact_is_refused_under_cross_entropy():
    """Its slopes are no integers, unless the softmax has saturated to the last bit."""
    open_, refused = 0, 0
    for case in cases(replace(dense_integer, loss="cross-entropy"), signed, 20, 8):
        network = case.batch.problem(0).network
        for i in range(case.batch.size):
            problem = case.batch.problem(i)
            p = problem.network.forward(problem.network.weights, problem.batch[0]).softmax(1)
            if bool(((p > 0) & (p < 1)).any()):
                open_ += 1
                refused += not bool(case.exact[i])
        assert network.weights
    assert open_ == refused > 20


def test_exact_is_refused_for_average_pools():
    shape = Shape((Conv(1, 1, 1), Pool("avg", 2), Flatten(), Dense(1, 1)), (1, 2, 2), 1)
    numbers = {"0.weight": torch.ones(1, 1, 1, 1), "3.weight": torch.ones(1, 1)}
    where = (torch.ones(1, 1, 2, 2), torch.tensor([[0.0]]))
    assert not exact_of(literal(shape, numbers, *where))
    with_max = replace(shape, layers=(shape.layers[0], Pool("max", 2), *shape.layers[2:]))
    assert exact_of(literal(with_max, numbers, *where))


def test_exact_is_refused_for_scores_that_are_not_whole():
    normed = replace(synflow, score=lambda *a: {n: s / 3 for n, s in synflow.score(*a).items()})
    assert exact_of(one_one_one(2.0, 5.0), synflow)
    assert not exact_of(one_one_one(2.0, 5.0), normed)


def whole(shape, generator):
    return torch.randint(-2, 3, shape, generator=generator)


def test_exact_holds_through_forks_and_sums():
    """A residual network of integers: granted, and then every balance is == ."""
    model = closed(Block(norm=False), Block(norm=False), nn.MaxPool2d(4))
    for pruner in CORRECT:
        case = Case(traced(model, 8, whole), pruner)
        judged = judge(A1, case)
        assert bool(case.exact.all()) and not judged.failures and judged.balances > 0
        assert set(+judged.grades) == {Grade.EXACT.value}


def test_exact_is_refused_where_a_maximum_is_shared_among_three():
    """Whole weights and inputs, and thirds on the way back, which do not add up to 1 to the bit."""
    layers = Conv(1, 1, 1), Pool("max", 2), Flatten(), Dense(1, 1)
    values = {"0.weight": [[[[1.0]]]], "3.weight": [[1.0]]}
    tied = [[[[1.0, 1.0], [1.0, 0.0]]]]
    case = Case(NetSpec(Shape(layers, (1, 2, 2), 1), values, tied, [[0.0]], "squared-error", 0).batch(), the_loss)
    assert bool(case.exact.all())  # torch's own maximum chooses one
    found = judge(catalogue()["kinks"], case)
    assert not found.failures and found.grades[Grade.EXACT.value] == 0 < found.grades[Grade.ROUNDED.value]


def test_exact_is_refused_where_cotangents_do_not_fit_together():
    """Each way back carries less than 2^53, and so does their sum; the sums in between don't."""
    top = 2.0**53
    batch = traced(Fork(), 1, whole, inputs=(1, 2, 1, 1))
    ways = [n for n in batch.weights if "ways" in n]
    for factors, fits in (((3, 2, -3, -1), True), ((top - 1, top - 2, -(top - 1), -(top - 3)), False)):
        numbers = dict(zip(ways, factors, strict=True)) | {"start.weight": 0}
        weights = {n: torch.full_like(w, numbers[n]) for n, w in batch.weights.items()}
        weights["start.weight"] = torch.tensor([1.0, -1.0], dtype=torch.float64).view(1, 1, 2, 1, 1)
        one = replace(
            batch, weights=weights, inputs=torch.ones_like(batch.inputs), targets=-torch.ones(1, 1, 1).double()
        )
        assert exact_of(one) is fits


def test_a_hundred_scales_between_two_weights_round_within_the_bound():
    """Nothing but operators without weights: the bound must count their roundings, there are hardly any others."""
    ends = [nn.Conv2d(1, 1, 1, bias=False) for _ in range(2)]
    model = nn.Sequential(ends[0], *(Scale() for _ in range(100)), ends[1], nn.Flatten())
    for pruner in CORRECT:
        judged = judge(A1, Case(traced(model, 300, uneven, inputs=(1, 1, 1, 1)), pruner))
        assert not judged.failures and bool(judged.live.all())


def uneven(shape, generator):
    """Between 1/2 and 3/2: a hundred of them neither vanish nor overflow."""
    return 0.5 + torch.rand(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("name", MODELS)
def test_no_false_alarm_on_traced_models(name):
    batch = traced(MODELS[name](), 24)
    assert not batch.network.graph.objections
    worst = 0.0
    for case, law in itertools.product([Case(batch, pruner, generic=True) for pruner in CORRECT], LAWS):
        if out_of_scope(law, case) is None:
            judged = judge(law, case)
            assert not judged.failures and judged.margin is not None
            worst = max(worst, judged.margin)
    assert 0 < worst < 1


@functools.cache  # five tests look at each
def joined(name: str) -> Network:
    return trace(JOINED[name]().double(), torch.ones(2, 2, 8, 8, dtype=torch.float64))


def drawn_from(name: str, size: int, draw=torch.randn, seed: int = 0):
    return redrawn(joined(name), size, draw, seed)


@pytest.mark.parametrize("name", JOINED)
def test_no_balance_of_joined_units_exceeds_its_bound(name):
    """A hundred problems each, of all sizes; the worst margin is within the bound, and not idly far within."""
    batch, worst = drawn_from(name, 100), 0.0
    assert not batch.network.graph.objections and not batch.network.graph.transfers
    for case, law in itertools.product([Case(batch, pruner, generic=True) for pruner in CORRECT], LAWS):
        if out_of_scope(law, case) is None:
            judged = judge(law, case)
            assert case.flow is not None and not judged.failures
            worst = max(worst, judged.margin or 0.0)
    assert 1e-4 < worst < 1


@pytest.mark.parametrize("name", JOINED)
def test_a_score_that_is_off_by_four_bounds_is_caught_in_joined_units(name):
    """In every unit through which something flows, one weight of those that enter, and one of those that leave."""
    case, tried = Case(drawn_from(name, 1), signed, generic=True), 0
    bound, alive = case.flow_bound().size[0], case.units[case.absolute[0, case.units] > numerics.least_flow(case.dtype)]
    for unit, edge in itertools.product(alive.tolist(), case.graph.edges):
        marked = torch.eye(case.graph.units)[unit]
        enters, leaves = edge.per_head(marked), edge.per_tail(marked)
        for at in (enters * (1 - leaves), leaves * (1 - enters)):  # what does both is told from neither
            if not at.any():
                continue
            scores = {n: s.clone() for n, s in case.scores.items()}
            scores[edge.weight].view(-1)[int(at.flatten().argmax())] += 4 * float(bound[unit])
            assert judge(A1, with_scores(case, scores)).failures, (unit, edge.weight)
            tried += 1
    assert tried >= 2 * len(alive) > 0 or name == "mixed tokens"


@pytest.mark.parametrize("name", JOINED)
@pytest.mark.parametrize("most", [2, 50, 20000])
def test_what_counts_as_exact_in_joined_units_is_exact(name, most):
    """Integers of three sizes: granted to the small where nothing rounds, and then balances are ==.

    What is certified in single precision, where sums end at 2^24, must be the same in double precision to the bit.
    """
    batch = drawn_from(name, 20, lambda shape, generator: torch.randint(-most, most + 1, shape, generator=generator))
    granted = 0
    for pruner in CORRECT:
        case = Case(batch, pruner)
        assert not judge(A1, case).failures
        granted += int(case.exact.sum())
        if most > 1000:
            continue  # too large for single precision
        single = Case(batch.to(torch.float32), pruner)
        assert bool((case.exact | ~single.exact).all()), "what fits into 24 bits fits into 53"
        for score in case.scores:
            same = case.scores[score] == single.scores[score].double()
            assert same.flatten(1).all(1)[single.exact].all()
    assert name in WHOLE or granted == 0
    assert name not in WHOLE or most == 50 or (granted == 40 if most == 2 else granted < 40)


def test_the_bound_holds_for_any_order_of_summation():
    """256 equal scores, summed one by one, drift further than any pairwise sum: fan-out counts flattened features."""
    shape = Shape((Conv(1, 1, 1), Flatten(), Dense(256, 1)), (1, 16, 16), 1)
    for seed in range(20):
        weight, other = torch.rand(2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        numbers = {"0.weight": weight.view(1, 1, 1, 1), "2.weight": other.expand(1, 256)}
        case = Case(literal(shape, numbers, torch.ones(1, 1, 16, 16), torch.zeros(1, 1)), synflow)
        (hidden,) = case.graph.hidden
        one_by_one = float(np.cumsum(case.scores["2.weight"].flatten().numpy())[-1])
        gap = abs(one_by_one - float(case.scores["0.weight"]))
        assert gap <= float(case.flow.bound[0, hidden.first])


def dipping(depth: int):
    """Networks whose values almost vanish half-way, and whose saliency does not: the second half brings it back."""
    half = depth // 2
    shape = chain(*[5, 9, 4, 7, 6, 8, 3][: depth + 1], samples=2)

    def batch(seed: int, size: int):
        drawn = replace(dense_real, loss="squared-error").batch(shape, seed, size)
        factors = [10.0 ** (-315 / half)] * half + [10.0 ** (300 / half)] * half
        return replace(drawn, weights={n: w * f for (n, w), f in zip(drawn.weights.items(), factors, strict=True)})

    return batch


@pytest.mark.parametrize("depth", [4, 6])
def test_underflow_raises_no_false_alarm(depth):
    batches = [dipping(depth)(seed, 200) for seed in range(4)]
    for case, law in itertools.product(itertools.starmap(Case, itertools.product(batches, CORRECT)), LAWS):
        judged = judge(law, case)
        assert not judged.failures and bool(judged.live.any())


@pytest.mark.parametrize("depth", [4, 6])
def test_without_its_underflow_term_the_bound_would_raise_false_alarms(depth, monkeypatch):
    monkeypatch.setattr(flow, "eta", lambda dtype: 0.0)
    assert judge(A1, Case(dipping(depth)(0, 200), synflow)).failures


@pytest.mark.parametrize(
    "objective",
    [
        lambda *a: snip.objective(*a) + snip.objective(*a),
        lambda network, weights, probe: torch.stack([w.sum() for w in weights.values()]).sum(),
    ],
    ids=["runs twice", "never runs"],
)
def test_without_one_run_of_the_network_there_is_no_bound_and_the_order_test_judges(objective):
    case = Case(one_one_one(1.0, 2.0), replace(snip, objective=objective))
    assert case.flow is None
    assert set(judge(A1, case).grades) <= {"order", "exact"} and not judge(A1, case).grades["exact"]


def test_an_objective_that_raises_is_the_pruners_fault():
    def broken(network, weights, probe):
        raise RuntimeError("boom")

    with pytest.raises(ScoreError, match="the objective of 'snip' raised RuntimeError: boom"):
        _ = Case(one_one_one(1.0, 2.0), replace(snip, objective=broken)).flow


def test_gamma_and_units_are_those_of_the_type():
    for dtype in (torch.float32, torch.float64):
        one = torch.ones((), dtype=dtype)
        u = numerics.unit_roundoff(dtype)
        assert one + u == one and one + 2 * u > one
        tiny = torch.tensor(numerics.eta(dtype), dtype=dtype)
        assert tiny > 0 and tiny / 2 == 0
        top = torch.tensor(numerics.largest_integer(dtype), dtype=dtype)
        assert top + 1 == top and (top - 1) + 1 == top
        assert numerics.gamma(3, dtype) == 3 * u / (1 - 3 * u)
    with pytest.raises(ValueError, match="no bound"):
        numerics.gamma(2**25, torch.float32)
