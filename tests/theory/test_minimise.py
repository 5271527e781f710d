"""Minimising: what comes out still breaks the law, is small, and is the same when read back from its text."""

import json
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from subjects import FAMILIES, chain

from pruning.pruners import built_in as pruners
from theory.case import Case
from theory.judge import judge
from theory.laws import catalogue
from theory.networks import built_in
from theory.networks.family import examples
from theory.networks.outside import max_net
from theory.networks.shape import Act, Conv, Dense, Flatten, Pool, Shape, parameter_count
from theory.networks.spec import NetSpec
from theory.witness.minimise import minimise

A1 = catalogue()["neuron_conservation"]
WIDE = chain(*[16] * 7, samples=4)
PRUNERS = pruners()


def broken(pruner, spec: NetSpec) -> bool:
    found = judge(A1, Case(spec.batch(), pruner))
    return bool(found and found.failures)


def units(shape: Shape) -> list[int]:
    return [int(n) for n in str(shape).split("-")]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("family", ["dense, integer", "dense, real"])
@pytest.mark.parametrize("name", ["magnitude", "snip", "grasp", "random"])
def test_a_failure_of_width_16_and_depth_6_becomes_three_by_three(name, family, seed):
    start = NetSpec.of(built_in()[family].batch(WIDE, seed, 1), 0)
    breaks = partial(broken, PRUNERS[name])
    assert breaks(start)
    small = minimise(start, breaks, whole_numbers=True)
    assert breaks(small)
    assert len(small.values) <= 3 and max(units(small.shape)) <= 3 and small.shape.samples == 1
    again = NetSpec.from_json(json.loads(json.dumps(small.to_json())))
    assert again == small and breaks(again)


@given(st.sampled_from(FAMILIES), st.data())
@settings(derandomize=True, deadline=None, max_examples=25, database=None)
def test_what_is_minimised_still_breaks_and_never_grows(family, data):
    shape, seed = data.draw(family.shapes), data.draw(st.integers(0, 2**31 - 1))
    start = NetSpec.of(family.batch(shape, seed, 1), 0)
    breaks = partial(broken, PRUNERS["magnitude"])
    if breaks(start):
        small = minimise(start, breaks, whole_numbers=not family.generic)
        assert breaks(small)
        assert parameter_count(small.shape) <= parameter_count(start.shape)
        assert small.shape.samples <= start.shape.samples and len(small.shape.layers) <= len(start.shape.layers)
        assert NetSpec.from_json(json.loads(json.dumps(small.to_json()))) == small


def test_no_more_problems_are_tried_than_were_asked_for():
    family = built_in()["conv, real"]
    shape, seed = next(iter(examples(family, 1, 0)))
    spec = NetSpec.of(family.batch(shape, seed, 1), 0)

    def tried(tries: int) -> int:
        seen = []
        minimise(spec, lambda s: not seen.append(s), whole_numbers=False, tries=tries)
        return len(seen)

    enough = tried(10_000)
    assert 3 < enough < 10_000
    assert [tried(n) for n in (0, 1, 3, enough, enough + 1)] == [0, 1, 3, enough, enough]


def test_what_breaks_only_as_it_is_stays_as_it_is():
    start = NetSpec.of(built_in()["conv, integer"].batch(*some_conv()), 0)
    assert minimise(start, lambda spec: spec == start, whole_numbers=True) == start


def test_a_tied_layer_as_wide_as_the_failure_needs_comes_to_an_end():
    """Its outputs can't be fewer than its inputs: to try was no step, and went on for ever."""
    layers = Dense(2, 2), Act("relu"), Dense(2, 2), Act("relu"), Dense(2, 2, tied="2"), Act("relu"), Dense(2, 1)
    numbers = {f"{i}.weight": [[1.0, 2.0], [3.0, 4.0]][: 1 if i == 6 else 2] for i in (0, 2, 6)}
    start = NetSpec(Shape(layers, (2,), 1), numbers, [[1.0, 2.0]], [[0.0]], "squared-error", 0)

    def breaks(spec: NetSpec) -> bool:
        return any(la.tied and la.inputs == 2 for la in spec.shape.layers if isinstance(la, Dense))

    small = minimise(start, breaks, whole_numbers=True)
    assert breaks(small) and small.shape.samples == 1


