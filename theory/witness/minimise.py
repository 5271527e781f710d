"""Minimising: from a problem that breaks a law to a small one that still does, by greedy steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from theory.networks.layers import Attention, Branches, Conv, Layer, Misfit, Norm, Pool, Resize, Size
from theory.networks.shape import Shape, parameter_count
from theory.networks.spec import NetSpec

Breaks = Callable[[NetSpec], bool]

TRIES = 500  # problems that are tried at most: built-in pruners need 206, a slow one took minutes over 1,205
RUNS = 5  # where fewer units are kept, the first few runs of them are tried: some break the law and some don't


def minimise(spec: NetSpec, breaks: Breaks, *, whole_numbers: bool, tries: int = TRIES) -> NetSpec:
    """The smallest problem found from `spec` by steps that keep `breaks` true, in so many tries.

    Steps: one sample, fewer layers and branches, fewer units (half of them, then one by one), no biases,
    smaller kernels and inputs; then each number to 1, -1 or 2 (`whole_numbers`), or to two digits.
    Each step is judged anew, so a step may put in any weights it likes.
    """
    start, before = spec, None
    breaks = _at_most(tries, breaks)
    while before != spec:  # plainer numbers may let a unit go that was needed before
        before = spec
        spec = _plain_numbers(_smallest(spec, breaks), breaks, whole_numbers)
    # without a stride or a pool a linear layer behind it grows, and not every such step pays off
    return spec if parameter_count(spec.shape) <= parameter_count(start.shape) else start


def _at_most(tries: int, breaks: Breaks) -> Breaks:
    """The same, for so many problems; after these none breaks."""
    left = iter(range(tries))
    return lambda spec: next(left, None) is not None and breaks(spec)


def _smallest(spec: NetSpec, breaks: Breaks) -> NetSpec:
    changed = True
    while changed:
        changed = False
        for step in (_fewer_samples, _fewer_layers, _simpler_layers, _fewer_units):
            found = _first(step(spec), breaks)
            while found is not None:
                spec, changed = found, True
                found = _first(step(spec), breaks)
    return spec


def _first(candidates: Iterator[NetSpec], breaks: Breaks) -> NetSpec | None:
    return next((c for c in candidates if breaks(c)), None)


# layers with their numbers, so that they can be moved about


@dataclass(frozen=True)
class Filled:
    """A layer with the numbers of its parameters; where it has branches, those with theirs."""

    layer: Layer
    values: dict[str, Any]
    branches: tuple[tuple[Filled, ...], ...] = ()

    @property
    def is_weighted(self) -> bool:
        """Whether it holds a weight or branches."""
        return hasattr(self.layer, "outputs") or bool(self.branches)


Tree = tuple[Filled, ...]


def _filled(layers: Sequence[Layer], values: dict[str, Any], path: str = "") -> Tree:
    def one(i: int, layer: Layer) -> Filled:
        at = f"{path}{i}."
        if isinstance(layer, Branches):
            parts = (_filled(branch, values, f"{at}{b}.") for b, branch in enumerate(layer.branches))
            return Filled(layer, {}, tuple(parts))
        return Filled(layer, {name: values[at + name] for name in layer.parameters()})

    return tuple(one(i, layer) for i, layer in enumerate(layers))


def _layers(tree: Tree) -> tuple[Layer, ...]:
    return tuple(
        replace(f.layer, branches=tuple(map(_layers, f.branches))) if isinstance(f.layer, Branches) else f.layer
        for f in tree
    )


def _values(tree: Tree, path: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for i, one in enumerate(tree):
        found |= {f"{path}{i}.{name}": v for name, v in one.values.items()}
        for b, branch in enumerate(one.branches):
            found |= _values(branch, f"{path}{i}.{b}.")
    return found


def _fitted(spec: NetSpec, tree: Tree, first: int = 0, size: Size | None = None) -> Iterator[NetSpec]:
    """The tree as a problem: layers made to fit, and the old numbers from `first` on cut or tiled into them."""
    try:
        shape = Shape(_layers(tree), size or spec.shape.input, spec.shape.samples).fitted()
        output = shape.output
        old = _values(tree)
        values = {name: _tiled(old[name], wanted, first).tolist() for name, wanted in shape.parameters().items()}
    except (Misfit, KeyError):  # a tied layer may have lost its partner
        return
    inputs = None if spec.inputs is None else _tiled(spec.inputs, (shape.samples, *shape.input), first).tolist()
    targets = spec.targets
    if targets is not None and spec.loss == "cross-entropy":
        targets = [t % output[-1] for t in targets]
    elif targets is not None:
        targets = _tiled(targets, (shape.samples, *output), first).tolist()
    yield replace(spec, shape=shape, values=values, inputs=inputs, targets=targets)


def _everywhere(tree: Tree, edit: Callable[[Tree], Iterator[Tree]]) -> Iterator[Tree]:
    """The tree with one edit, made in it or in one of its branches."""
    yield from edit(tree)
    for i, one in enumerate(tree):
        for b, branch in enumerate(one.branches):
            for edited in _everywhere(branch, edit):
                branches = (*one.branches[:b], edited, *one.branches[b + 1 :])
                yield (*tree[:i], replace(one, branches=branches), *tree[i + 1 :])


# the steps


def _fewer_samples(spec: NetSpec) -> Iterator[NetSpec]:
    count = spec.shape.samples
    for i in range(count if count > 1 else 0):
        yield replace(
            spec,
            shape=replace(spec.shape, samples=1),
            inputs=None if spec.inputs is None else [spec.inputs[i]],
            targets=None if spec.targets is None else [spec.targets[i]],
        )


def _fewer_layers(spec: NetSpec) -> Iterator[NetSpec]:
    """Without a weighted layer and what follows it, without an activation or pool, a branch instead of all."""
    for tree in _everywhere(_filled(spec.shape.layers, spec.values), _shortened):
        if sum(one.is_weighted for one in tree) > 1:
            yield from _fitted(spec, tree)


def _shortened(tree: Tree) -> Iterator[Tree]:
    for i, one in enumerate(tree):
        for branch in one.branches:
            yield (*tree[:i], *branch, *tree[i + 1 :])
        if len(one.branches) > 2:
            for b in range(len(one.branches)):
                fewer = (*one.branches[:b], *one.branches[b + 1 :])
                yield (*tree[:i], replace(one, branches=fewer), *tree[i + 1 :])
        if one.is_weighted:
            behind = (j for j in range(i + 1, len(tree)) if _stays(tree[j]))
            yield (*tree[:i], *tree[next(behind, len(tree)) :])
        elif isinstance(one.layer, (Pool, Norm, Resize)):
            yield (*tree[:i], *tree[i + 1 :])


def _stays(one: Filled) -> bool:
    return one.is_weighted or type(one.layer).__name__ in ("Flatten", "TokenMean")


def _simpler_layers(spec: NetSpec) -> Iterator[NetSpec]:
    for tree in _everywhere(_filled(spec.shape.layers, spec.values), _simplified):
        yield from _fitted(spec, tree)
    channels, *sides = spec.shape.input
    if sides and max(sides) > 1:
        for smaller in {tuple(max(1, n // 2) for n in sides), tuple(max(1, n - 1) for n in sides)}:
            yield from _fitted(spec, _filled(spec.shape.layers, spec.values), size=(channels, *smaller))


# what makes a layer simpler, tried in this order
_PLAIN: dict[type, list[dict[str, Any]]] = {
    Conv: [{"groups": 1}, {"kernel": 1, "padding": 0}, {"stride": 1}, {"padding": 0}, {"dilation": 1}],
    Attention: [{"rope": False}, {"qk_norm": False}, {"causal": False}, {"heads": 1, "kv_heads": 1}, {"width": 1}],
}


def _simplified(tree: Tree) -> Iterator[Tree]:
    for i, one in enumerate(tree):
        names = {f.name for f in fields(one.layer)}  # type: ignore[arg-type]
        for plain in ([{"bias": False}] if "bias" in names else []) + _PLAIN.get(type(one.layer), []):
            if any(getattr(one.layer, name) != value for name, value in plain.items()):
                simple = replace(one.layer, **plain)  # type: ignore[type-var]
                yield (*tree[:i], replace(one, layer=simple), *tree[i + 1 :])


def _fewer_units(spec: NetSpec) -> Iterator[NetSpec]:
    """Fewer outputs of each weighted layer, and fewer inputs: one, two, half, one less; of what is there, any run."""
    tree = _filled(spec.shape.layers, spec.values)
    tokens = len(spec.shape.input) == 2
    *before, units = spec.shape.input if tokens else spec.shape.input[:1]
    for first in range(RUNS):
        for fewer in _less(units):
            size = (*before, fewer) if tokens else (fewer, *spec.shape.input[1:])
            yield from _below(spec, _fitted(spec, tree, first, size))
        for narrowed in _everywhere(tree, _narrowed):
            yield from _below(spec, _fitted(spec, narrowed, first))


def _below(spec: NetSpec, candidates: Iterator[NetSpec]) -> Iterator[NetSpec]:
    """Those that are smaller: what is tied to a wider layer was made to fit again."""
    return (c for c in candidates if _numbers(c.shape) < _numbers(spec.shape))


def _numbers(shape: Shape) -> int:
    return parameter_count(shape) + math.prod(shape.input)


def _narrowed(tree: Tree) -> Iterator[Tree]:
    for i, one in enumerate(tree):
        for name in ("outputs", "width"):
            if not isinstance(one.layer, Attention) or name == "outputs":
                for fewer in _less(getattr(one.layer, name, 0)):
                    narrow = replace(one.layer, **{name: fewer})  # type: ignore[type-var]
                    yield (*tree[:i], replace(one, layer=narrow), *tree[i + 1 :])


def _less(count: int) -> list[int]:
    return sorted({n for n in (1, 2, count // 2, count - 1) if 0 < n < count})


def _tiled(old: Any, size: Size, first: int) -> Tensor:
    """The numbers of `old`, from `first` on, cut or repeated along each axis into `size`."""
    tensor = torch.tensor(old, dtype=torch.float64)
    while tensor.dim() > len(size):
        tensor = tensor[..., 0]
    while tensor.dim() < len(size):
        tensor = tensor.unsqueeze(-1)
    for axis, length in enumerate(size):
        tensor = tensor.index_select(axis, (torch.arange(length) + first) % tensor.shape[axis])
    return tensor


# plainer numbers


def _plain_numbers(spec: NetSpec, breaks: Breaks, whole: bool) -> NetSpec:
    for kind in ("values", "inputs", "targets"):
        if kind == "targets" and spec.loss == "cross-entropy":
            continue
        holder = getattr(spec, kind)
        for name in holder if kind == "values" else [None]:
            numbers = holder[name] if name else holder
            if numbers is not None:
                spec = _plain_tensor(spec, kind, name, torch.tensor(numbers, dtype=torch.float64), breaks, whole)
    return spec


def _plain_tensor(spec: NetSpec, kind: str, name: str | None, numbers: Tensor, breaks: Breaks, whole: bool) -> NetSpec:
    flat = numbers.flatten()
    for i in range(flat.numel()):
        wanted = [1.0, -1.0, 2.0] if whole else [float(f"{float(flat[i]):.2g}")]
        for value in wanted:
            if float(flat[i]) == value:
                break
            candidate_flat = flat.clone()
            candidate_flat[i] = value
            candidate = _with_numbers(spec, kind, name, candidate_flat.view(numbers.shape).tolist())
            if breaks(candidate):
                spec, flat = candidate, candidate_flat
                break
    return spec


def _with_numbers(spec: NetSpec, kind: str, name: str | None, numbers: Any) -> NetSpec:
    if name is None:
        return replace(spec, **{kind: numbers})
    return replace(spec, values={**spec.values, name: numbers})
