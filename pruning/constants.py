"""Constants: what a network computes without its input, computed once, while it is traced."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, fx

from pruning.errors import ModelError, retold
from pruning.sized import Rows

_SAMPLES = (2, 3)  # what follows the batch size is computed for two of them: its form is read off both
_RANDOM = torch.Tag.nondeterministic_seeded


class Constants:
    """Values of the nodes that need no input, kept for two batch sizes; operators in place write as they would.

    params: by node, the parameters that its value is made of.
    """

    def __init__(self, graph: fx.Graph, stored: Mapping[str, Tensor], parameters: Iterable[str]) -> None:
        """stored: the tensors by placeholder; parameters: which placeholders of these are parameters."""
        written = {_memory_of(n.args[0]) for n in graph.nodes if is_in_place(n)}
        self._kept: dict[fx.Node, tuple[Any, Any]] = {}
        self.params: dict[fx.Node, set[str]] = {}
        for node in graph.nodes:
            if node.op == "placeholder" and node.name in stored:
                tensor = stored[node.name].detach()
                self._kept[node] = (tensor.clone(), tensor.clone()) if node in written else (tensor, tensor)
                self.params[node] = {node.name} & set(parameters)
        self._as_made = {node: self.version(node) for node in self._kept}
        self._symbol: Any = None

    def follow(self, samples: object) -> None:
        """Say which symbol stands for the batch size; None or a plain number where there is none."""
        self._symbol = samples.node.expr if isinstance(samples, torch.SymInt) else None

    def __contains__(self, node: object) -> bool:
        return node in self._kept

    def forget(self, node: fx.Node) -> None:
        """From here on the node's memory holds something that depends on the input."""
        self._kept.pop(node, None)

    def take(self, node: fx.Node, where: str) -> bool:
        """Compute the node if it is constant; whether it is."""
        value = node.meta.get("val")
        if isinstance(value, torch.SymInt) and value.node.expr.free_symbols <= {self._symbol}:
            self._kept[node] = self._sizes(value, where)
        elif all(n in self._kept for n in node.all_input_nodes) and not _is_random(node):
            self._kept[node] = (self._computed(node, 0, where), self._computed(node, 1, where))
        elif isinstance(value, torch.SymInt):
            raise ModelError(f"{where}: a size depends on the data")
        else:
            return False
        self.params[node] = {name for n in node.all_input_nodes for name in self.params.get(n, ())}
        self._as_made[node] = self.version(node)
        return True

    def is_unwritten(self, node: fx.Node) -> bool:
        """Whether the node's memory is still as the node made it."""
        return self.version(node) == self._as_made[node]

    def number(self, node: fx.Node) -> object:
        """The node's number, or Rows where it follows the batch size; None for tensors and the like."""
        low, high = self._kept[node]
        if not isinstance(low, (int, float, bool)):
            return None
        return low if low == high else Rows(high - low, low - _SAMPLES[0] * (high - low))

    def tensor(self, node: fx.Node) -> tuple[Tensor, bool] | None:
        """A copy of the node's tensor, and whether it is one row to be repeated for every sample.

        None for what follows the batch size in another way.
        """
        low, high = self._kept[node]
        if not isinstance(low, Tensor):
            return None
        if low.shape == high.shape:
            return (low.clone(), False) if torch.equal(low, high) else None
        row = low[:1]
        repeats = (low.shape[0], high.shape[0]) == _SAMPLES and row.shape[1:] == high.shape[1:]
        if repeats and torch.equal(low, row.expand_as(low)) and torch.equal(high, row.expand_as(high)):
            return row.clone(), True
        return None

    def version(self, node: fx.Node) -> int:
        """A number that changes when the node's memory is written to."""
        value = self._kept[node][0]
        return value._version if isinstance(value, Tensor) else 0

    def _sizes(self, value: torch.SymInt, where: str) -> tuple[int, int]:
        expression = value.node.expr
        low, high, far = (int(expression.subs(self._symbol, n)) for n in (*_SAMPLES, 1009))
        if far != low + (high - low) * (1009 - _SAMPLES[0]):
            raise ModelError(f"{where}: the size {expression} does not grow evenly with the number of samples")
        return low, high

    def _computed(self, node: fx.Node, which: int, where: str) -> object:
        args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: self._kept[n][which])
        try:
            with torch.no_grad():
                return node.target(*args, **kwargs)  # type: ignore[operator]
        except Exception as error:
            raise ModelError(f"{where}: {node.target} can't be computed: {retold(error)}") from error


def is_in_place(node: fx.Node) -> bool:
    """Whether the node writes into its first argument."""
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable and bool(node.args)


def _is_random(node: fx.Node) -> bool:
    op = node.target
    resting = op is torch.ops.aten.dropout.default and node.args[2] is False
    return isinstance(op, torch._ops.OpOverload) and _RANDOM in op.tags and not resting


def _memory_of(node: object) -> object:
    """The node that first held the memory, followed back through views."""
    while isinstance(node, fx.Node) and node.op == "call_function" and node.args:
        op = node.target
        shares = op is operator.getitem or (
            isinstance(op, torch._ops.OpOverload) and any(r.alias_info for r in op._schema.returns)
        )
        if not shares:
            return node
        node = node.args[0]
    return node
