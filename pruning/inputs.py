"""Inputs: each weight as a matrix, output by output, and what the batch feeds into its columns."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pruning.graph import Edge, Value
from pruning.masks import Tensors, group_top_k
from pruning.network import Network
from pruning.problem import Probe
from pruning.pruner import Choose, Score, State


@dataclass(frozen=True, eq=False)
class Layer:
    """A weight, in matrices, and its inputs: (groups, samples, columns).

    A column is an input channel or feature at one position of the kernel, and a sample is a sample, a token or a place
    that the kernel comes to: what a row of the matrix is multiplied by to give one number of the output.
    """

    edge: Edge
    inputs: Tensor

    def matrix(self, weight: Tensor) -> Tensor:
        """One number per weight as (groups, outputs of the group, columns)."""
        return self.edge.laid_out(weight).flatten(-2)

    def entries(self, matrix: Tensor) -> Tensor:
        """The other way round; one row stands for equal rows."""
        return self.edge.spread(matrix.reshape(*matrix.shape[:-1], -1, math.prod(self.edge.shape[2:])))


def layers(network: Network, weights: Tensors, x: Tensor) -> dict[str, Layer]:
    """Every weight with what input `x` feeds into it; of a weight that is used more than once, by all uses."""
    values: dict[str, Tensor] = {}

    def keep(name: str, value: Tensor) -> Tensor:
        values[name] = value
        return value

    replace(network, tap=keep).forward(weights, x)
    seen = {name: [_columns(edge, values) for edge in edges] for name, edges in _uses(network).items()}
    return {name: Layer(edges[0], torch.cat(seen[name], 1)) for name, edges in _uses(network).items()}


def per_output(score: Score) -> Choose:
    """Keep the highest scores of each output row: the same share of every row, and the asked-for count in all."""

    def choose(network: Network, state: State, keep: int, probe: Probe) -> Tensors:
        rows = {}
        for name, (edge, *_) in _uses(network).items():
            number = torch.arange(len(edge.heads), device=state.masks[name].device)
            rows[name] = edge.spread(number.reshape(edge.groups, -1, 1, 1))
        return group_top_k(score(network, state, probe), state.masks, keep, rows)

    return choose


def _uses(network: Network) -> dict[str, list[Edge]]:
    """Where each weight is read, in the layout of its first use."""
    found: dict[str, list[Edge]] = {name: [] for name in network.weights}
    for edge in network.graph.edges:
        uses = found[edge.weight]
        if not uses or (edge.transposed, edge.groups) == (uses[0].transposed, uses[0].groups):
            uses.append(edge)
    return found


def _columns(edge: Edge, values: Tensors) -> Tensor:
    node = edge.node
    source = node.args[1 if node.kind == "addmm" else 0]
    assert isinstance(source, Value)
    x = values[source.name]
    if "conv" not in node.kind:
        return x.reshape(1, -1, x.shape[-1])
    # the convolution itself, with kernels that pick one position each out of one channel each
    kernel, channels = edge.shape[2:], x.shape[1]
    size = math.prod(kernel)
    picks = torch.eye(size, dtype=x.dtype, device=x.device)
    picks = picks.reshape(*((1, size) if edge.transposed else (size, 1)), *kernel)
    options = {**dict(node.kwargs), **({"dilation": node.args[7]} if len(node.args) > 7 else {}), "groups": channels}
    picked = node.op(x, picks.repeat(channels, *(1 for _ in edge.shape[1:])), None, *node.args[3:6], **options)
    return picked.movedim(1, -1).reshape(-1, edge.groups, channels // edge.groups * size).movedim(1, 0)
