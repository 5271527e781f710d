"""Translate: from a program to the nodes of a graph, each giving one tensor for any number of samples."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, fx

from pruning.constants import Constants, is_in_place
from pruning.errors import ModelError
from pruning.graph import INPUT, Node, Param, Value, leaves
from pruning.mended import MENDED
from pruning.program import Program
from pruning.sized import Rows, Sized, plain_name

aten = torch.ops.aten

# Which arguments of an operator multiply the input as a matrix, or as a filter.
_MATRICES = {
    "linear": (1,), "addmm": (1, 2), "mm": (0, 1), "matmul": (0, 1), "bmm": (0, 1), "baddbmm": (1, 2),
    "conv1d": (1,), "conv2d": (1,), "conv3d": (1,), "convolution": (1,),
    "conv_transpose1d": (1,), "conv_transpose2d": (1,), "conv_transpose3d": (1,), "bilinear": (2,),
}  # fmt: skip
# Operators for which one row stands for equal rows, provided that another operand has the result's shape.
_BROADCASTS = {
    "add", "sub", "mul", "div", "where", "masked_fill", "maximum", "minimum", "pow",
    "eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "__and__", "__or__",
}  # fmt: skip
_RESHAPES = ("view", "reshape", "_unsafe_view", "unflatten", "flatten")
_CASTS = ("to", "_to_copy", "type_as")
_PARTS = ("split", "split_with_sizes", "chunk", "unbind", "tensor_split")


@dataclass
class Translated:
    """The nodes, the tensors they read by name, what norms become without data, and the output's name."""

    nodes: list[Node] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    neutral: dict[str, Tensor] = field(default_factory=dict)
    output: str = ""


def translate(program: Program, first_names: Mapping[str, str], dtype: torch.dtype) -> Translated:
    """The program's operators, pure and for any number of samples.

    What needs no input is computed now: positions, masks, and what is made of parameters, unless
    weights are made of it. Numbers of samples become -1, or Rows. first_names: each name of a
    parameter to the one it shall have; dtype: the model's own, which casts back to it follow.
    Raises ModelError for operators that can't be replayed.
    """
    walk = _Translation(program, first_names, dtype)
    for node in program.graph.nodes:
        walk.visit(node)
    read = {leaf.name for node in walk.made.nodes for leaf in leaves(_given(node)) if isinstance(leaf, Param)}
    return replace(walk.made, tensors={n: t for n, t in walk.made.tensors.items() if n in read})


def _given(node: Node) -> object:
    return [node.args, [value for _, value in node.kwargs]]


