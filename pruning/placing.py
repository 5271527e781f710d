"""Placing: one rule per operator says which unit each entry of its output belongs to."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pruning.graph import Edge, Node, Param, Role, Source, Transfer, Value, leaves
from pruning.masks import Tensors
from pruning.units import NOBODY, Units, thin

# The unit of each entry, in float64; of each output where an operator has several. Whole numbers, NOBODY all
# of them, stand for positions, such as those that a sort gives: numbers that are no flow, and not 0 either.
Placed = Tensor | list[Tensor]
Shape = torch.Size | list[torch.Size]


@dataclass
class Places:
    """What the walk has found: the unit of each entry of each value, and what joins the units."""

    units: Units
    params: Tensors
    at: dict[str, Placed]
    edges: list[Edge] = field(default_factory=list)
    attached: list[Source] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)

    def of(self, arg: object) -> Tensor | None:
        """The places of an argument that is a single value, and no positions."""
        found = self.at.get(arg.name) if isinstance(arg, Value) else None
        return found if isinstance(found, Tensor) and found.dtype == torch.float64 else None


# A rule gets the shape that the node makes, or several, and gives None where it has nothing to say of the arguments.
Rule = Callable[[Node, Any, Places], Placed | None]


def place(node: Node, shape: Shape, places: Places) -> Placed:
    """The unit of each entry of what a node makes; where no rule fits, fresh units with an objection."""
    rule = RULES.get(node.kind)
    found = rule(node, shape, places) if rule and node.values() else None
    return _unknown(node, shape, places) if found is None else found


def _unknown(node: Node, shape: Shape, places: Places) -> Placed:
    text = f"{node.where}: {node.kind} is not known to be positively homogeneous of degree 1, unit by unit"
    operands = [places.at[name] for name in node.values()]
    for placed in operands:
        for part in [placed] if isinstance(placed, Tensor) else placed:
            places.units.object_to(part, text)
    if len(operands) == 1 and isinstance(operands[0], Tensor) and operands[0].shape == shape:
        return _by_somebody(operands[0].double(), text, places)  # such as tanh: the units stay, the law does not
    if isinstance(shape, list):
        return [_strange(s, text, places) for s in shape]
    return _strange(shape, text, places)


def _strange(shape: torch.Size, text: str, places: Places) -> Tensor:
    axis = min(1, len(shape) - 1)
    fresh = places.units.fresh(shape[axis] if shape else 1)
    places.units.object_to(fresh, text)
    return _along(fresh, max(axis, 0), shape) if shape else fresh.reshape(())


def _by_somebody(numbers: Tensor, text: str, places: Places) -> Tensor:
    """What an unknown operator makes of zeros may be anything."""
    fresh = places.units.fresh(1)
    places.units.object_to(fresh, text)
    slim = thin(numbers)
    return torch.where(slim == NOBODY, fresh, slim).expand(numbers.shape)


def _along(numbers: Tensor, axis: int, shape: torch.Size) -> Tensor:
    """One number per position of an axis, expanded to a shape."""
    return numbers.reshape(-1, *[1] * (len(shape) - axis - 1)).expand(shape)


# operators that move entries: run on the numbers themselves


def _moved(node: Node, shape: torch.Size, places: Places) -> Placed | None:
    numbers = {name: places.at[name] for name in node.values()}
    kinds = {n.dtype for n in numbers.values() if isinstance(n, Tensor)}
    params = {a.name for a in leaves([node.args, [a for _, a in node.kwargs]]) if isinstance(a, Param)}
    if len(kinds) > 1 or not all(places.params[n].is_floating_point() for n in params):
        return None
    entries = {name: places.units.fresh(places.params[name].numel()) for name in sorted(params)}
    entries = {name: e.reshape(places.params[name].shape) for name, e in entries.items()}
    for name, units in entries.items():  # such as a token for the class, set before the others
        places.attached.append(Source(name, node, units, Role.SHIFT))
    try:
        made = node.run(numbers, entries)  # type: ignore[arg-type]
    except RuntimeError:  # a view of entries that are not where it would look for them
        whole = {n: p.contiguous() if isinstance(p, Tensor) else p for n, p in numbers.items()}
        made = node.run(whole, entries)  # type: ignore[arg-type]
    return made if isinstance(made, Tensor) else list(made)


def _padded(node: Node, shape: torch.Size, places: Places) -> Placed | None:
    """Padding moves entries; zeros come from nobody."""
    mode = node.args[2] if node.kind == "pad" and len(node.args) > 2 else "constant"
    if mode != "constant":
        return _moved(node, shape, places)
    value = node.args[-1] if isinstance(node.args[-1], (int, float)) else 0
    numbers = places.of(node.args[0])
    if value != 0 or numbers is None:
        return None
    sides = node.args[1]
    assert isinstance(sides, (list, tuple))
    return torch.nn.functional.pad(numbers, [int(s) for s in sides], value=NOBODY)


# operators that carry each entry, or each unit, to itself


def _carried(node: Node, shape: torch.Size, places: Places) -> Placed | None:
    if node.kind.endswith("dropout") and node.args[2] is not False:
        return None  # at random
    if node.kind == "threshold" and node.args[2] != 0:
        return None
    if node.kind in ("clamp", "clamp_min") and node.args[1:] not in ((0,), (0.0,)):
        return None
    found = places.of(node.args[0])
    if found is None or len(node.values()) > 1 or found.shape != shape:
        return None
    slope = node.args[1] if node.kind == "prelu" else None
    if isinstance(slope, Param) and places.params[slope.name].numel() > 1:
        numbers = places.units.joined_along(found, [i for i in range(found.dim()) if i != 1])
        places.attached.append(Source(slope.name, node, numbers.flatten(), Role.SCALE))
    return found


def _windowed(node: Node, shape: Shape, places: Places) -> Placed | None:
    """Pools and interpolations: linear, or a choice, within each channel; some also say what they chose."""
    numbers = places.of(node.args[0])
    if numbers is None or len(node.values()) > 1:
        return None
    rank = next(int(c) for c in node.kind if c.isdigit())
    found = places.units.joined_along(numbers, range(numbers.dim() - rank, numbers.dim()))
    return [found.expand(shape[0]), _positions(shape[1])] if isinstance(shape, list) else found.expand(shape)


def _reduced(node: Node, shape: torch.Size, places: Places) -> Placed | None:
    """A sum, mean or maximum over some axes, or all."""
    numbers, axes = places.of(node.args[0]), _argument(node, 1)
    if numbers is None:
        return None
    listed = [axes] if isinstance(axes, int) else _sizes(axes or range(numbers.dim()))
    wanted = [a % numbers.dim() for a in listed]
    found = places.units.joined_along(numbers, wanted)
    return found if found.dim() == len(shape) else found.squeeze(wanted)


def _sorted(node: Node, shape: Shape, places: Places) -> Placed | None:
    """Entries in another order along an axis, and where they came from."""
    numbers = places.of(node.args[0])
    if numbers is None or not isinstance(shape, list):
        return None
    position = 2 if node.kind in ("topk", "kthvalue") else 1
    axis = dict(node.kwargs).get("dim", node.args[position] if len(node.args) > position else -1)
    assert isinstance(axis, int)
    found = places.units.joined_along(numbers, [axis % numbers.dim()])
    first = found if found.dim() == len(shape[0]) else found.squeeze(axis)
    return [first.expand(shape[0]), _positions(shape[1])]


def _positions(shape: torch.Size) -> Tensor:
    return torch.tensor(int(NOBODY)).expand(shape)


# sums and products


def _added(node: Node, shape: torch.Size, places: Places) -> Placed | None:
    first, second = node.args[:2]
    if isinstance(first, Param) or isinstance(second, Param):
        param, value = (first, second) if isinstance(first, Param) else (second, first)
        return _shifted(node, shape, places, param, value)
    a, b = places.of(first), places.of(second)
    if a is None or b is None:
        zero = isinstance(second, (int, float)) and second == 0
        return a.expand(shape) if a is not None and zero else None
    return _joined(a, b, shape, places)


def _joined(a: Tensor, b: Tensor, shape: torch.Size, places: Places) -> Tensor:
    places.units.join(a, b)
    rank = len(shape)
    slim = (thin(n.reshape((1,) * (rank - n.dim()) + tuple(n.shape))) for n in (a, b))
    return torch.maximum(*slim).expand(shape)  # where only one is somebody, that one


def _chosen(node: Node, shape: torch.Size, places: Places) -> Placed | None:
    """One of two entries, or 0 in place of one; what decides gets nothing back."""
    masks = node.kind == "masked_fill"
    first, second = (node.args[0], node.args[2]) if masks else node.args[-2:]
    a, b = places.of(first), places.of(second)
    if a is not None and b is not None:
        return _joined(a, b, shape, places)
    found, other = (a, second) if a is not None else (b, first)
    zero = isinstance(other, (int, float)) and other == 0
    return found.expand(shape) if found is not None and zero else None


def _shifted(node: Node, shape: torch.Size, places: Places, param: object, value: object) -> Placed | None:
    numbers = places.of(value)
    if numbers is None or not isinstance(param, Param):
        return None
    found = numbers.expand(shape)
    units = _attach(node, param, found, Role.SHIFT, places)
    slim = thin(found)  # zeros that something is added to are somebody's
    return torch.where(slim == NOBODY, units, slim).expand(shape) if bool((slim == NOBODY).any()) else found


def _attach(node: Node, param: Param, numbers: Tensor, role: Role, places: Places) -> Tensor:
    """The units of a parameter's entries."""
    units = places.units.joined_to(numbers, places.params[param.name].shape)
    units = torch.where(units == NOBODY, places.units.fresh(units.numel()).reshape(units.shape), units)
    places.attached.append(Source(param.name, node, units, role))
    return units


