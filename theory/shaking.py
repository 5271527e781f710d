"""Networks whose rounding is made larger, to see how far it is amplified."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pruning.graph import Graph, Node
from theory.numerics import ORDER_BITS, unit_roundoff

Shake = Callable[[Tensor], Tensor]


def shaken(graph: Graph, seed: int) -> Graph:
    """The same network with each value, and apart from it each cotangent, moved by a random share of 2^ORDER_BITS u.

    Rounding itself may by luck do nothing, as where equal rows are computed alike, and a coarser precision
    may be past where its effect grows in proportion. Softmax is taken apart: inside it cotangents cancel.
    What rounds inside fused attention and inside norms is seen only as far as it shows in what they give.
    """
    source = np.random.default_rng(seed)  # numpy's, since vmap refuses torch's

    def shares(value: Tensor) -> Tensor:
        most = 2**ORDER_BITS * unit_roundoff(value.dtype)
        return torch.from_numpy(source.uniform(0, most, tuple(value.shape))).to(value)

    def shake(value: Tensor) -> Tensor:
        if not value.is_floating_point():
            return value
        return value * (1 - shares(value)) + (value * shares(value)).detach()

    return replace(graph, nodes=tuple(_shaken_node(node, shake) for node in graph.nodes))


def _shaken_node(node: Node, shake: Shake) -> Node:
    def whole(*args: Any, **kwargs: Any) -> Any:
        made = node.op(*args, **kwargs)
        return shake(made) if isinstance(made, Tensor) else made

    def apart(x: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
        shares = shake((x - x.detach().amax(dim, keepdim=True)).exp())
        return shake(shares / shake(shares.sum(dim, keepdim=True))).to(dtype or x.dtype)

    rough = apart if node.kind == "softmax" else whole
    rough.__name__ = node.kind
    return replace(node, op=rough)
