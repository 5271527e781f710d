"""The oracles agree with the pruners, and with each other, to the bit where nothing rounds."""

import ast
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

import theory.oracles
from pruning.pruners.snip import snip
from pruning.pruners.synflow import synflow
from theory.case import Case
from theory.networks.conv import conv_integer, conv_real, conv_shapes
from theory.networks.dense import dense_integer, dense_real
from theory.networks.family import Family, examples, integers, small_integers
from theory.networks.gated import gated_integer
from theory.networks.kinked import kinked
from theory.networks.layers import (
    Act,
    Branches,
    Conv,
    Dense,
    Embedding,
    Flatten,
    Layer,
    Norm,
    Pool,
    PReLU,
    Resize,
    TokenMean,
)
from theory.networks.linear import linear_integer, linear_real
from theory.networks.outside import max_net, min_net, tanh_net
from theory.networks.power import power_integer
from theory.networks.residual import residual_integer, residual_real
from theory.networks.shape import Shape, parameter_count
from theory.networks.spec import NetSpec
from theory.networks.tied import tied_integer
from theory.numerics import gamma, largest_integer
from theory.oracles.exact import fractions, saliencies
from theory.oracles.loss import leave_one_out, objective
from theory.oracles.paths import path_sums
from theory.subjects import the_loss

WORK = 400  # fractions are slow: networks with few weights, or few products where they convolve
LARGEST = largest_integer(torch.float64)
OF_PATHS = [dense_integer, conv_integer, residual_integer, kinked, linear_integer]
OF_POWERS = [gated_integer, power_integer, tied_integer]  # of degrees other than 1, or of weights used twice
REAL = [dense_real, conv_real, residual_real, linear_real]


def by_name(families: list[Family]):
    return pytest.mark.parametrize("family", families, ids=lambda f: f.name)


def specs(family: Family, count: int, most: int = WORK) -> list[NetSpec]:
    """One literal problem for each of the family's first small shapes, with the loss that the oracles know."""
    found = []
    for shape, seed in examples(family, 6 * count, 11):
        if parameter_count(shape) <= most:
            squared = replace(family, loss="squared-error")
            found.append(NetSpec.of(squared.batch(shape, seed, 1), 0))
    assert len(found) >= count
    return found[:count]


def literal(layers: tuple[Layer, ...], values, inputs, targets) -> NetSpec:
    """A network written out; the first weighted layer's inputs are those of a sample."""
    shape = Shape(layers, np.array(inputs, dtype=object).shape[1:], len(inputs)).fitted()
    return NetSpec(shape, values, inputs, targets, "squared-error", 0)


def integer_spec(layers: tuple[Layer, ...], size: tuple[int, ...], seed: int) -> NetSpec:
    """Two samples, small whole numbers everywhere."""
    shape, source = Shape(layers, size, 2).fitted(), torch.Generator().manual_seed(seed)
    values = {n: integers(s, source).tolist() for n, s in shape.parameters().items()}
    inputs, targets = (small_integers((2, *s), source).tolist() for s in (size, shape.output))
    return NetSpec(shape, values, inputs, targets, "squared-error", seed)


def exactly(tensors) -> dict[str, np.ndarray]:
    return {n: fractions(t.numpy()) for n, t in tensors.items()}


def scores_of(spec: NetSpec, pruner) -> dict[str, np.ndarray]:
    return exactly({n: s[0] for n, s in Case(spec.batch(), pruner).scores.items()})


def value_of(spec: NetSpec) -> Fraction:
    """R by the pruner's own forward pass."""
    case = Case(spec.batch(), synflow)
    return Fraction(float(case.values(case.batch.weights)[0]))


def by_autograd(spec: NetSpec) -> dict[str, np.ndarray]:
    """Saliency of the loss of every parameter, biases, scales and slopes included."""
    problem = spec.batch().problem(0)
    x, targets = problem.batch
    parameters = {**problem.network.fixed, **problem.network.weights}
    slopes = torch.func.grad(lambda p: problem.loss(problem.network.graph.run(p, x), targets))(parameters)
    return exactly({n: p * slopes[n] for n, p in parameters.items()})


