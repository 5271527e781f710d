"""The oracles agree with the pruners, and with each other, to the bit where nothing rounds."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from pruning.pruner import saliency
from pruning.pruners.snip import loss, snip
from pruning.pruners.synflow import synflow
from theory.case import Case
from theory.flow import path_roundings
from theory.networks.conv import conv_integer, conv_real, conv_shapes
from theory.networks.dense import dense_integer, dense_real
from theory.networks.family import Family, examples
from theory.networks.outside import max_net, tanh_net
from theory.networks.shape import parameter_count
from theory.networks.spec import NetSpec
from theory.numerics import gamma
from theory.oracles.exact import fractions, saliencies
from theory.oracles.loss import leave_one_out, objective
from theory.oracles.paths import path_sums

signed = replace(snip, name="signed saliency", score=saliency(loss))
WORK = 400  # fractions are slow: networks with few weights, or few products where they convolve


def specs(family: Family, count: int) -> list[NetSpec]:
    """One literal problem for each of the family's first small shapes, with the loss that the oracles know."""
    found = []
    for shape, seed in examples(family, 4 * count, 11):
        if parameter_count(shape) <= WORK:
            squared = replace(family, loss="squared-error")
            found.append(NetSpec.of(squared.batch(shape, seed, 1), 0))
    assert len(found) >= count
    return found[:count]


def scores_of(spec: NetSpec, pruner) -> dict[str, np.ndarray]:
    return {n: fractions(s[0].numpy()) for n, s in Case(spec.batch(), pruner).scores.items()}


def by_place(found, shapes) -> dict[str, np.ndarray]:
    """The path oracle's scores as arrays."""
    arrays = {n: np.full(shapes[n].shape, Fraction(), dtype=object) for n in found}
    for name, places in found.items():
        for place, score in places.items():
            arrays[name][place] = score
    return arrays


def roundings(spec: NetSpec) -> int:
    """K of the whole network, all samples counted."""
    batch, shapes = spec.batch(), {}
    params = {n: t[0] for n, t in {**batch.fixed, **batch.weights}.items()}
    batch.network.graph.run(params, batch.inputs[0], lambda n, v: shapes.setdefault(n, v))
    return path_roundings(batch.network.graph, shapes)


@pytest.mark.parametrize("family", [dense_integer, conv_integer], ids=lambda f: f.name)
def test_synflow_is_the_path_sum_to_the_bit_on_integers(family):
    for spec in specs(family, 20):
        _, found = path_sums(spec)
        ours = scores_of(spec, synflow)
        expected = by_place(found, ours)
        assert all((ours[n] == expected[n]).all() for n in ours), str(spec)


@pytest.mark.parametrize("family", [dense_real, conv_real], ids=lambda f: f.name)
def test_synflow_is_the_path_sum_within_gamma_k_on_reals(family):
    rounded = 0
    for spec in specs(family, 10):
        _, found = path_sums(spec)
        ours = scores_of(spec, synflow)
        expected, allowed = by_place(found, ours), Fraction(gamma(roundings(spec), torch.float64))
        assert all((abs(ours[n] - expected[n]) <= allowed * expected[n]).all() for n in ours), str(spec)
        rounded += sum((ours[n] != expected[n]).sum() for n in ours)
    assert rounded, "numbers that round nowhere test nothing"


@pytest.mark.parametrize("family", [dense_integer, conv_integer], ids=lambda f: f.name)
def test_saliency_of_the_loss_is_exact_on_integers(family):
    for spec in specs(family, 20):
        expected = saliencies(spec)
        for pruner, change in ((signed, np.positive), (snip, np.abs)):
            ours = scores_of(spec, pruner)
            assert all((ours[n] == change(expected[n])).all() for n in ours), str(spec)


@pytest.mark.parametrize("family", [dense_integer, conv_integer], ids=lambda f: f.name)
def test_bias_flows_are_exact_on_integers(family):
    with_bias = [s for s in specs(family, 20) if any(n.endswith("bias") for n in s.values)]
    assert with_bias
    for spec in with_bias:
        expected, flows = saliencies(spec), Case(spec.batch(), signed).bias_flows
        assert all((fractions(f[0].numpy()) == expected[n]).all() for n, f in flows.items())


without_max = replace(conv_real, name="conv without max-pools, real", shapes=conv_shapes(("avg",)))


