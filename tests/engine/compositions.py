"""Random networks of random operators, written as nodes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pruning.graph import INPUT, Graph, Node, Param, Value
from pruning.survey import build

aten = torch.ops.aten
Choice = Callable[[int], int]  # a number from 0 to one less than it is given
MOST = 400  # entries of one value


@dataclass
class Composer:
    """Adds nodes, and knows what each gives; an operator that does not fit is left out."""

    choose: Choice
    source: torch.Generator
    values: dict[str, Any] = field(default_factory=dict)
    params: dict[str, Tensor] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)

    def add(self, op: Any, *args: Any, **kwargs: Any) -> str | None:
        node = Node(f"v{len(self.nodes)}", op, args, f"v{len(self.nodes)}", tuple(kwargs.items()))
        try:
            made = node.run(self.values, self.params)
        except (RuntimeError, IndexError, ValueError):
            return None
        tensors = [made] if isinstance(made, Tensor) else made
        if any(t.numel() > MOST or t.numel() == 0 or not bool((t.double().abs() < 1e6).all()) for t in tensors):
            return None
        self.nodes.append(node)
        self.values[node.name] = made
        return node.name

    def param(self, *shape: int) -> Param:
        name = f"p{len(self.params)}"
        self.params[name] = torch.randn(shape, generator=self.source, dtype=torch.float64)
        return Param(name)

    def value(self) -> Value:
        """One of the last few."""
        names = self.tensors()
        return Value(names[-1 - self.choose(min(3, len(names)))])

    def tensors(self) -> list[str]:
        """Values of real numbers along some axes."""
        return [n for n, v in self.values.items() if isinstance(v, Tensor) and v.is_floating_point() and v.dim()]

    def shape(self, value: Value) -> list[int]:
        return list(self.values[value.name].shape)

    def axis(self, value: Value) -> int:
        return self.choose(len(self.shape(value)))

    def broadcast(self, value: Value) -> list[int]:
        """The value's shape with some axes cut to 1."""
        shape = [1 if self.choose(3) == 0 else n for n in self.shape(value)[1:]]
        return shape if self.choose(2) else [1, *shape]


def linear(c: Composer) -> None:
    x = c.value()
    width, out = c.shape(x)[-1], 1 + c.choose(4)
    known = [n for n, p in c.params.items() if tuple(p.shape) == (out, width)]
    weight = Param(known[0]) if known and c.choose(8) == 0 else c.param(out, width)
    c.add(aten.linear.default, x, weight, c.param(out) if c.choose(2) else None)


def matrix(c: Composer) -> None:
    x = c.value()
    width, out = c.shape(x)[-1], 1 + c.choose(4)
    if c.choose(2):
        c.add(aten.matmul.default, x, c.param(width, out))
    else:
        c.add(aten.addmm.default, c.param(*([out] if c.choose(2) else [1])), x, c.param(width, out))