class _Translation:
    def __init__(self, program: Program, first_names: Mapping[str, str], dtype: torch.dtype) -> None:
        self.made, self.dtype = Translated(), dtype
        origin = {**program.parameters, **program.others}
        given = dict(program.tensors)
        given |= {first: given[name] for name, first in first_names.items() if name in given}
        self.source = {place: first_names.get(name, name) for place, name in origin.items()}
        self.stored = {place: given[name].detach() for place, name in self.source.items()}
        self.by_name = {name: self.stored[place] for place, name in self.source.items()}
        self.constants = Constants(program.graph, self.stored, program.parameters)
        self.matrices = {arg.name for node in program.graph.nodes for arg in _matrices(node)}
        self.names: dict[str, Value] = {}  # by name of a node whose value depends on the input
        self.base: dict[str, str] = {}  # by name of a node that shares another's memory, the node that had it first
        self.seen: set[str] = set()
        self.parted: dict[str, Node] = {}  # by name, calls whose outputs are parts of their input

    def visit(self, node: fx.Node) -> None:
        if node.op == "placeholder" and node.name not in self.source:
            if not isinstance(node.meta["val"], Tensor):
                raise ModelError(f"the model reads {node.name!r}, which is no tensor, and can't be replayed without it")
            self.names[node.name] = Value(INPUT)
            shape = node.meta["val"].shape
            self.constants.follow(shape[0] if shape else None)
        elif node.op == "call_function":
            self._call(node)
        elif node.op == "output":
            self.made.output = self._single_output(node)
        self.seen.add(node.name)

    def _single_output(self, node: fx.Node) -> str:
        results = node.args[0]
        first = results[0] if isinstance(results, (tuple, list)) and results else results
        value = self.names.get(first.name) if isinstance(first, fx.Node) else None
        if value is None:
            raise ModelError("the model's output is no tensor that depends on its input")
        return value.name

    def _call(self, node: fx.Node) -> None:
        where = _where(node)
        if isinstance(node.target, torch._ops.OpOverload) and not node.target._schema.returns:
            return  # an assertion
        if node.target is operator.getitem and not node.users:
            return
        constant = self.constants.take(node, where)
        self._follow_memory(node, where, constant)
        if not constant:
            self._emit(node, where)
            if is_in_place(node) and isinstance(node.args[0], fx.Node):
                self.constants.forget(node.args[0])
                self.names[node.args[0].name] = self.names[node.name]

    def _follow_memory(self, node: fx.Node, where: str, constant: bool) -> None:
        """Note whose memory the node shares. Raises ModelError where it writes into what is read by another name.

        The replay is pure: what reads the written tensor by its own name sees the new value, a view of it
        would not. Constants are computed as they would be in the model, views and all.
        """
        source = node.args[0] if node.args else None
        if not isinstance(source, fx.Node) or not _shares_memory(node):
            return
        base = self.base[node.name] = self.base.get(source.name, source.name)
        for other in node.graph.nodes if is_in_place(node) else ():
            if other.name not in self.seen or other is source or (constant and other in self.constants):
                continue
            same = self.base.get(other.name, other.name) == base
            if same and any(user is not node and user.name not in self.seen for user in other.users):
                raise ModelError(
                    f"{where}: {plain_name(node.target)} writes into memory that is read later "
                    f"as {other.name!r}; give it a tensor of its own, or don't work in place"
                )

    def _emit(self, node: fx.Node, where: str, whole: bool = False) -> None:
        """Add the nodes that stand for a call. whole: nothing that is made of a parameter may be computed now."""
        if node.target is operator.getitem:
            self._emit_piece(node, where, whole)
            return
        if not isinstance(node.target, torch._ops.OpOverload):
            raise ModelError(f"{where}: {node.target} is no tensor operator that can be replayed")
        op = _functional(node.target, where)
        args = tuple(self._argument(a, node, i, whole) for i, a in enumerate(node.args))
        kwargs = {n: self._argument(a, node, n, whole) for n, a in node.kwargs.items()}
        if op is aten.batch_norm.default:
            self._batch_norm(node, _arguments(op, args, kwargs)[0], where)
        elif _is_identity(node, op) and isinstance(args[0], Value):
            self.names[node.name] = args[0]
        elif (part := _only_part(node, args)) is not None:
            self.names[node.name] = part
        elif plain_name(op) in _CASTS:
            self._add(self._cast(node, args[0], where))
        else:
            call = _call_of(node, op, args, kwargs, where)
            if call.kind in _PARTS:
                self.parted[node.name] = call
            elif _is_new(node) and node.meta["val"].dtype == self.dtype:
                made = replace(call, name=f"{node.name}_made")
                self._add(made)
                self._add(Node(node.name, aten.type_as.default, (Value(made.name), self._own_type()), where))
            else:
                self._add(call)

    def _add(self, node: Node) -> None:
        self.made.nodes.append(node)
        self.names[node.name] = Value(node.name)

    def _emit_piece(self, node: fx.Node, where: str, whole: bool) -> None:
        source, index = node.args
        assert isinstance(source, fx.Node) and isinstance(index, int)
        if source.name not in self.parted and source.name not in self.names:
            self._emit(source, where, whole)
        if source.name in self.parted:
            self._add(_part(self.parted[source.name], source.meta["val"], index, node.name))
        else:
            self._add(Node(node.name, operator.getitem, (self.names[source.name], index), where))

    def _argument(self, arg: Any, user: fx.Node, position: int | str, whole: bool) -> object:
        if isinstance(arg, fx.Node):
            if arg.name in self.names:
                return self.names[arg.name]
            if arg in self.constants:
                return self._constant(arg, user, position, whole)
            raise ModelError(f"{_where(user)}: {user.target} reads the parts of a tensor as one")
        if isinstance(arg, (list, tuple)):
            return type(arg)(self._argument(a, user, position, whole) for a in arg)
        return arg

    def _constant(self, constant: fx.Node, user: fx.Node, position: int | str, whole: bool) -> object:
        if constant.op == "placeholder" and self.constants.is_unwritten(constant):
            return self._param(self.source[constant.name], self.stored[constant.name])
        number = self.constants.number(constant)
        if number is not None:
            return number
        params = self.constants.params[constant]
        whole = bool(params) and (whole or position in _MATRICES.get(plain_name(user.target), ()))
        found = None if whole or params & self.matrices else self.constants.tensor(constant)
        if found is None:
            return self._live(constant, whole)
        tensor, is_row = found
        param = self._param(self._name_of(constant, tensor), tensor)
        return self._repeated(constant, param) if is_row and not self._broadcasts(user, position, constant) else param

    def _param(self, name: str, tensor: Tensor) -> Param:
        self.made.tensors.setdefault(name, tensor)
        return Param(name)

    def _name_of(self, constant: fx.Node, tensor: Tensor) -> str:
        """That of the parameter where it is one unchanged, else the node's, below its module's path."""
        for place in self.constants.params[constant]:
            if self.stored[place].shape == tensor.shape and torch.equal(self.stored[place], tensor):
                return str(self.source[place])
        where, version = _where(constant), self.constants.version(constant)
        name = constant.name if where == constant.name else f"{where}.{constant.name}"
        return name if self.constants.is_unwritten(constant) else f"{name}.{version}"

    def _live(self, constant: fx.Node, whole: bool) -> Value:
        """A constant that is computed in every run after all: it follows the batch size, or a weight's values."""
        where = _where(constant)
        if constant.op == "placeholder" or is_in_place(constant) or not self.constants.is_unwritten(constant):
            raise ModelError(f"{where}: a parameter, or what is made of one, is written in place")
        self._emit(constant, where, whole)
        return self.names[constant.name]

    def _repeated(self, constant: fx.Node, param: Param) -> Value:
        name, shape = f"{param.name}.repeated", self.made.tensors[param.name].shape
        if name not in self.names:
            sizes = [Rows(1), *shape[1:]]
            follows = (("batch_of", Value(INPUT)),)
            self._add(Node(name, Sized(aten.expand.default), (param, sizes), _where(constant), follows))
        return self.names[name]

    def _broadcasts(self, user: fx.Node, position: int | str, constant: fx.Node) -> bool:
        kind = plain_name(user.target)
        if kind == "scaled_dot_product_attention":
            return position in (3, "attn_mask")
        others = [n for n in user.all_input_nodes if n is not constant and n not in self.constants]
        plain = kind if kind.startswith("__") else kind.removesuffix("_")
        return plain in _BROADCASTS and any(_shape(n) == _shape(user) for n in others)

    def _cast(self, node: fx.Node, x: object, where: str) -> Node:
        """A cast; one to the model's own type moves when the network does."""
        source, target = node.args[0], node.meta["val"].dtype
        assert isinstance(source, fx.Node)
        if target == self.dtype and source.meta["val"].dtype.is_floating_point:
            return Node(node.name, aten.type_as.default, (x, self._own_type()), where)
        return Node(node.name, aten.to.dtype, (x, target), where)

    def _own_type(self) -> Param:
        """A tensor of the model's own type, to cast by."""
        return self._param("dtype", torch.zeros((), dtype=self.dtype))

    def _batch_norm(self, node: fx.Node, args: tuple[object, ...], where: str) -> None:
        """Batch norm in evaluation mode is one scale and one shift per channel."""
        x, gamma, beta, mean, variance, training, _, eps, *_ = args
        if training or not isinstance(mean, Param) or not isinstance(variance, Param):
            raise ModelError(f"{where}: batch norm by the batch's own statistics has no evaluation mode to score in")
        if isinstance(gamma, Value) or isinstance(beta, Value):
            raise ModelError(
                f"{where}: batch norm with a computed weight or bias can't be replayed; give it parameters"
            )
        assert isinstance(eps, float)
        mu, var = self.by_name[mean.name], self.by_name[variance.name]
        gain = self.by_name[gamma.name] if isinstance(gamma, Param) else torch.ones_like(var)
        offset = self.by_name[beta.name] if isinstance(beta, Param) else torch.zeros_like(mu)
        scale = gain / (var + eps).sqrt()
        column = (-1, *[1] * (node.meta["val"].dim() - 2))
        prefix = mean.name.removesuffix("running_mean")  # that of the statistics: a module may hold several
        slope = self._param(prefix + "scale", scale.view(column))
        shift = self._param(prefix + "shift", (offset - mu * scale).view(column))
        self.made.neutral[slope.name] = (gain.abs() / (1 + eps) ** 0.5).view(column)
        self._add(Node(node.name + "_scale", aten.mul.Tensor, (x, slope), where))
        self._add(Node(node.name, aten.add.Tensor, (Value(node.name + "_scale"), shift), where))


