"""Many problems at once: convolutions in the form in which torch stacks them well."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from pruning.graph import Graph

aten = torch.ops.aten


def together(graph: Graph) -> Graph:
    """The same network for vmap, which makes a group of each problem's convolution; torch does groups one by one."""
    nodes = (replace(n, op=_PRODUCTS[n.op]) if n.op in _PRODUCTS else n for n in graph.nodes)
    return replace(graph, nodes=tuple(nodes))


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> Tensor:
    """A convolution as a product of matrices: the weights by what they see at each place."""
    outputs, _, *kernel = weight.shape
    sizes = zip(x.shape[2:], kernel, stride, padding, dilation, strict=True)
    places = [(size + 2 * pad - gap * (width - 1) - 1) // step + 1 for size, width, step, pad, gap in sizes]
    seen = functional.unfold(x, tuple(kernel), tuple(dilation), tuple(padding), tuple(stride))
    made = weight.reshape(groups, outputs // groups, -1) @ seen.reshape(len(x), groups, -1, seen.shape[2])
    return _shifted(made.reshape(len(x), outputs, *places), bias)


def conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    output_padding: Sequence[int] = (0, 0),
    groups: int = 1,
    dilation: Sequence[int] = (1, 1),
) -> Tensor:
    """A transposed convolution as a product of matrices: what each place sends, summed where it arrives."""
    inputs, outputs, *kernel = weight.shape
    sizes = zip(x.shape[2:], kernel, stride, padding, output_padding, dilation, strict=True)
    places = [(n - 1) * step - 2 * pad + gap * (width - 1) + more + 1 for n, width, step, pad, more, gap in sizes]
    rows = weight.reshape(groups, inputs // groups, -1)
    sent = (rows.mT @ x.reshape(len(x), groups, inputs // groups, -1)).reshape(
        len(x), groups * outputs * kernel[0] * kernel[1], -1
    )
    made = functional.fold(sent, tuple(places), tuple(kernel), tuple(dilation), tuple(padding), tuple(stride))
    return _shifted(made, bias)


def _shifted(made: Tensor, bias: Tensor | None) -> Tensor:
    return made if bias is None else made + bias[:, None, None]


_PRODUCTS: Mapping[object, Callable[..., Tensor]] = {
    aten.conv2d.default: conv2d,
    aten.conv_transpose2d.input: conv_transpose2d,
}
