"""Operator types: for every value of a graph whether it is homogeneous, monotone and convex in the network's input.

The setting is SynFlow's: inputs are nonnegative and prunable weights are read as absolute values; every other
parameter is taken as given. The union bound R(w m) >= R(w) - sum of pruned S needs all three of every value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from pruning.graph import INPUT, Graph, Node, Param, Value, leaves
from pruning.masks import Tensors
from theory.opalgebra import THE_INPUT, UNKNOWN, OpType, bent, joined, largest, number, power, product, signed, tensor

__all__ = ["OpType", "types_of"]


def types_of(graph: Graph, params: Tensors) -> dict[str, OpType]:
    """The type of every value, the input's included. params: weights and fixed tensors, as the objective reads them."""
    found = {INPUT: THE_INPUT}
    weights, nodes = set(graph.weights), {node.name: node for node in graph.nodes}
    for node in graph.nodes:
        found[node.name] = _type_of(_Call(node, nodes, found, params, weights))
    return found


@dataclass(frozen=True)
class _Call:
    node: Node
    nodes: dict[str, Node]
    found: dict[str, OpType]
    params: Tensors
    weights: set[str]

    def of(self, arg: object) -> OpType:
        """The type of an argument: a value, a parameter, a number."""
        if isinstance(arg, Value):
            return self.found[arg.name]
        if isinstance(arg, Param):
            return tensor(self.params[arg.name], positive=arg.name in self.weights)
        return number(float(arg)) if isinstance(arg, (int, float)) else UNKNOWN

    def at(self, position: int) -> OpType:
        return self.of(self.arg(position))

    def arg(self, position: int, default: object = None) -> object:
        return self.node.args[position] if len(self.node.args) > position else default

    def size(self, position: int, default: float) -> float:
        """An argument that is a number; NaN for what is none."""
        found = self.arg(position, default)
        return float(found) if isinstance(found, (int, float)) else math.nan

    def keyword(self, name: str, default: object = None) -> object:
        return dict(self.node.kwargs).get(name, default)

    def operands(self) -> list[OpType]:
        """The values and parameters that are read; `batch_of` is read for its size alone."""
        read = [self.node.args, [a for name, a in self.node.kwargs if name != "batch_of"]]
        return [self.of(leaf) for leaf in leaves(read) if isinstance(leaf, (Value, Param))]


Rule = Callable[[_Call], OpType | tuple[OpType, str]]  # the type and, where a property is lost, the reason


def _type_of(call: _Call) -> OpType:
    operands, rule = call.operands(), RULES.get(call.node.kind)
    made, reason = UNKNOWN, "has no rule"
    if rule:
        result = rule(call)
        made, reason = result if isinstance(result, tuple) else (result, "")
    if operands and all(t.degree == 0 for t in operands) and made.degree is None:
        made = replace(made, degree=0)  # what it reads does not change with the scale of the input
    told = tuple(dict.fromkeys(sentence for t in operands for sentence in t.why))
    return replace(made, why=told + _losses(call.node, operands, made, reason, known=rule is not None))


def _losses(node: Node, operands: list[OpType], made: OpType, reason: str, known: bool) -> tuple[str, ...]:
    """A sentence for each property that all operands had and the result has not."""
    before = {
        "homogeneous": all(t.degree is not None for t in operands),
        "monotone": all(t.monotone for t in operands),
        "convex": all(t.convex for t in operands),
    }
    now = {"homogeneous": made.degree is not None, "monotone": made.monotone, "convex": made.convex}
    lost = [name for name in before if before[name] and not now[name]]
    if lost and not known:
        return (f"{node.where}: {node.kind} has no rule",)
    because = f": {reason}" if reason else ""
    return tuple(f"{node.where}: {node.kind} is not {name}{because}" for name in lost)


# linear maps with coefficients >= 0, and choices


def _moves(c: _Call) -> OpType:
    return joined(c.operands())


def _greatest(c: _Call) -> OpType:
    return largest(c.operands())