def test_plainer_numbers_may_let_units_go():
    start = NetSpec.of(built_in()["dense, integer"].batch(chain(2, 3, 2), 0, 1), 0)

    def breaks(spec: NetSpec) -> bool:
        plain = all(v == 1 for weight in spec.values.values() for row in weight for v in row)
        return spec.shape == start.shape or plain

    assert units(minimise(start, breaks, whole_numbers=True).shape) == [1, 1, 1]


def test_every_candidate_is_a_network_that_runs():
    """Also through strides, groups, padding and pools: a step never offers a shape that does not fit."""
    offered = 0

    def runs(spec: NetSpec) -> bool:
        nonlocal offered
        offered += 1
        problem = spec.batch().problem(0)
        out = problem.network.forward(problem.network.weights, problem.batch[0])
        assert out.dim() == 2 and problem.loss(out, problem.batch[1]).isfinite()
        return offered % 3 == 0

    for family in FAMILIES:
        shape, seed, size = some_conv() if "conv" in family.name else (WIDE, 3, 1)
        minimise(NetSpec.of(family.batch(shape, seed, size), 0), runs, whole_numbers=True)
    assert offered > 100


def some_conv() -> tuple[Shape, int, int]:
    layers = (Conv(2, 4, 3, 1, 1, 2, True), Act("relu"), Pool("max", 2), Conv(4, 6, 3, 2, 1), Act("relu"), Flatten())
    return Shape((*layers, Dense(24, 3, True)), (2, 8, 8), 2), 7, 1


def test_numbers_become_whole_or_short():
    start = NetSpec.of(built_in()["dense, real"].batch(chain(2, 2, 2), 0, 1), 0)
    whole = minimise(start, lambda s: s.shape == start.shape, whole_numbers=True)
    short = minimise(start, lambda s: s.shape == start.shape, whole_numbers=False)
    assert {v for t in whole.values.values() for row in t for v in row} == {1.0}
    before, after = (torch.tensor(s.values["0.weight"]) for s in (start, short))
    assert all(float(f"{v:.2g}") == v for row in short.values["0.weight"] for v in row) and not before.equal(after)


def test_a_literal_network_says_what_it_is():
    spec = NetSpec(chain(1, 1, 2), {"0.weight": [[1.0]], "2.weight": [[2.0], [-0.5]]}, None, None, "squared-error", 0)
    assert str(spec) == "Net(Dense([[1]]), Dense([[2], [-0.5]]))" and str(spec.shape) == "1-1-2"
    assert (
        str(max_net) == "Net(Conv([[[[1, 2], [3, 4]]]], stride=2, padding=1), Pool('max', 2), Flatten(), Dense([[1]]))"
    )
    with_bias = NetSpec(chain(1, 1, bias=True), {"0.weight": [[3.0]], "0.bias": [0.25]}, None, None, "squared-error", 0)
    assert str(with_bias) == "Net(Dense([[3]], bias=[0.25]))"


@pytest.mark.parametrize("family", built_in().values(), ids=lambda f: f.name)
def test_literal_networks_come_back_from_json_as_they_were(family):
    for shape, seed in examples(family, 15, 1):
        batch = family.batch(shape, seed, 2)
        spec = NetSpec.of(batch, 1)
        again = NetSpec.from_json(json.loads(json.dumps(spec.to_json())))
        assert again == spec
        for name, weight in again.batch().weights.items():
            assert torch.equal(weight[0], batch.weights[name][1])


def test_numbers_that_do_not_fit_their_shape_are_refused():
    spec = NetSpec(chain(1, 1, 2), {"0.weight": [[1.0]]}, None, None, "squared-error", 0)
    with pytest.raises(ValueError, match=r"2\.weight"):
        spec.batch()