def convolution(c: Composer) -> None:
    x = c.value()
    shape = c.shape(x)
    if len(shape) not in (3, 4):
        return
    rank, kernel = len(shape) - 2, 1 + c.choose(2)
    groups = math.gcd(shape[1], 2) if c.choose(2) else 1
    out, side, sides = groups * (1 + c.choose(2)), [kernel] * rank, [1 + c.choose(2)] * rank
    bias = c.param(out) if c.choose(2) else None
    padding = [c.choose(2)] * rank
    if c.choose(3):
        op = (aten.conv1d.default, aten.conv2d.default)[rank - 1]
        c.add(op, x, c.param(out, shape[1] // groups, *side), bias, sides, padding, [1] * rank, groups)
    else:
        op = (aten.conv_transpose1d.default, aten.conv_transpose2d.input)[rank - 1]
        weight = c.param(shape[1], out // groups, *side)
        c.add(op, x, weight, bias, sides, [0] * rank, [0] * rank, groups)


def entrywise(c: Composer) -> None:
    ops = [(aten.relu.default,), (aten.leaky_relu.default, 0.3), (aten.abs.default,), (aten.neg.default,)]
    ops += [(aten.tanh.default,), (aten.threshold.default, 0.2, 0.0), (aten.square.default,), (aten.sign.default,)]
    ops += [(aten.pow.Tensor_Scalar, 3), (aten.mul.Tensor, 2.0), (aten.cos.default,)]
    op, *rest = ops[c.choose(len(ops))]
    c.add(op, c.value(), *rest)


def moved(c: Composer) -> None:
    x = c.value()
    shape, axis = c.shape(x), c.axis(x)
    size = shape[axis]
    ways = [
        (aten.transpose.int, axis, c.axis(x)),
        (aten.flatten.using_ints, min(1, len(shape) - 1)),
        (aten.flatten.using_ints, 0, min(1, len(shape) - 1)),
        (aten.flip.default, [axis]),
        (aten.roll.default, [1], [axis]),
        (aten.slice.Tensor, axis, c.choose(2), size),
        (aten.unsqueeze.default, axis),
        (aten.repeat.default, [*[1] * (len(shape) - 1), 2]),
        (aten.repeat_interleave.self_int, 2, axis),
        (aten.constant_pad_nd.default, [c.choose(2), c.choose(2), *([0, c.choose(2)] if len(shape) > 2 else [])]),
        (aten.pad.default, [1, 1], "reflect"),
        (aten.unfold.default, axis, 2, 1),
    ]
    if size % 2 == 0 and axis:
        ways += [(aten.unflatten.int, axis, [2, -1]), (aten.unflatten.int, axis, [-1, 2])]
    op, *rest = ways[c.choose(len(ways))]
    c.add(op, x, *rest)


def parts(c: Composer) -> None:
    x = c.value()
    axis = max(c.axis(x), min(1, len(c.shape(x)) - 1))
    name = c.add(aten.chunk.default, x, 2, axis)
    if name and len(c.values[name]) == 2:
        first, second = (c.add(_item, Value(name), i) for i in (0, 1))
        if first and second and c.choose(2):
            c.add((aten.mul.Tensor, aten.add.Tensor)[c.choose(2)], Value(first), Value(second))


def _item(values: Any, index: int) -> Any:
    return values[index]


_item.__name__ = "getitem"


def joined(c: Composer) -> None:
    x, y = c.value(), c.value()
    axis = max(c.axis(x), min(1, len(c.shape(x)) - 1))
    op = (aten.cat.default, aten.stack.default)[c.choose(2)]
    c.add(op, [x, y], axis)


def along(c: Composer) -> None:
    x = c.value()
    axis = c.axis(x)
    way = c.choose(6)
    if way < 3:
        ops = (aten.mean.dim, aten.sum.dim_IntList, aten.amax.default)
        c.add(ops[way], x, [axis], bool(c.choose(2)))
    elif way == 3:
        c.add(aten.mean.default, x)
    else:
        name = c.add((aten.sort.default, aten.max.dim)[way - 4], x, axis)
        if name:
            c.add(_item, Value(name), 0)
            c.choose(8) or c.add(aten.mul.Tensor, x, Value(c.add(_item, Value(name), 1) or x.name))


def binary(c: Composer) -> None:
    x, y = c.value(), c.value()
    ops = (aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.maximum.default, aten.matmul.default)
    c.add(ops[c.choose(len(ops))], x, y)


def residual(c: Composer) -> None:
    x = c.value()
    width = c.shape(x)[-1]
    made = c.add(aten.linear.default, x, c.param(width, width), None)
    c.add((aten.add.Tensor, aten.mul.Tensor)[c.choose(2)], x, Value(made or x.name))


def constant(c: Composer) -> None:
    x = c.value()
    c.add((aten.add.Tensor, aten.mul.Tensor)[c.choose(2)], x, c.param(*c.broadcast(x)))


def chosen(c: Composer) -> None:
    x, y = c.value(), c.value()
    if c.shape(x) != c.shape(y):
        return
    mask = c.add(aten.gt.Scalar, x, 0.0)
    if mask:
        c.add(aten.where.self, Value(mask), x, y) if c.choose(2) else c.add(aten.mul.Tensor, x, Value(mask))


def norm(c: Composer) -> None:
    """Of more than one number: of one it is 0, and everything after it rounding."""
    x = c.value()
    shape, way = c.shape(x), c.choose(3)
    width = shape[-1] if way == 0 or len(shape) < 3 else shape[1]
    gain = c.param(width) if c.choose(4) else None
    shift = c.param(width) if gain and c.choose(2) else None
    if shape[-1] == 1:
        return
    if way == 0 or len(shape) < 3:
        c.add(aten.layer_norm.default, x, [width], gain, shift, 0.1)
    elif way == 1:
        c.add(aten.group_norm.default, x, 1, gain, shift, 0.1)
    else:
        c.add(aten.instance_norm.default, x, gain, shift, None, None, True, 0.1, 0.1, False)


def attention(c: Composer) -> None:
    x = c.value()
    shape = c.shape(x)
    if len(shape) < 3:
        return
    made = [c.add(aten.linear.default, x, c.param(2, shape[-1]), None) for _ in range(3)]
    values = [Value(m) if m and c.choose(4) else x for m in made]
    c.add(aten.scaled_dot_product_attention.default, *values)


STEPS = (
    linear, linear, linear, matrix, convolution, convolution, entrywise, entrywise, moved, moved, moved, parts,
    joined, joined, along, binary, binary, residual, constant, constant, chosen, norm, attention,
)  # fmt: skip
SIZES = ((4,), (3, 4), (2, 4, 4), (6,))


def composed(choose: Choice, seed: int, steps: int) -> tuple[Graph, dict[str, Tensor], Tensor] | None:
    """A graph, its parameters and an input; None where nothing with a weight came of it."""
    source = torch.Generator().manual_seed(seed)
    x = torch.randn(2, *SIZES[choose(len(SIZES))], generator=source, dtype=torch.float64)
    c = Composer(choose, source, {INPUT: x})
    linear(c)
    for _ in range(steps):
        STEPS[choose(len(STEPS))](c)
    ends = c.tensors()[-2 - choose(3) :]  # several, so that most of what was made is used
    flat = [c.add(aten.flatten.using_ints, Value(n), 0) for n in ends]
    joint = c.add(aten.cat.default, [Value(n) for n in flat if n], 0)
    width = len(c.values[joint]) if joint else 0
    output = c.add(aten.linear.default, Value(joint), c.param(2, width), None) if joint else None
    if output is None:
        return None
    return build(c.nodes, output, x, c.params), c.params, x