def _multiplied(node: Node, shape: torch.Size, places: Places) -> Placed | None:
    if node.kwargs:  # a division that rounds
        return None
    first, second = node.args[:2]
    a, b = places.of(first), places.of(second)
    if a is not None and b is not None:
        return _product(node, shape, places, [(a, 1.0), (b, 1.0 if node.kind == "mul" else -1.0)])
    numbers = a if a is not None else b if node.kind == "mul" else None
    if numbers is None:
        return None
    found = numbers.expand(shape)
    for param in (arg for arg in (first, second) if isinstance(arg, Param)):
        if places.params[param.name].numel() > 1:  # one number for all units is no unit's own
            _attach(node, param, found, Role.SCALE, places)
    return found


def _product(node: Node, shape: torch.Size, places: Places, factors: Sequence[tuple[Tensor, float]]) -> Tensor:
    """Fresh units for each combination of the factors' units, and what they pass back to each."""
    alike = [i for i in range(len(shape)) if all(f.expand(shape).stride(i) == 0 for f, _ in factors)]
    slim = torch.Size(1 if i in alike else n for i, n in enumerate(shape))
    parts = [_thinned(f.expand(shape), alike).flatten() for f, _ in factors]
    combined, which = torch.unique(torch.stack(parts), dim=1, return_inverse=True)
    zero, degrees = combined == NOBODY, torch.tensor([degree for _, degree in factors])
    made = places.units.fresh(combined.shape[1])
    text = f"{node.where}: {node.kind} is no product where an operand is padding"
    places.units.object_to(made[(zero & (degrees <= 0).unsqueeze(1)).any(0)], text)
    made = torch.where((zero & (degrees > 0).unsqueeze(1)).any(0), NOBODY, made)
    for tails, (_, degree) in zip(combined, factors, strict=True):
        known = (tails != NOBODY) & (made != NOBODY)
        places.transfers.append(Transfer(node, tails[known], made[known], degree))
    return made[which].reshape(slim).expand(shape)