def _where(node: fx.Node) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    paths = [str(path) for path, _ in stack.values() if path]
    return paths[-1].removeprefix("L['self'].") if paths else node.name


def _matrices(node: fx.Node) -> list[fx.Node]:
    """What a call multiplies as a matrix, or filters with."""
    positions = _MATRICES.get(plain_name(node.target), ()) if callable(node.target) else ()
    return [a for i in positions if i < len(node.args) and isinstance(a := node.args[i], fx.Node)]


def _shape(node: fx.Node) -> list[str]:
    """Sizes as text: comparing the numbers themselves would tie a size that follows the batch to the example's."""
    return [str(size) for size in node.meta["val"].shape]


def _shares_memory(node: fx.Node) -> bool:
    op = node.target
    if op is operator.getitem or op is aten.dropout.default:  # in evaluation mode
        return True
    return isinstance(op, torch._ops.OpOverload) and any(r.alias_info for r in op._schema.returns)


def _is_new(node: fx.Node) -> bool:
    """Whether the call makes a tensor out of none, where and of what type it is told."""
    tensors = any(isinstance(n.meta["val"], Tensor) for n in node.all_input_nodes)
    return isinstance(node.meta["val"], Tensor) and not tensors


def _functional(op: torch._ops.OpOverload, where: str) -> torch._ops.OpOverload:
    name = op._schema.name.removeprefix("aten::")
    if not name.endswith("_") or name.startswith("_"):
        return op
    packet = getattr(aten, name.rstrip("_"), None)
    if packet is None or op._overloadname not in packet.overloads():
        raise ModelError(f"{where}: the in-place operator {name} has no pure form")
    pure: torch._ops.OpOverload = getattr(packet, op._overloadname)
    return pure


