"""What the families draw: the same for the same seed, wide and deep enough, and only the numbers they promise."""

import subprocess
import sys

import pytest
import torch

from theory.networks import built_in
from theory.networks.dense import MAX_DEPTH, MAX_WIDTH
from theory.networks.family import examples
from theory.networks.layers import Attention, Branches, Conv, Dense, Pool
from theory.networks.shape import graph_of, module_of

FAMILIES = built_in()
DRAWN = 150


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda f: f.name)
def test_one_seed_means_one_set_of_problems(family):
    first = examples.__wrapped__(family, 12, 3)
    assert first == examples.__wrapped__(family, 12, 3) != examples.__wrapped__(family, 12, 4)
    shape, seed = first[0]
    one, two, other = (family.batch(shape, s, 5).stacked() for s in (seed, seed, seed + 1))
    assert one.keys() == two.keys() and all(torch.equal(one[n], two[n]) for n in one)
    assert any(not torch.equal(one[n], other[n]) for n in one)


DRAWN_BY = """
import {modules}
from theory.networks import built_in
from theory.networks.family import examples
print([examples(family, 12, 3) for family in built_in().values()])
"""


def test_one_seed_means_one_set_of_shapes_whatever_else_is_loaded():
    """Hypothesis draws constants that it finds in loaded modules, unless it is told not to."""
    programs = [DRAWN_BY.format(modules=m) for m in ("sys", "theory.laws.attention, reports.cli, theory.proofs.norms")]
    drawn = {subprocess.run([sys.executable, "-c", p], check=True, capture_output=True).stdout for p in programs}
    assert len(drawn) == 1


@pytest.mark.parametrize("name", ["dense, integer", "dense, real", "hostile (tanh, GELU)"])
def test_dense_families_reach_width_16_and_depth_6(name):
    shapes = [shape for shape, _ in examples(FAMILIES[name], DRAWN, 0)]
    depths = [sum(isinstance(la, Dense) for la in s.layers) for s in shapes]
    widths = [la.outputs for s in shapes for la in s.layers if isinstance(la, Dense)]
    assert (min(depths), max(depths)) == (2, MAX_DEPTH) == (2, 6)
    assert (min(widths), max(widths)) == (1, MAX_WIDTH) == (1, 16)
    assert {any(n.endswith("bias") for n in s.parameters()) for s in shapes} == {True, False}


@pytest.mark.parametrize("name", ["conv, integer", "conv, real"])
def test_conv_families_reach_strides_padding_groups_and_pools(name):
    layers = [la for shape, _ in examples(FAMILIES[name], DRAWN, 0) for la in shape.layers]
    convs = [la for la in layers if isinstance(la, Conv)]
    assert {la.stride for la in convs} == {1, 2} and {la.groups for la in convs} == {1, 2}
    assert {la.padding for la in convs} == {0, 1} and {la.kernel for la in convs} == {1, 2, 3}
    kinds = {la.kind for la in layers if isinstance(la, Pool)}
    assert kinds == ({"max", "avg"} if name == "conv, real" else {"max"}), "an average of integers is none"


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda f: f.name)
def test_numbers_are_what_the_family_promises(family):
    allowed = torch.tensor([1, -1] if family.name == "kinked" else [1, 2, -1, -2, 3, -3, 0], dtype=torch.float64)
    seen = []
    for shape, seed in examples(family, 20, 5):
        batch = family.batch(shape, seed, 4)
        numbers = torch.cat([t.flatten() for t in (*batch.weights.values(), *batch.fixed.values())])
        seen.append(numbers)
        assert numbers.dtype == torch.float64 and torch.equal(numbers.float().double(), numbers)
        assert torch.equal(batch.inputs.float().double(), batch.inputs)
        if not family.generic:
            assert bool(torch.isin(numbers, allowed).all()) and torch.equal(batch.inputs.round(), batch.inputs)
    everything = torch.cat(seen).unique()
    assert len(everything) == len(allowed) if not family.generic else len(everything) > 1000


def weighted(layers) -> int:
    """Weights of linear and convolution operators, branches included."""
    inner = sum(weighted(branch) for la in layers if isinstance(la, Branches) for branch in la.branches)
    return inner + sum(isinstance(la, (Dense, Conv)) + 4 * isinstance(la, Attention) for la in layers)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda f: f.name)
def test_the_graph_of_a_shape_computes_what_its_module_does(family):
    for shape, seed in examples(family, 12, 2):
        batch = family.batch(shape, seed, 1)
        problem, module = batch.problem(0), module_of(shape).double()
        module.load_state_dict({**problem.network.weights, **problem.network.fixed}, strict=False)
        with torch.no_grad():
            expected = module(problem.batch[0])
        assert torch.equal(problem.network.forward(problem.network.weights, problem.batch[0]), expected)
        assert len(graph_of(shape).edges) == weighted(shape.layers)


def test_families_are_found_simplest_first():
    assert [f.order for f in FAMILIES.values()] == sorted(f.order for f in FAMILIES.values())
    assert next(iter(FAMILIES)) == "dense, integer"