def _thinned(numbers: Tensor, axes: Sequence[int]) -> Tensor:
    for axis in axes:
        numbers = numbers.narrow(axis, 0, 1)
    return numbers


def _power(node: Node, shape: torch.Size, places: Places) -> Placed | None:
    degrees = {"square": 2.0, "sqrt": 0.5, "rsqrt": -0.5, "reciprocal": -1.0}
    degree = degrees.get(node.kind) or (node.args[1] if len(node.args) > 1 else None)
    numbers = places.of(node.args[0])
    if numbers is None or not isinstance(degree, (int, float)):
        return None
    return _product(node, shape, places, [(numbers, float(degree))])


def _stopped(node: Node, shape: torch.Size, places: Places) -> Placed | None:
    """Signs and comparisons: steps, which pass nothing back."""
    factors = [(numbers, 0.0) for a in node.args if (numbers := places.of(a)) is not None]
    return _product(node, shape, places, factors) if len(factors) == len(node.values()) else None


# weights


def _linear(node: Node, shape: torch.Size, places: Places) -> Placed | None:
    return _weighted(node, shape, places, node.args[0], node.args[1], *node.args[2:3], axis=-1, transposed=False)


def _addmm(node: Node, shape: torch.Size, places: Places) -> Placed | None:
    if node.kwargs:
        return None
    return _weighted(node, shape, places, node.args[1], node.args[2], node.args[0], axis=-1, transposed=True)