def _ordered(c: _Call) -> tuple[OpType, str]:
    """Entries by rank: the least, the middle, all in order. Monotone, but only the greatest is convex."""
    x = joined(c.operands())
    return replace(x, root=x.root if x.constant else 0, affine=x.constant), "it takes lesser entries"


def _piece(c: _Call) -> OpType | tuple[OpType, str]:
    if c.arg(1) == 0:
        return c.at(0)
    x = c.at(0)
    return OpType(0 if x.degree is not None else None, monotone=False, root=0), "it says where, not how much"


def _drops(c: _Call) -> OpType | tuple[OpType, str]:
    return c.at(0) if c.arg(2) is False else (UNKNOWN, "it drops entries at random")


def _pads(c: _Call) -> OpType:
    mode = c.arg(2, "constant") if c.node.kind == "pad" else "constant"
    value = c.arg(3 if c.node.kind == "pad" else 2, None)
    filled = number(float(value) if isinstance(value, (int, float)) else 0)
    return joined([c.at(0), filled]) if mode == "constant" else c.at(0)


def _bicubic(c: _Call) -> tuple[OpType, str]:
    return signed(c.at(0)), "some of its coefficients are negative"


# sums and products


def _adds(c: _Call) -> tuple[OpType, str]:
    other = product(c.at(1), number(_factor(c)))
    return joined([c.at(0), other]), _mixture(c.at(0), other)


def _subtracts(c: _Call) -> tuple[OpType, str]:
    first, second = (c.at(1), c.at(0)) if c.node.kind == "rsub" else (c.at(0), c.at(1))
    other = product(second, number(-_factor(c)))
    return joined([first, other]), _mixture(first, other) or "it subtracts"


def _factor(c: _Call) -> float:
    found = c.keyword("alpha", 1)
    return float(found) if isinstance(found, (int, float)) else math.nan


def _mixture(a: OpType, b: OpType) -> str:
    mixed = a.degree != b.degree and not a.zero and not b.zero
    return f"it joins degrees {_shown(a.degree)} and {_shown(b.degree)}" if mixed else ""


def _shown(degree: float | None) -> str:
    return "unknown" if degree is None else f"{degree:g}"


def _multiplies(c: _Call) -> tuple[OpType, str]:
    whole = _signed_by_itself(c)
    if whole is not None:
        return whole, ""
    a, b = c.at(0), c.at(1)
    if c.arg(0) == c.arg(1):
        return power(a, 2), "it is a square"
    return product(a, b), "a factor is negative" if a.constant or b.constant else "it is a product of two values"


def _signed_by_itself(c: _Call) -> OpType | None:
    """The type of x where the product is sign(x) relu(|x|), which is x: so torch writes l_p pools."""
    for sign, size in ((c.arg(0), c.arg(1)), (c.arg(1), c.arg(0))):
        origin = _made_by(c, sign, "sign")
        if origin is not None and origin == _made_by(c, _made_by(c, size, "relu") or size, "abs"):
            return c.of(origin)
    return None


def _made_by(c: _Call, arg: object, kind: str) -> object:
    """The argument of the call of that kind that made the value, if one did."""
    node = c.nodes.get(arg.name) if isinstance(arg, Value) else None
    return node.args[0] if node is not None and node.kind == kind else None


def _divides(c: _Call) -> tuple[OpType, str]:
    a, b = c.at(0), c.at(1)
    if b.constant:
        return product(a, replace(b, zero=False)), "the divisor is negative"
    if c.keyword("rounding_mode") is not None:
        return UNKNOWN, "it rounds"
    return product(a, power(b, -1)), "it divides by a value"


def _weighs(c: _Call) -> tuple[OpType, str]:
    """Linear maps and convolutions: input, weight, bias."""
    made = product(c.at(0), c.at(1))
    if c.arg(2) is None:
        return made, _of_weights(c, 1)
    return joined([made, c.at(2)]), (_mixture(made, c.at(2)) and "its bias is not zero") or _of_weights(c, 1)