def by_place(found, shapes) -> dict[str, np.ndarray]:
    """The path oracle's scores as arrays."""
    arrays = {n: np.full(shapes[n].shape, Fraction(), dtype=object) for n in found}
    for name, places in found.items():
        for place, score in places.items():
            arrays[name][place] = score
    return arrays


def same(ours, expected) -> bool:
    return all((ours[n] == expected[n]).all() for n in ours)


def changed(spec: NetSpec, change) -> NetSpec:
    """Weights and inputs changed one by one, targets far below."""

    def every(numbers):
        return np.vectorize(change)(np.array(numbers)).tolist()

    targets = (-np.abs(np.array(spec.targets))).tolist()
    return replace(
        spec, values={n: every(v) for n, v in spec.values.items()}, inputs=every(spec.inputs), targets=targets
    )


def fits(spec: NetSpec) -> bool:
    """Whether torch computes a network of dense layers and integers without rounding.

    With each number made positive and at least 1 nothing cancels or vanishes: every activation and every slope
    is then at least 1, no smaller than in `spec`, and no larger than their product, the scores of a unit's weights.
    """
    largest = saliencies(changed(spec, lambda n: max(abs(n), 1)))
    return sum(abs(s).sum() for s in largest.values()) < LARGEST


# the pruners


@by_name(OF_PATHS)
def test_synflow_is_the_path_sum_to_the_bit_on_integers(family):
    """No score is above R, so that below 2^53 every whole number was, wherever it counts."""
    exact = 0
    for spec in specs(family, 20):
        case = Case(spec.batch(), synflow)
        whole, found = path_sums(spec)
        ours = scores_of(spec, synflow)
        expected = by_place(found, ours)
        allowed = Fraction(0 if whole < LARGEST else gamma(case.path_roundings, torch.float64))
        assert all((abs(ours[n] - expected[n]) <= allowed * expected[n]).all() for n in ours), str(spec)
        assert abs(value_of(spec) - whole) <= allowed * whole
        assert whole < LARGEST or not case.exact
        exact += not allowed
    assert exact >= 15


@by_name(REAL)
def test_synflow_is_the_path_sum_within_gamma_k_on_reals(family):
    rounded = 0
    for spec in specs(family, 10):
        whole, found = path_sums(spec)
        ours, k = scores_of(spec, synflow), Case(spec.batch(), synflow).path_roundings
        expected, allowed = by_place(found, ours), Fraction(gamma(k, torch.float64))
        assert all((abs(ours[n] - expected[n]) <= allowed * expected[n]).all() for n in ours), str(spec)
        assert abs(value_of(spec) - whole) <= allowed * whole
        rounded += sum((ours[n] != expected[n]).sum() for n in ours)
    assert rounded, "numbers that round nowhere test nothing"


@pytest.mark.parametrize("name", ["relu2", "relu3", "square"])
def test_powers_round_within_gamma_k_of_all_their_degrees(name):
    """Of one output y, the loss of target 0 has y times the saliency of y, which is SynFlow's score."""
    rounded = 0
    for seed in range(6):
        source = torch.Generator().manual_seed(seed)
        shape = Shape((Dense(2, 3), Act(name), Dense(3, 2), Act(name), Dense(2, 1)), (2,), 1)
        values = {n: torch.rand(s, generator=source).tolist() for n, s in shape.parameters().items()}
        spec = NetSpec(shape, values, [[1.0, 1.0]], [[0.0]], "squared-error", seed)
        ours, y = scores_of(spec, synflow), objective(spec)
        expected = {n: s / y for n, s in saliencies(spec).items()}
        allowed = Fraction(gamma(Case(spec.batch(), synflow).path_roundings, torch.float64))
        assert all((abs(ours[n] - expected[n]) <= allowed * expected[n]).all() for n in ours)
        assert abs(value_of(spec) - y) <= allowed * y
        rounded += sum((ours[n] != expected[n]).sum() for n in ours)
    assert rounded, "numbers that round nowhere test nothing"