def _convolution(node: Node, shape: torch.Size, places: Places) -> Placed | None:
    transposed = "transpose" in node.kind
    groups = _argument(node, 6) or 1
    numbers, weight = places.of(node.args[0]), node.args[1]
    if numbers is None or not isinstance(weight, Param) or numbers.dim() != places.params[weight.name].dim():
        return None  # without a batch axis
    assert isinstance(groups, int)
    bias = node.args[2:3]
    return _weighted(node, shape, places, node.args[0], weight, *bias, axis=1, transposed=transposed, groups=groups)


def _weighted(
    node: Node,
    shape: torch.Size,
    places: Places,
    x: object,
    weight: object,
    bias: object = None,
    *,
    axis: int,
    transposed: bool,
    groups: int = 1,
) -> Placed | None:
    numbers = places.of(x)
    if numbers is None or not isinstance(weight, Param) or places.params[weight.name].dim() < 2:
        return None
    size = tuple(places.params[weight.name].shape)
    axis %= numbers.dim()
    tails = places.units.joined_along(numbers, [i for i in range(numbers.dim()) if i != axis]).flatten()
    heads = places.units.fresh(size[1] * groups if transposed else size[0])
    tails = torch.where(tails == NOBODY, places.units.fresh(1), tails)
    places.edges.append(Edge(weight.name, node, size, heads, tails, groups, transposed))
    made = _along(heads, axis, shape)
    if isinstance(bias, Param) and places.params[bias.name].numel() == len(heads):
        places.attached.append(Source(bias.name, node, heads.reshape(places.params[bias.name].shape), Role.SHIFT))
    elif isinstance(bias, Param):
        _attach(node, bias, made, Role.SHIFT, places)
    elif isinstance(bias, Value) and (added := places.of(bias)) is not None:
        places.units.join(added, made)
    elif isinstance(bias, Value):
        places.units.object_to(heads, f"{node.where}: the bias of {node.kind} is no flow")
    return made


def _embedded(node: Node, shape: torch.Size, places: Places) -> Placed | None:
    """Rows of a table: what they say enters here, as from a norm's gain; the index gets nothing back."""
    table = node.args[0]
    if not isinstance(table, Param) or len(node.args) > 2:  # with a row for padding that has no slope
        return None
    fresh = places.units.fresh(shape[-1])
    places.attached.append(Source(table.name, node, fresh.expand(places.params[table.name].shape), Role.GAIN))
    return _along(fresh, len(shape) - 1, shape)


def _matmul(node: Node, shape: torch.Size, places: Places) -> Placed | None:
    """Linear in each factor: the second one's columns go through; what the first one's entries carry is not known."""
    second = node.args[1]
    if isinstance(second, Param):
        flat = places.params[second.name].dim() == 2
        return _weighted(node, shape, places, node.args[0], second, axis=-1, transposed=True) if flat else None
    a, b = places.of(node.args[0]), places.of(second)
    if a is None or b is None or a.dim() < 2 or b.dim() < 2:
        return None
    places.units.object_to(a, f"{node.where}: {node.kind} multiplies by it")
    return places.units.joined_along(b, [b.dim() - 2]).expand(shape)