def _is_identity(node: fx.Node, op: torch._ops.OpOverload) -> bool:
    """Whether the call gives its first argument back: an alias, a cast to its own type, a slice of everything."""
    source = node.args[0] if node.args else None
    if not isinstance(source, fx.Node) or not isinstance(source.meta["val"], Tensor):
        return False
    if plain_name(op) in _CASTS:
        return bool(source.meta["val"].dtype == node.meta["val"].dtype)
    whole = op is aten.slice.Tensor and len(node.args) < 5 and _shape(source) == _shape(node)
    return whole or op is aten.alias.default


def _only_part(node: fx.Node, args: tuple[object, ...]) -> Value | None:
    """What a concatenation joins to nothing but empty tensors, as an empty cache of keys is."""
    if plain_name(node.target) != "cat":
        return None
    parts, given = node.args[0], args[0]
    assert isinstance(parts, (list, tuple)) and isinstance(given, (list, tuple))
    full = [arg for part, arg in zip(parts, given, strict=True) if "0" not in _shape(part)]
    return full[0] if len(full) == 1 and isinstance(full[0], Value) else None


def _call_of(
    node: fx.Node, op: torch._ops.OpOverload, args: tuple[object, ...], kwargs: dict[str, object], where: str
) -> Node:
    """The call as a node, without what is said by default and without the numbers of samples that reshape can find."""
    args, given = _arguments(op, args, kwargs)
    if plain_name(op) in _RESHAPES:
        op, args = _reshaped(op, args, node)
    if op is aten.expand.default:
        args = (args[0], _expanded(args[1], node))
    source = node.args[0] if node.args else None
    own = getattr(source.meta.get("val"), "dtype", None) if isinstance(source, fx.Node) else None
    if own is not None and own.is_floating_point:
        args, given = _without_own_type(op, args, given, own)
    made_from = list(leaves([args, [a for _, a in given]]))
    if _is_new(node) or any(isinstance(leaf, Rows) for leaf in made_from):
        return Node(node.name, Sized(op), args, where, (*given, ("batch_of", Value(INPUT))))
    return Node(node.name, MENDED.get(op, op), args, where, given)