@by_name([*OF_PATHS, *OF_POWERS])
def test_the_objective_is_the_forward_pass_to_the_bit_on_integers(family):
    """Whole numbers that end below 2^53 were below it wherever they count: nothing shrinks on the way."""
    exact = 0
    for spec in specs(family, 20):
        expected = objective(spec)
        if expected < LARGEST:
            assert value_of(spec) == expected, str(spec)
            exact += 1
    assert exact >= 12


@by_name([*OF_PATHS, *OF_POWERS])
def test_saliency_of_the_loss_is_exact_on_integers(family):
    exact = 0
    for spec in specs(family, 20):
        if not (fits(spec) if family in OF_POWERS else Case(spec.batch(), the_loss).exact):
            continue
        expected, exact = saliencies(spec), exact + 1
        assert same(by_autograd(spec), expected), str(spec)
        assert same(scores_of(spec, the_loss), expected), str(spec)
        assert same(scores_of(spec, snip), {n: abs(s) for n, s in expected.items()}), str(spec)
    assert exact >= 10


@by_name([dense_integer, conv_integer, residual_integer])
def test_bias_flows_are_exact_on_integers(family):
    with_bias = [s for s in specs(family, 20) if any(n.endswith("bias") for n in s.values)]
    assert with_bias
    for spec in with_bias:
        case = Case(spec.batch(), the_loss)
        if case.exact:
            assert same(exactly({n: f[0] for n, f in case.bias_flows.items()}), saliencies(spec))


without_max = replace(conv_real, name="conv without max-pools, real", shapes=conv_shapes(("avg",)))


@by_name([dense_real, without_max, residual_real])
def test_saliency_of_the_loss_rounds_by_no_more_than_its_absolute_terms_allow(family):
    """With every number made positive (the target negative) nothing cancels: gamma of that bounds the error.

    Not under a max-pool, which of other numbers picks other places.
    """
    for spec in specs(family, 10):
        expected, ours = saliencies(spec), scores_of(spec, the_loss)
        largest, k = saliencies(changed(spec, abs)), Case(spec.batch(), the_loss).path_roundings
        allowed = Fraction(gamma(2 * k * spec.shape.samples + 2, torch.float64))
        assert all((abs(ours[n] - expected[n]) <= allowed * largest[n]).all() for n in ours), str(spec)


# each other