@pytest.mark.parametrize("family", [dense_real, without_max], ids=lambda f: f.name)
def test_saliency_of_the_loss_rounds_by_no_more_than_its_absolute_terms_allow(family):
    """With every number made positive (the target negative) nothing cancels: gamma of that bounds the error.

    Not under a max-pool, which of other numbers picks other places.
    """
    for spec in specs(family, 10):
        expected, ours = saliencies(spec), scores_of(spec, signed)
        largest = saliencies(absolute(spec))
        allowed = Fraction(gamma(2 * roundings(spec) + 2, torch.float64))
        assert all((abs(ours[n] - expected[n]) <= allowed * largest[n]).all() for n in ours), str(spec)


def absolute(spec: NetSpec) -> NetSpec:
    def positive(numbers):
        return np.abs(np.array(numbers)).tolist()

    values = {n: positive(v) for n, v in spec.values.items()}
    targets = (-np.abs(np.array(spec.targets))).tolist()
    return replace(spec, values=values, inputs=positive(spec.inputs), targets=targets)


@pytest.mark.parametrize("family", [dense_integer, dense_real, conv_integer, conv_real], ids=lambda f: f.name)
def test_path_sums_and_leave_one_out_agree(family):
    """Two oracles without common code: R is the same, and each loss is the score, or no more under a max-pool."""
    for spec in specs(family, 8):
        whole, found = path_sums(spec)
        assert whole == objective(spec)
        has_max = any(getattr(layer, "kind", "") == "max" for layer in spec.shape.layers)
        for name, places in found.items():
            for place in list(places)[:: max(1, len(places) // 6)]:
                lost, score = leave_one_out(spec, name, place), places[place]
                assert lost <= score if has_max else lost == score


def test_path_sums_and_exact_saliency_agree():
    """On positive weights, inputs of ones and targets y - 1 the loss has slope 1: its saliency is SynFlow's."""
    for spec in specs(dense_integer, 8):
        positive = absolute(replace(spec, values={n: v for n, v in spec.values.items() if n.endswith("weight")}))
        layers = tuple(replace(la, bias=False) if hasattr(la, "bias") else la for la in spec.shape.layers)
        positive = replace(positive, shape=replace(spec.shape, layers=layers, samples=1))
        ones = [[1.0] * spec.shape.input[0]]
        outputs = Case(positive.batch(), synflow).batch.problem(0).network
        y = outputs.forward(outputs.weights, torch.tensor(ones, dtype=torch.float64))
        positive = replace(positive, inputs=ones, targets=(y - 1).tolist())
        _, found = path_sums(positive)
        expected = saliencies(positive)
        assert all((by_place(found, expected)[n] == expected[n]).all() for n in found)


def test_relu_at_zero_passes_no_slope():
    spec = replace(tanh_net, shape=replace(tanh_net.shape, layers=specs_at_kink()), values=KINK, targets=[[3.0]])
    assert all((s == 0).all() for s in saliencies(spec).values())


KINK = {"0.weight": [[0.0]], "2.weight": [[2.0]]}


def specs_at_kink():
    dense = tanh_net.shape.layers
    return (dense[0], replace(dense[1], name="relu"), dense[2])


def test_a_max_pool_with_a_tie_passes_its_slope_to_the_first_place():
    tied = replace(max_net, values={**max_net.values, "0.weight": [[[[4.0, 4.0], [4.0, 4.0]]]]})
    _, found = path_sums(tied)
    # four windows, each with its own tap of the kernel inside: the first is the bottom right tap
    assert found["0.weight"] == {(0, 0, 0, 0): 0, (0, 0, 0, 1): 0, (0, 0, 1, 0): 0, (0, 0, 1, 1): 4}
    ours = scores_of(tied, synflow)
    assert (ours["0.weight"] == by_place(found, ours)["0.weight"]).all()


def test_oracles_refuse_what_they_do_not_know():
    with pytest.raises(ValueError, match="tanh"):
        path_sums(tanh_net)
    with pytest.raises(ValueError, match="tanh"):
        objective(tanh_net)
    with pytest.raises(ValueError, match="tanh"):
        saliencies(tanh_net)
    with pytest.raises(ValueError, match="cross-entropy"):
        saliencies(replace(tanh_net, loss="cross-entropy"))