def _addmm(c: _Call) -> tuple[OpType, str]:
    if c.node.kwargs:
        return UNKNOWN, "it scales its terms"
    made = product(c.at(1), c.at(2))
    return joined([made, c.at(0)]), (_mixture(made, c.at(0)) and "its bias is not zero") or _of_weights(c, 2)


def _of_weights(c: _Call, position: int) -> str:
    return "its weight has negative entries" if c.at(position).constant else "it is a product of two values"


def _attends(c: _Call) -> tuple[OpType, str]:
    """softmax(q k) v: where q k does not change with scale, of v's degree."""
    q, k, v = c.at(0), c.at(1), c.at(2)
    flat = q.degree is not None and k.degree is not None and q.degree + k.degree == 0
    made = OpType(v.degree if flat else None, monotone=False, root=0, nonnegative=v.nonnegative)
    return made, "softmax makes its weights of the input"


# functions of one number


def _powers(c: _Call) -> tuple[OpType, str]:
    fixed = {"square": 2.0, "sqrt": 0.5, "rsqrt": -0.5, "reciprocal": -1.0}
    k = fixed.get(c.node.kind, c.size(1, math.nan))
    return (power(c.at(0), k), f"it is the power {k:g}") if not math.isnan(k) else (UNKNOWN, "its exponent is a value")


def _bend(
    homogeneous: bool,
    monotone: bool,
    convex: bool,
    positive: bool = False,
    above: tuple[bool, bool, bool, bool] | None = None,
) -> Rule:
    """A rule for a function of one number: what is known of it on all numbers, and `above` 0."""

    def rule(c: _Call) -> OpType:
        x = c.at(0)
        return bent(x, *(above if above and x.nonnegative else (homogeneous, monotone, convex, positive)))

    return rule


def _keeps_positive(homogeneous: bool, monotone: bool, convex: bool, positive: bool = False) -> Rule:
    """A rule for a function that is the identity from 0 up; what else is known of it is known of all numbers."""
    bend = _bend(homogeneous, monotone, convex, positive)
    return lambda c: c.at(0) if c.at(0).nonnegative else bend(c)


def _leaks(c: _Call) -> tuple[OpType, str]:
    slope = c.arg(1, 0.01)
    if isinstance(slope, Value) or c.at(0).nonnegative:
        return (UNKNOWN, "its slope is a value") if isinstance(slope, Value) else (c.at(0), "")
    values = c.params[slope.name].flatten().tolist() if isinstance(slope, Param) else [c.size(1, 0.01)]
    low, high = min(values), max(values)
    return bent(c.at(0), True, low >= 0, high <= 1, high <= 0), f"its slopes are {low:g} to {high:g}"


def _clamps(c: _Call) -> tuple[OpType, str]:
    x, (lower, upper) = c.at(0), _limits(c)
    if math.isnan(lower) or math.isnan(upper):
        return UNKNOWN, "its limits are values"
    made = x if lower == -math.inf or (x.nonnegative and lower <= 0) else bent(x, lower == 0, True, True, lower >= 0)
    if upper == math.inf:
        return made, f"it cuts at {lower:g}"
    homogeneous = upper == 0 and made.degree is not None
    return bent(made, homogeneous, True, False, made.nonnegative), f"it cuts at {upper:g}"


def _limits(c: _Call) -> tuple[float, float]:
    """The least and the greatest value let through; NaN where it is computed."""
    if c.node.kind in ("relu6", "hardtanh"):
        return (0, 6) if c.node.kind == "relu6" else (c.size(1, -1), c.size(2, 1))
    at = {"clamp": (1, 2), "clamp_min": (1, 9), "clamp_max": (9, 1)}[c.node.kind]
    return tuple(  # type: ignore[return-value]
        free if c.arg(i) is None else c.size(i, free) for i, free in zip(at, (-math.inf, math.inf), strict=True)
    )