def _attention(node: Node, shape: torch.Size, places: Places) -> Placed | None:
    """The values pass through, whatever the queries and keys, and a mask that is computed, make of them."""
    q, k, v = (places.of(a) for a in node.args[:3])
    if q is None or k is None or v is None or _argument(node, 4):  # that one drops weights at random
        return None
    for name in (a.name for a in (*node.args[:2], _argument(node, 3)) if isinstance(a, Value)):
        for numbers in [placed] if isinstance(placed := places.at[name], Tensor) else placed:
            places.units.object_to(numbers, f"{node.where}: attention takes its weights from it, by softmax")
    if dict(node.kwargs).get("enable_gqa"):  # each head of values for a group of queries
        v = v.repeat_interleave(shape[-3] // v.shape[-3], dim=-3)
    return places.units.joined_along(v, [v.dim() - 2]).expand(shape)


# norms


def _normalised(node: Node, shape: torch.Size, places: Places) -> Placed | None:
    """What a norm makes is fresh: next to nothing of what enters goes through, its gain and shift start anew."""
    numbers = places.of(node.args[0])
    if numbers is None or len(node.values()) > 1:
        return None
    gain, shift = _NORM_PARAMETERS[node.kind](node)
    text = f"{node.where}: {node.kind} lets no saliency through unit by unit"
    places.units.object_to(numbers, text)
    last = node.kind in ("layer_norm", "rms_norm")
    axes = len(_sizes(node.args[1])) if last else 1
    kept = torch.Size(shape[-axes:]) if last else torch.Size(shape[1:2])
    fresh = places.units.fresh(math.prod(kept))
    made = fresh.reshape(kept).expand(shape) if last else _along(fresh, 1, shape)
    if not isinstance(gain, Param):
        places.units.object_to(fresh, f"{node.where}: {node.kind} has no gain, so what leaves it is not known")
    for param, role in ((gain, Role.GAIN), (shift, Role.SHIFT)):
        if isinstance(param, Param):
            places.attached.append(Source(param.name, node, fresh.reshape(places.params[param.name].shape), role))
    return made


def _sizes(arg: object) -> Sequence[int]:
    assert isinstance(arg, Sequence)
    return [int(a) for a in arg]


def _argument(node: Node, position: int) -> object:
    return node.args[position] if len(node.args) > position else None


_NORM_PARAMETERS: dict[str, Callable[[Node], tuple[object, object]]] = {
    "layer_norm": lambda n: (_argument(n, 2), _argument(n, 3)),
    "rms_norm": lambda n: (_argument(n, 2), None),
    "group_norm": lambda n: (_argument(n, 2), _argument(n, 3)),
    "instance_norm": lambda n: (_argument(n, 1), _argument(n, 2)),
    "batch_norm": lambda n: (_argument(n, 1), _argument(n, 2)),
}

_MOVES = """
    view reshape flatten unflatten permute transpose t unsqueeze squeeze expand expand_as slice select narrow split
    split_with_sizes chunk unbind getitem cat stack repeat repeat_interleave flip roll pixel_shuffle pixel_unshuffle
    channel_shuffle unfold movedim swapaxes _unsafe_view
    reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d
"""
_CARRIES = """
    relu leaky_relu abs neg clone alias contiguous prelu threshold hardshrink clamp clamp_min type_as
    dropout feature_dropout alpha_dropout feature_alpha_dropout
"""
_WINDOWS = """
    max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
    adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
    max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices
    upsample_nearest1d upsample_nearest2d upsample_nearest3d
    _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d
    upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d
"""
RULES: dict[str, Rule] = {
    **dict.fromkeys(_MOVES.split(), _moved),
    **dict.fromkeys(_CARRIES.split(), _carried),
    **dict.fromkeys(_WINDOWS.split(), _windowed),
    **dict.fromkeys(("pad", "constant_pad_nd"), _padded),
    **dict.fromkeys(("mean", "sum", "amax", "amin"), _reduced),
    **dict.fromkeys(("sort", "topk", "kthvalue", "median", "max", "min"), _sorted),
    **dict.fromkeys(("add", "sub"), _added),
    **dict.fromkeys(("maximum", "minimum", "where", "masked_fill"), _chosen),
    **dict.fromkeys(("mul", "div"), _multiplied),
    **dict.fromkeys(("pow", "square", "sqrt", "rsqrt", "reciprocal"), _power),
    **dict.fromkeys(("sign", "sgn", "eq", "ne", "lt", "le", "gt", "ge"), _stopped),
    **dict.fromkeys(("matmul", "mm", "bmm"), _matmul),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _convolution),
    **dict.fromkeys(_NORM_PARAMETERS, _normalised),
    "linear": _linear,
    "addmm": _addmm,
    "embedding": _embedded,
    "scaled_dot_product_attention": _attention,
}