@by_name([*OF_PATHS, *REAL])
def test_path_sums_and_leave_one_out_agree(family):
    """Two oracles without common code: R is the same, and each loss is the score, or no more under a max-pool."""
    for spec in specs(family, 8):
        whole, found = path_sums(spec)
        assert whole == objective(spec)
        has_max = any(getattr(layer, "kind", "") == "max" for layer in spec.shape.layers)
        for name, places in found.items():
            for place in list(places)[:: len(places) // 4 + 1]:
                lost, score = leave_one_out(spec, name, place), places[place]
                assert lost <= score if has_max else lost == score


@by_name([dense_integer, conv_integer, residual_integer])
def test_path_sums_and_exact_saliency_agree(family):
    """On positive weights, inputs of ones and targets y - 1 the loss has slope 1: its saliency is SynFlow's."""
    for spec in specs(family, 8):
        whole, found = path_sums(spec)
        expected = saliencies(with_slope_one(spec))
        assert same(by_place(found, expected), expected) or any(n.endswith("bias") for n in expected)
        assert all((by_place(found, expected)[n] == expected[n]).all() for n in found)
        assert sum(found[next(iter(spec.values))].values()) == whole, "the first layer is a cut"


def with_slope_one(spec: NetSpec) -> NetSpec:
    """Positive weights, no biases, one input of ones, and the outputs less 1 as targets."""
    values = {n: (np.abs(np.array(v)) * (not n.endswith("bias"))).tolist() for n, v in spec.values.items()}
    ones = np.ones((1, *spec.shape.input)).tolist()
    positive = replace(spec, values=values, inputs=ones, shape=replace(spec.shape, samples=1))
    problem = replace(positive, targets=np.zeros((1, *spec.shape.output)).tolist()).batch().problem(0)
    y = problem.network.forward(problem.network.weights, problem.batch[0])
    return replace(positive, targets=(y - 1).tolist())


@by_name(OF_POWERS)
def test_beyond_paths_a_weight_is_worth_no_more_than_its_score(family):
    """R is convex in a weight that is used twice or raised to a power; the scores are autograd's."""
    strict = 0
    for spec in specs(family, 10, most=60):
        if objective(spec) * 2 ** len(spec.values) >= LARGEST:
            continue
        for name, scores in scores_of(spec, synflow).items():
            losses = {place: leave_one_out(spec, name, place) for place in np.ndindex(scores.shape)}
            assert all(lost <= scores[place] for place, lost in losses.items()), str(spec)
            strict += sum(lost < scores[place] for place, lost in losses.items())
    assert strict


@by_name(OF_POWERS)
def test_the_path_oracle_refuses_what_is_no_sum_over_paths(family):
    telling = {gated_integer: "product", power_integer: "relu2", tied_integer: "tied='2'"}[family]
    refused = [spec for spec in specs(family, 20) if telling in repr(spec.shape.layers)]
    assert refused
    for spec in refused:
        with pytest.raises(ValueError, match=telling):
            path_sums(spec)


# layer by layer: what the families draw seldom or never


def behind_a_conv(*layers: Layer) -> tuple[Layer, ...]:
    """The padding makes the places differ, for an input of ones too."""
    return (Conv(0, 4, 2, 1, 1, bias=True), *layers, Act("relu"), Conv(0, 2, 2), Flatten(), Dense(0, 2))


def behind_a_dense(*layers: Layer) -> tuple[Layer, ...]:
    return (Dense(0, 4, True), *layers, Dense(0, 2, True))


UNEVEN = (2, 2, 3)
STACKS = {
    "tokens": (behind_a_dense(Act("relu"), Dense(0, 3, True), Flatten()), (2, 3)),
    "mean over tokens": (behind_a_dense(Act("relu"), TokenMean()), (4, 2)),
    "tokens side by side": (behind_a_dense(Branches("cat", ((Dense(0, 3), Act("relu")), ())), TokenMean()), (2, 3)),
    "dilation": (behind_a_conv(Conv(0, 3, 2, 1, 1, 1, True, 2)), UNEVEN),
    "dilation and stride": (behind_a_conv(Conv(0, 3, 2, 2, 2, 1, True, 3)), UNEVEN),
    "groups": (behind_a_conv(Conv(0, 6, 3, 2, 1, 2, True)), UNEVEN),
    "a group per channel": (behind_a_conv(Conv(0, 8, 2, 1, 1, 4, True)), UNEVEN),
    "transposed": (behind_a_conv(Conv(0, 3, 3, 2, 1, 1, True, transposed=True)), UNEVEN),
    "transposed, cropped": (behind_a_conv(Conv(0, 3, 2, 2, 2, 1, True, transposed=True)), UNEVEN),
    "transposed, groups, dilation": (behind_a_conv(Conv(0, 6, 2, 3, 1, 2, True, 2, True)), UNEVEN),
    "overlapping mean": (behind_a_conv(Pool("avg", 2, 1)), UNEVEN),
    "mean with gaps": (behind_a_conv(Resize("upsample"), Pool("avg", 2, 3)), UNEVEN),
    "overlapping maximum": (behind_a_conv(Pool("max", 2, 1)), UNEVEN),
    **{
        kind: (behind_a_conv(Resize(kind)), UNEVEN)
        for kind in ("upsample", "shuffle", "reflect", "circular", "replicate")
    },
    **{f"{name}, dense": (behind_a_dense(Act(name)), (3,)) for name in ("leaky", "abs")},
    **{f"{name}, conv": (behind_a_conv(Act(name)), UNEVEN) for name in ("leaky", "abs")},
    "PReLU, dense": (behind_a_dense(PReLU(0)), (3,)),
    "PReLU, conv": (behind_a_conv(PReLU(0)), UNEVEN),
    "scale and shift, dense": (behind_a_dense(Norm("batch", ())), (3,)),
    "scale and shift, conv": (behind_a_conv(Norm("batch", ())), UNEVEN),
    "nested sum in cat": (
        behind_a_dense(Branches("cat", ((Dense(0, 4), Branches("sum", ((Dense(0, 4),), ()))), (), (Dense(0, 1),)))),
        (3,),
    ),
    "nested cat in sum": (
        behind_a_dense(Branches("sum", ((Branches("cat", ((Dense(0, 2),), ())), Dense(0, 4)), (), (Act("leaky"),)))),
        (3,),
    ),
    "branches of unlike denominators": (
        behind_a_conv(Branches("sum", ((Pool("avg", 2, 2),), (Conv(0, 4, 2, 2),), (Pool("max", 2, 2),)))),
        (2, 3, 3),
    ),
    "channels of unlike denominators": (
        behind_a_conv(Branches("cat", ((Pool("avg", 2, 2), Resize("upsample")), ())), Conv(0, 2, 2, 1, 0, 2)),
        (2, 3, 3),
    ),
}


@pytest.mark.parametrize("name", STACKS)
def test_every_layer_is_the_same_to_all_oracles_and_to_torch(name):
    """The numbers are whole, or quarters of quarters: nothing rounds."""
    for seed in range(3):
        spec = integer_spec(*STACKS[name], seed)
        whole, found = path_sums(spec)
        ours = scores_of(spec, synflow)
        assert whole == objective(spec) == value_of(spec)
        assert same(ours, by_place(found, ours))
        assert same(by_autograd(spec), saliencies(spec))
        for weight, places in found.items():
            for place in list(places)[:: len(places) // 2 + 1]:
                lost = leave_one_out(spec, weight, place)
                assert lost <= places[place] if "max" in repr(spec.shape.layers) else lost == places[place]


GATES = ((Dense(0, 3, True), Act("leaky")), (), (Dense(0, 3),))
BEYOND = {
    "product of three": (behind_a_dense(Branches("product", GATES)), (3,)),
    "product of tokens": (behind_a_dense(Branches("product", GATES), TokenMean()), (2, 3)),
    "product of channels": (behind_a_conv(Branches("product", ((Conv(0, 4, 1),), ()))), UNEVEN),
    **{name: (behind_a_dense(Act(name)), (3,)) for name in ("square", "relu2", "relu3", "threshold")},
    "tied": ((Dense(0, 3), Act("relu"), Dense(0, 3), Act("relu"), Dense(0, 3, True, "2")), (2,)),
    "tied in a branch": (
        (Dense(0, 3), Branches("sum", ((Dense(0, 3), Act("relu"), Dense(0, 3, True, "0")), ())), Dense(0, 2)),
        (3,),
    ),
}


@pytest.mark.parametrize("name", BEYOND)
def test_what_is_no_sum_over_paths_is_the_same_to_the_other_two_and_to_torch(name):
    for seed in range(4):
        spec = integer_spec(*BEYOND[name], seed)
        assert objective(spec) == value_of(spec)
        assert same(by_autograd(spec), saliencies(spec))
        with pytest.raises(ValueError, match=r"no sum over paths through (Dense|Act|Branches)"):
            path_sums(spec)


def test_a_minimum_has_a_value_and_no_slope():
    for seed in range(4):
        spec = integer_spec(behind_a_dense(Branches("min", ((Dense(0, 3),), (Dense(0, 3),), ()))), (3,), seed)
        assert objective(spec) == value_of(spec)
        with pytest.raises(ValueError, match="min"):
            saliencies(spec)


def test_a_table_has_slopes_and_no_objective():
    for seed in range(4):
        spec = integer_spec((Embedding(3, 2), Dense(0, 3), Act("relu"), TokenMean(), Dense(0, 2)), (4,), seed)
        assert same(by_autograd(spec), saliencies(spec))
        for refuses in (path_sums, objective):
            with pytest.raises(ValueError, match="Embedding"):
                refuses(spec)


# kinks


@pytest.mark.parametrize("kink", [Act("relu"), Act("leaky"), Act("abs"), PReLU(2)], ids=str)
def test_at_a_kink_all_take_torchs_slope(kink):
    """One unit at 0 and one that is open; the slope by the input of the first shows in the weight before it."""
    values = {"0.weight": [[1.0], [2.0]], "1.weight": [[2.0, -1.0], [3.0, 1.0]], "3.weight": [[5.0, 7.0]]}
    slopes = {"2.weight": [-0.5, 0.25]} if isinstance(kink, PReLU) else {}
    spec = literal((Dense(1, 2), Dense(2, 2), kink, Dense(2, 1)), values | slopes, [[1.0]], [[0.0]])
    assert same(by_autograd(spec), saliencies(spec))


def test_relu_at_zero_passes_no_slope():
    spec = literal(
        (Dense(1, 1), Act("relu"), Dense(1, 1)), {"0.weight": [[0.0]], "2.weight": [[2.0]]}, [[1.0]], [[3.0]]
    )
    assert all((s == 0).all() for s in saliencies(spec).values())


def test_a_max_pool_with_a_tie_passes_its_slope_to_the_first_place():
    tied = replace(max_net, values={**max_net.values, "0.weight": [[[[4.0, 4.0], [4.0, 4.0]]]]})
    _, found = path_sums(tied)
    # four windows, each with its own tap of the kernel inside: the first is the bottom right tap
    assert found["0.weight"] == {(0, 0, 0, 0): 0, (0, 0, 0, 1): 0, (0, 0, 1, 0): 0, (0, 0, 1, 1): 4}
    ours = scores_of(tied, synflow)
    assert (ours["0.weight"] == by_place(found, ours)["0.weight"]).all()


# literal values


def test_a_bias_takes_its_part_of_what_leaves():
    """y = 5 relu(2 x + 3) at 1: 10 of the 25 come from the input, 15 from the bias."""
    layers = (Dense(1, 1, True), Act("relu"), Dense(1, 1))
    found = saliencies(literal(layers, {"0.weight": [[2]], "0.bias": [3], "2.weight": [[5]]}, [[1]], [[24]]))
    assert {n: s.item() for n, s in found.items()} == {"0.weight": 10, "0.bias": 15, "2.weight": 25}


def test_absolute_saliency_is_not_conserved():
    """Widths 1-1-2, fractions that no float holds: 276/25 enter the unit, 12 leave it; with signs both are 276/25."""
    layers = (Dense(1, 1), Act("relu"), Dense(1, 2))
    values = {"0.weight": [[Fraction(-6, 5)]], "2.weight": [[Fraction(-8, 5)], [Fraction(-1, 5)]]}
    outputs, slopes = (Fraction(-64, 25), Fraction(-8, 25)), (Fraction(-9, 2), Fraction(3, 2))
    targets = [[0, 0], [y - d for y, d in zip(outputs, slopes, strict=True)]]
    found = saliencies(literal(layers, values, [[1], [Fraction(-4, 3)]], targets))
    assert abs(found["0.weight"]).sum() == Fraction(276, 25)
    assert abs(found["2.weight"]).sum() == 12
    assert found["0.weight"].sum() == found["2.weight"].sum() == Fraction(276, 25)


def test_an_identity_around_a_weight_carries_what_the_weights_do_not():
    """y = w2 h + h: 3 enter the unit; 2 leave it by w2, and 1 by the identity."""
    spec = literal(
        (Dense(1, 1), Branches("sum", ((Dense(1, 1),), ()))),
        {"0.weight": [[1]], "1.0.0.weight": [[2]]},
        [[1]],
        [[2]],
    )
    assert path_sums(spec) == (3, {"0.weight": {(0, 0): 3}, "1.0.0.weight": {(0, 0): 2}})
    assert {n: s.item() for n, s in saliencies(spec).items()} == {"0.weight": 3, "1.0.0.weight": 2}
    assert (leave_one_out(spec, "0.weight", (0, 0)), leave_one_out(spec, "1.0.0.weight", (0, 0))) == (3, 2)


def test_a_shortcut_is_no_cut():
    """y = c2 c1 x + s x with s a tenth: the shortcut carries a tenth of 11/10, the two weights 1 each."""
    spec = literal(
        (Branches("sum", ((Dense(1, 1), Dense(1, 1)), (Dense(1, 1),))),),
        {"0.0.0.weight": [[1]], "0.0.1.weight": [[1]], "0.1.0.weight": [[Fraction(1, 10)]]},
        [[1]],
        [[0]],
    )
    whole, found = path_sums(spec)
    assert whole == objective(spec) == Fraction(11, 10)
    assert {n: s[0, 0] for n, s in found.items()} == {
        "0.0.0.weight": 1,
        "0.0.1.weight": 1,
        "0.1.0.weight": Fraction(1, 10),
    }
    assert leave_one_out(spec, "0.1.0.weight", (0, 0)) == Fraction(1, 10)


def test_weights_of_one_count_paths():
    ones = [[1, 1], [1, 1]]
    spec = literal((Dense(2, 2), Act("relu"), Dense(2, 2)), {"0.weight": ones, "2.weight": ones}, [[1, 1]], [[3, 3]])
    whole, found = path_sums(spec)
    assert whole == 8
    assert {score for places in found.values() for score in places.values()} == {2}
    assert all((s == 2).all() for s in saliencies(spec).values())


def test_a_weight_used_twice_scores_twice_the_objective():
    """y = W W x: S(W) = 2 R, and a weight that a path uses twice is worth less than its score."""
    weight = [[1, 2], [3, 1]]  # W W (1, 1) = (11, 13)
    layers = (Dense(2, 2), Act("relu"), Dense(2, 2, tied="0"))
    spec = literal(layers, {"0.weight": weight}, [[1, 1]], [[10, 12]])
    assert objective(spec) == 24
    assert saliencies(spec)["0.weight"].sum() == 48
    # of the paths that use the upper left 1, one does twice; the 3 is on none twice
    assert (leave_one_out(spec, "0.weight", (0, 0)), saliencies(spec)["0.weight"][0, 0]) == (6, 7)
    assert (leave_one_out(spec, "0.weight", (1, 0)), saliencies(spec)["0.weight"][1, 0]) == (18, 18)


def test_a_square_doubles_what_enters_it():
    """relu^2 between weights of 1, three of them first: 4/3, 2 and 1 times R = 81; without one of three, R is 16."""
    layers = (Dense(3, 1), Act("relu2"), Dense(1, 1), Act("relu2"), Dense(1, 1))
    values = {"0.weight": [[1, 1, 1]], "2.weight": [[1]], "4.weight": [[1]]}
    spec = literal(layers, values, [[1, 1, 1]], [[80]])
    assert {n: s.flatten().tolist() for n, s in saliencies(spec).items()} == {
        "0.weight": [108, 108, 108],
        "2.weight": [162],
        "4.weight": [81],
    }
    assert leave_one_out(spec, "0.weight", (0, 1)) == 81 - 16


def test_where_paths_meet_in_a_maximum_or_minimum_a_score_is_no_loss():
    _, found = path_sums(max_net)
    assert (found["0.weight"][0, 0, 1, 1], leave_one_out(max_net, "0.weight", (0, 0, 1, 1))) == (4, 1)
    scores = scores_of(min_net, synflow)
    assert (scores["0.1.0.weight"].item(), leave_one_out(min_net, "0.1.0.weight", (0, 0))) == (0, 1)


# each catches a wrong score, refuses what it does not know, and stands alone


def contradicted_by_paths(spec: NetSpec, scores) -> set:
    _, found = path_sums(spec)
    return {(n, p) for n, places in found.items() for p, score in places.items() if scores[n][p] != score}


def contradicted_by_losses(spec: NetSpec, scores) -> set:
    return {(n, p) for n, s in scores.items() for p in np.ndindex(s.shape) if s[p] != leave_one_out(spec, n, p)}


def contradicted_by_slopes(spec: NetSpec, scores) -> set:
    expected = saliencies(spec)
    return {(n, p) for n, s in scores.items() for p in np.ndindex(s.shape) if s[p] != expected[n][p]}


@pytest.mark.parametrize(
    ("contradicted", "pruner", "family"),
    [
        (contradicted_by_paths, synflow, residual_integer),
        (contradicted_by_losses, synflow, residual_integer),
        (contradicted_by_slopes, the_loss, gated_integer),
    ],
)
def test_one_wrong_score_is_caught_and_no_other(contradicted, pruner, family):
    for spec in specs(family, 6, most=150):
        scores = scores_of(spec, pruner)
        assert not contradicted(spec, scores), str(spec)
        for name, score in scores.items():
            place = tuple(n - 1 for n in score.shape)
            wrong = {**scores, name: score.copy()}
            wrong[name][place] += Fraction(1, 2**40)
            assert contradicted(spec, wrong) == {(name, place)}


@pytest.mark.parametrize(
    "layer", [Act("gelu"), Norm("layer", (4,)), Norm("rms", (4,)), Norm("batch-train", (4,))], ids=str
)
def test_oracles_name_the_layer_that_they_do_not_know(layer):
    spec = integer_spec(behind_a_dense(Branches("sum", ((layer,), ()))), (3,), 0)
    for refuses in (path_sums, objective, saliencies):
        with pytest.raises(ValueError, match=layer.name if isinstance(layer, Act) else layer.kind):
            refuses(spec)


def test_oracles_refuse_another_activation_or_loss():
    for refuses in (path_sums, objective, saliencies):
        with pytest.raises(ValueError, match="tanh"):
            refuses(tanh_net)
    with pytest.raises(ValueError, match="cross-entropy"):
        saliencies(replace(tanh_net, loss="cross-entropy"))


ORACLES = ({"paths", "wires"}, {"exact", "slopes"}, {"loss", "planes"}, {"maxflow"}, {"certificate"})


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def test_oracles_share_no_code_with_torch_nor_with_each_other():
    """They know the layers as data: of what is ours they read nothing but how a network is written down."""
    files = {p.stem: p for p in Path(theory.oracles.__path__[0]).glob("*.py") if p.stem != "__init__"}
    assert set(files) == set().union(*ORACLES)
    written_down = {"theory.networks.layers", "theory.networks.spec"}
    for oracle in ORACLES:
        allowed = written_down | {f"theory.oracles.{name}" for name in oracle}
        for name in oracle:
            found = set(imports_of(files[name]))
            assert not {n for n in found if n.startswith(("torch", "pruning", "sympy"))}
            assert {n for n in found if n.startswith("theory")} <= allowed
            uses = {
                node.attr for node in ast.walk(ast.parse(files[name].read_text())) if isinstance(node, ast.Attribute)
            }
            assert not uses & {"fitted", "emit", "module"}, "what a layer says of itself is what is checked"
