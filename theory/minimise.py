"""Minimising: from a problem that breaks a law to a small one that still does, by greedy steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch

from theory.networks.shape import Act, Conv, Dense, Flatten, Layer, Pool, Shape, parameter_count
from theory.networks.spec import NetSpec

Breaks = Callable[[NetSpec], bool]

RUNS = 5  # where fewer units are kept, the first few runs of them are tried: some break the law and some don't


def minimise(spec: NetSpec, breaks: Breaks, *, whole_numbers: bool) -> NetSpec:
    """The smallest problem found from `spec` by steps that keep `breaks` true.

    Steps: one sample, fewer layers, fewer units (half of them, then one by one), no biases, smaller
    kernels and inputs; then each number to 1, -1 or 2 (`whole_numbers`), or to two digits.
    Each step is judged anew, so a step may put in any weights it likes.
    """
    start, before = spec, None
    while before != spec:  # plainer numbers may let a unit go that was needed before
        before = spec
        spec = _plain_numbers(_smallest(spec, breaks), breaks, whole_numbers)
    # without a stride or a pool a linear layer behind it grows, and not every such step pays off
    return spec if parameter_count(spec.shape) <= parameter_count(start.shape) else start


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
    """Leave out a weighted layer with the activation behind it; its neighbour takes over its inputs."""
    layers = spec.shape.layers
    weighted = [i for i, layer in enumerate(layers) if isinstance(layer, (Dense, Conv))]
    for i in weighted if len(weighted) > 2 else []:
        end = next((j for j in range(i + 1, len(layers)) if isinstance(layers[j], (Dense, Conv, Flatten))), None)
        if end is not None:
            yield from _rebuilt(spec, [j for j in range(len(layers)) if not i <= j < end])
    for i, layer in enumerate(layers):
        if isinstance(layer, Pool):
            yield from _rebuilt(spec, [j for j in range(len(layers)) if j != i])


def _simpler_layers(spec: NetSpec) -> Iterator[NetSpec]:
    layers = spec.shape.layers
    for i, layer in enumerate(layers):
        if isinstance(layer, (Dense, Conv)) and layer.bias:
            yield from _refitted(spec, i, replace(layer, bias=False))
    for i, layer in enumerate(layers):
        if isinstance(layer, Conv):
            if layer.groups > 1:
                yield from _refitted(spec, i, replace(layer, groups=1))
            if layer.kernel > 1:
                yield from _refitted(spec, i, replace(layer, kernel=1, padding=0))
            if layer.stride > 1:
                yield from _refitted(spec, i, replace(layer, stride=1))
            if layer.padding:
                yield from _refitted(spec, i, replace(layer, padding=0))
    if len(spec.shape.input) == 3 and spec.shape.input[1] > 1:
        smaller = (spec.shape.input[0], *(side // 2 for side in spec.shape.input[1:]))
        yield from _fitted(replace(spec.shape, input=smaller), spec, list(range(len(layers))))


def _fewer_units(spec: NetSpec) -> Iterator[NetSpec]:
    """Fewer outputs of each weighted layer, and fewer inputs: one, two, half, one less; of what is there, any run."""
    layers, keep = spec.shape.layers, list(range(len(spec.shape.layers)))
    channels = spec.shape.input[0]
    for first in range(RUNS):
        for fewer in _less(channels):
            yield from _fitted(replace(spec.shape, input=(fewer, *spec.shape.input[1:])), spec, keep, first)
        for i, layer in enumerate(layers):
            if isinstance(layer, (Dense, Conv)):
                for fewer in _less(layer.outputs):
                    yield from _refitted(spec, i, replace(layer, outputs=fewer), first)


def _less(count: int) -> list[int]:
    return sorted({n for n in (1, 2, count // 2, count - 1) if 0 < n < count})


def _refitted(spec: NetSpec, index: int, layer: Layer, first: int = 0) -> Iterator[NetSpec]:
    layers = list(spec.shape.layers)
    layers[index] = layer
    yield from _fitted(replace(spec.shape, layers=tuple(layers)), spec, list(range(len(layers))), first)


def _rebuilt(spec: NetSpec, keep: list[int]) -> Iterator[NetSpec]:
    layers = tuple(spec.shape.layers[j] for j in keep)
    yield from _fitted(replace(spec.shape, layers=layers), spec, keep)


def _fitted(shape: Shape, spec: NetSpec, origin: list[int], first: int = 0) -> Iterator[NetSpec]:
    """The shape with its layers' inputs made to fit, and the old numbers from `first` on cut or tiled into it."""
    fitting = _with_fitting_inputs(shape)
    if fitting is None:
        return
    values: dict[str, Any] = {}
    for name, size in fitting.parameters().items():
        index, kind = name.split(".")
        old = spec.values.get(f"{origin[int(index)]}.{kind}")
        values[name] = _tiled(old, size, first).tolist()
    outputs = int(str(fitting).rsplit("-", 1)[-1])
    inputs = None if spec.inputs is None else _tiled(spec.inputs, (fitting.samples, *fitting.input), first).tolist()
    targets = spec.targets
    if targets is not None and spec.loss == "cross-entropy":
        targets = [t % outputs for t in targets]
    elif targets is not None:
        targets = _tiled(targets, (fitting.samples, outputs), first).tolist()
    yield replace(spec, shape=fitting, values=values, inputs=inputs, targets=targets)


def _with_fitting_inputs(shape: Shape) -> Shape | None:
    """Each layer's inputs taken from what comes before it; None where sizes run out."""
    channels, sides = shape.input[0], shape.input[1:]
    layers: list[Layer] = []
    for layer in shape.layers:
        if isinstance(layer, Conv):
            groups = layer.groups if channels % layer.groups == 0 == layer.outputs % layer.groups else 1
            layer = replace(layer, inputs=channels, groups=groups)
            side = (sides[0] + 2 * layer.padding - layer.kernel) // layer.stride + 1
            sides, channels = (side, side), layer.outputs
        elif isinstance(layer, Pool):
            sides = (sides[0] // layer.size,) * 2
        elif isinstance(layer, Flatten):
            channels, sides = channels * sides[0] * sides[1], ()
        elif isinstance(layer, Dense):
            layer = replace(layer, inputs=channels)
            channels = layer.outputs
        if channels < 1 or any(side < 1 for side in sides):
            return None
        layers.append(layer)
    return None if sides or isinstance(layers[-1], Act) else replace(shape, layers=tuple(layers))


def _tiled(old: Any, size: tuple[int, ...], first: int) -> torch.Tensor:
    """The numbers of `old`, from `first` on, cut or repeated along each axis into `size`."""
    tensor = torch.tensor(old, dtype=torch.float64)
    while tensor.dim() < len(size):
        tensor = tensor.unsqueeze(-1)
    for axis, length in enumerate(size):
        tensor = tensor.index_select(axis, (torch.arange(length) + first) % tensor.shape[axis])
    return tensor


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


def _plain_tensor(
    spec: NetSpec, kind: str, name: str | None, numbers: torch.Tensor, breaks: Breaks, whole: bool
) -> NetSpec:
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