def _arguments(
    op: torch._ops.OpOverload, args: tuple[object, ...], kwargs: dict[str, object]
) -> tuple[tuple[object, ...], tuple[tuple[str, object], ...]]:
    """The call with every positional argument in its place and defaults dropped, so that rules can read it.

    Where a tensor is made and laid out is left to the operator: it is where its operands are.
    """
    schema = op._schema.arguments
    given = [*args, *(kwargs.get(a.name, a.default_value) for a in schema[len(args) :] if not a.kwarg_only)]
    while given and not isinstance(given[-1], (Value, Param)) and given[-1] == schema[len(given) - 1].default_value:
        given.pop()
    named = ((a.name, kwargs.get(a.name, a.default_value)) for a in schema if a.kwarg_only)
    defaults = {a.name: a.default_value for a in schema}
    places = ("device", "layout", "pin_memory")
    return tuple(given), tuple((n, v) for n, v in named if v != defaults[n] and n not in places)


def _without_own_type(
    op: torch._ops.OpOverload, args: tuple[object, ...], kwargs: tuple[tuple[str, object], ...], own: torch.dtype
) -> tuple[tuple[object, ...], tuple[tuple[str, object], ...]]:
    """The call without a dtype that the operand has anyway: in a network that is moved it would be a cast."""
    names = [a.name for a in op._schema.arguments if not a.kwarg_only]
    if len(args) == len(names) and names[-1] == "dtype" and args[-1] == own:
        args = args[:-1]
    return args, tuple((n, v) for n, v in kwargs if (n, v) != ("dtype", own))


def _reshaped(
    op: torch._ops.OpOverload, args: tuple[object, ...], node: fx.Node
) -> tuple[torch._ops.OpOverload, tuple[object, ...]]:
    """A reshape without the number of samples in it; as flatten(x, 1) where it is that."""
    source = node.args[0]
    assert isinstance(source, fx.Node)
    before, after, sizes = _shape(source), _shape(node), list(node.meta["val"].shape)
    if before and len(after) == 2 and before[0] == after[0]:
        return aten.flatten.using_ints, (args[0], 1)
    follow = [i for i, size in enumerate(sizes) if isinstance(size, torch.SymInt)]
    if not follow and before and after and before[0] == after[0]:
        follow = [0]  # traced with a number of samples that the model insists on
    if (
        op is aten.flatten.using_ints
        or len(follow) != 1
        or 0 in (int(after[i]) for i in range(len(after)) if i != follow[0])
    ):
        return op, args
    sizes[follow[0]] = -1
    return aten.reshape.default, (args[0], sizes)


def _expanded(sizes: object, node: fx.Node) -> object:
    """The sizes to expand to, -1 where the number of samples stays."""
    source = node.args[0]
    assert isinstance(source, fx.Node) and isinstance(sizes, (list, tuple))
    after = _shape(node)
    before = [""] * (len(after) - source.meta["val"].dim()) + _shape(source)
    return [-1 if isinstance(s, Rows) and a == b else s for s, a, b in zip(sizes, after, before, strict=True)]


def _part(call: Node, parts: Any, index: int, name: str) -> Node:
    """One part of a tensor: of a split a slice, of an unbound axis an entry."""
    assert isinstance(call.op, torch._ops.OpOverload)
    axis = [a.name for a in call.op._schema.arguments].index("dim")
    dim = call.args[axis] if len(call.args) > axis else 0
    assert isinstance(dim, int)
    if call.kind == "unbind":
        return Node(name, aten.select.int, (call.args[0], dim, index), call.where)
    widths = [part.shape[dim] for part in parts]
    if not all(isinstance(width, int) for width in widths):
        raise ModelError(f"{call.where}: {call.kind} parts the samples of a batch")
    start = sum(widths[:index])
    return Node(name, aten.slice.Tensor, (call.args[0], dim, start, start + widths[index]), call.where)