def _thresholds(c: _Call) -> tuple[OpType, str]:
    x, at, value = c.at(0), c.size(1, math.nan), c.size(2, math.nan)
    if x.nonnegative and (at < 0 or at == value == 0):
        return x, ""
    whole = at == value == 0
    return bent(x, whole, value <= at, whole, value >= 0 and at >= 0), f"it jumps from {value:g} at {at:g}"


def _shrinks(c: _Call) -> tuple[OpType, str]:
    x, width, hard = c.at(0), c.size(1, 0.5), c.node.kind == "hardshrink"
    if width == 0:
        return x, ""
    return bent(x, False, True, not hard and x.nonnegative, x.nonnegative), f"it moves numbers up to {width:g} to 0"


def _sign(c: _Call) -> tuple[OpType, str]:
    x = c.at(0)
    return OpType(None if x.degree is None else 0, x.monotone, 0, nonnegative=x.nonnegative), "it jumps at 0"


# norms and normalisers


def _normalises(parameters: tuple[int, ...], eps_at: int) -> Rule:
    """A rule for norms: of degree 0 with eps = 0 and no shift to notice it; its gain and shift are `parameters`."""

    def rule(c: _Call) -> tuple[OpType, str]:
        eps = c.arg(eps_at, 1e-5)
        fixed = all(c.arg(i) is None or c.at(i).constant for i in parameters)
        scaleless = eps == 0 and fixed and c.at(0).degree is not None
        text = "it divides by a mean" if scaleless or eps is None else f"it divides by a mean, and its eps is {eps:g}"
        return OpType(0 if scaleless else None, monotone=False, root=0), text

    return rule


def _length(c: _Call) -> tuple[OpType, str]:
    """The l_p norm."""
    p, x = c.size(1, 2), c.at(0)
    if math.isnan(p) or p <= 0:
        return UNKNOWN, "its order is no positive number"
    kept = p >= 1 and (x.affine or (x.nonnegative and x.convex))
    return OpType(
        x.degree, x.monotone and x.nonnegative, root=1 if kept else 0, nonnegative=True
    ), f"its order is {p:g}"


def _softmax(c: _Call) -> tuple[OpType, str]:
    return OpType(0 if c.at(0).degree == 0 else None, False, 0, nonnegative=True), "it compares exponentials"


def _spread(c: _Call) -> tuple[OpType, str]:
    """Variance and standard deviation."""
    x, k = c.at(0), 1 if c.node.kind == "std" else 2
    degree = None if x.degree is None else k * x.degree
    return OpType(degree, monotone=False, root=k if x.affine else 0, nonnegative=True), "it subtracts a mean"


# choices by other values


def _compares(c: _Call) -> tuple[OpType, str]:
    a, b = c.at(0), c.at(1)
    alike = a.degree is not None and (a.degree == b.degree or b.zero or a.zero)
    return OpType(0 if alike else None, monotone=False, root=0, nonnegative=True), "it is a comparison"


def _chooses(c: _Call) -> tuple[OpType, str]:
    which, made = c.at(0), joined([c.at(1), c.at(2)])
    if which.constant:
        return made, _mixture(c.at(1), c.at(2))
    return replace(made, degree=made.degree if which.degree == 0 else None, monotone=False, root=0, affine=False), (
        "it chooses by a value"
    )


def _fills(c: _Call) -> tuple[OpType, str]:
    """A masked fill; an infinity stays one at every scale."""
    endless = isinstance(c.arg(2), float) and math.isinf(c.size(2, 0))
    value = replace(c.at(2), zero=c.at(2).zero or endless)
    made = joined([c.at(0), value])
    return (made, _mixture(c.at(0), value)) if c.at(1).constant else (UNKNOWN, "it chooses by a value")


def _looks_up(c: _Call) -> tuple[OpType, str]:
    if c.at(1).constant:
        return joined([c.at(0)]), ""
    return UNKNOWN, "it looks the input up"


