"""Convolutions as products of matrices: torch's own numbers, kinds and derivatives, for one problem and for many."""

import pytest
import torch
from torch import Tensor

from theory.networks import built_in
from theory.networks.family import examples
from theory.networks.shape import graph_of
from theory.networks.together import conv2d, conv_transpose2d, together

aten = torch.ops.aten
OPTIONS = {
    "plain": ([1, 1], [0, 0], [1, 1], 1),
    "stride and padding": ([2, 1], [1, 2], [1, 1], 1),
    "dilation": ([1, 1], [1, 0], [1, 2], 1),
    "groups": ([2, 2], [1, 1], [1, 1], 2),
}


def integers(*size: int, seed: int = 0) -> Tensor:
    return torch.randint(-3, 4, size, generator=torch.Generator().manual_seed(seed)).double()


def derivatives(op, x: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, ...]:
    """The value, its slopes, and how the slopes change along a direction."""

    def cubed(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return (op(x, w, b) ** 3).sum()

    slopes = torch.func.grad(cubed, argnums=(0, 1, 2))
    _, back, *_ = torch.func.vjp(lambda w: slopes(x, w, b), w)
    return op(x, w, b), *slopes(x, w, b), *back(tuple(torch.ones_like(t) for t in (x, w, b)))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("stride", "padding", "dilation", "groups"), OPTIONS.values(), ids=OPTIONS)
def test_a_convolution_is_torchs_to_the_bit_on_integers(stride, padding, dilation, groups, bias):
    def ours(x, w, b):
        return conv2d(x, w, b if bias else None, stride, padding, dilation, groups)

    def theirs(x, w, b):
        return aten.conv2d.default(x, w, b if bias else None, stride, padding, dilation, groups)

    check(ours, theirs, (6, 4 // groups, 3, 2))


@pytest.mark.parametrize("more", [[0, 0], [1, 0]])
@pytest.mark.parametrize(("stride", "padding", "dilation", "groups"), OPTIONS.values(), ids=OPTIONS)
def test_a_transposed_convolution_is_torchs_to_the_bit_on_integers(stride, padding, dilation, groups, more):
    more = [min(m, s - 1) for m, s in zip(more, stride, strict=True)]  # torch admits less than a stride

    def ours(x, w, b):
        return conv_transpose2d(x, w, b, stride, padding, more, groups, dilation)

    def theirs(x, w, b):
        return aten.conv_transpose2d.input(x, w, b, stride, padding, more, groups, dilation)

    check(ours, theirs, (4, 6 // groups, 3, 2))


def check(ours, theirs, kernel: tuple[int, ...]) -> None:
    problems = [(integers(2, 4, 5, 6, seed=i), integers(*kernel, seed=i + 9), integers(6, seed=i)) for i in range(3)]
    alone = [derivatives(theirs, *problem) for problem in problems]
    for problem, wanted in zip(problems, alone, strict=True):
        assert all(map(torch.equal, derivatives(ours, *problem), wanted))
    stacked = [torch.stack(t) for t in zip(*problems, strict=True)]
    many = torch.vmap(lambda *problem: derivatives(ours, *problem))(*stacked)
    assert all(torch.equal(a, torch.stack(b)) for a, b in zip(many, zip(*alone, strict=True), strict=True))


def test_the_network_stays_what_it_is():
    kinds = set()
    for shape, _ in examples(built_in()["conv, integer"], 12, 0):
        graph = graph_of(shape)
        assert [n.kind for n in together(graph).nodes] == [n.kind for n in graph.nodes]
        assert not any(n.op in (aten.conv2d.default, aten.conv_transpose2d.input) for n in together(graph).nodes)
        kinds |= {n.kind for n in graph.nodes}
    assert {"conv2d", "conv_transpose2d"} <= kinds