def _indexes(c: _Call) -> tuple[OpType, str]:
    places = [c.of(leaf) for leaf in leaves(c.node.args[1:]) if isinstance(leaf, (Value, Param))]
    return (c.at(0), "") if all(t.constant for t in places) else (UNKNOWN, "it chooses by a value")


_MOVES = """
    clone alias contiguous detach view reshape flatten unflatten squeeze unsqueeze transpose permute t mT movedim
    expand expand_as slice select narrow split split_with_sizes chunk unbind cat stack repeat repeat_interleave
    flip roll pixel_shuffle pixel_unshuffle channel_shuffle diagonal tril triu to type_as sum mean cumsum
    avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
    upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d upsample_trilinear3d
"""
_MAXIMA = """
    amax maximum fmax max max_pool1d max_pool2d max_pool3d max_pool2d_with_indices max_pool3d_with_indices
    adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d fractional_max_pool2d fractional_max_pool3d
"""
_CONVOLUTIONS = ["conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]
_ON_POSITIVE = (False, True, False, True)  # increasing from 0 up, neither homogeneous nor convex, and positive

RULES: dict[str, Rule] = {
    **dict.fromkeys(_MOVES.split(), _moves),
    **dict.fromkeys(_MAXIMA.split(), _greatest),
    **dict.fromkeys(("sort", "min", "amin", "minimum", "median", "kthvalue"), _ordered),
    **dict.fromkeys(("upsample_bicubic2d",), _bicubic),
    **dict.fromkeys(("pad", "constant_pad_nd"), _pads),
    **dict.fromkeys(("sub", "rsub"), _subtracts),
    **dict.fromkeys(("linear", "matmul", "mm", "bmm", *_CONVOLUTIONS), _weighs),
    **dict.fromkeys(("pow", "square", "sqrt", "rsqrt", "reciprocal"), _powers),
    **dict.fromkeys(("clamp", "clamp_min", "clamp_max", "hardtanh", "relu6"), _clamps),
    **dict.fromkeys(("hardshrink", "softshrink"), _shrinks),
    **dict.fromkeys(("leaky_relu", "prelu"), _leaks),
    **dict.fromkeys(("elu", "celu", "selu"), _keeps_positive(False, True, False)),
    **dict.fromkeys(("gelu", "silu", "hardswish", "mish"), _bend(False, False, False, above=_ON_POSITIVE)),
    **dict.fromkeys(("tanh", "erf", "softsign", "atan"), _bend(False, True, False, above=_ON_POSITIVE)),
    **dict.fromkeys(("sigmoid", "hardsigmoid"), _bend(False, True, False, positive=True)),
    **dict.fromkeys(("exp", "softplus"), _bend(False, True, True, positive=True)),
    **dict.fromkeys(("log", "log_sigmoid"), _bend(False, True, False)),
    **dict.fromkeys(("layer_norm", "group_norm"), _normalises((2, 3), eps_at=4)),
    **dict.fromkeys(("softmax", "_softmax"), _softmax),
    **dict.fromkeys(("std", "var"), _spread),
    **dict.fromkeys(("gt", "ge", "lt", "le", "eq", "ne"), _compares),
    "rms_norm": _normalises((2,), eps_at=3),
    "instance_norm": _normalises((1, 2), eps_at=7),
    "topk": lambda c: _greatest(c) if c.arg(1) == 1 else _ordered(c),
    "getitem": _piece,
    "dropout": _drops,
    "add": _adds,
    "mul": _multiplies,
    "div": _divides,
    "addmm": _addmm,
    "scaled_dot_product_attention": _attends,
    "relu": _keeps_positive(True, True, True, True),
    "abs": _keeps_positive(True, False, True, True),
    "neg": lambda c: signed(c.at(0)),
    "sign": _sign,
    "threshold": _thresholds,
    "linalg_vector_norm": _length,
    "where": _chooses,
    "masked_fill": _fills,
    "embedding": _looks_up,
    "index": _indexes,
}
