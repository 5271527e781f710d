"""What SynFlow's objective loses with one weight taken out, in exact fractions, without any derivative."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import reduce
from typing import Any

from theory.networks.layers import Act, Branches, Conv, Dense, Flatten, Layer, Norm, Pool, PReLU, Resize, TokenMean
from theory.networks.spec import NetSpec
from theory.oracles.planes import convolved, pooled, resized

Line = list[Fraction]
Plane = list[Line]  # rows, columns; or tokens, features
Nested = Any  # a Line, a Plane or channels of Planes

_SAME: tuple[str, ...] = ("relu", "leaky", "abs")  # for what is not negative
_POWERS = {"square": 2, "relu2": 2, "relu3": 3}
_JOINS: Mapping[str, Callable[[Fraction, Fraction], Fraction]] = {
    "sum": lambda a, b: a + b,
    "product": lambda a, b: a * b,
    "min": min,
}


def leave_one_out(spec: NetSpec, name: str, place: tuple[int, ...]) -> Fraction:
    """R - R(w := 0) for the weight at `place` of the parameter `name`, wherever it is used."""
    return objective(spec) - objective(spec, (name, place))


def objective(spec: NetSpec, without: tuple[str, tuple[int, ...]] | None = None) -> Fraction:
    """R: the sum of the outputs for an input of ones under weights and scales |w| and no biases or shifts.

    `without`: a weight that counts as zero. Raises ValueError for a layer that fractions don't go through.
    """
    weights = {name: _absolute(numbers) for name, numbers in spec.values.items()}
    if without:
        _clear(weights[without[0]], without[1])
    return sum(_entries(_run(spec.shape.layers, weights, _ones(spec.shape.input), "")), Fraction())


def _run(layers: tuple[Layer, ...], weights: Mapping[str, Any], x: Nested, path: str) -> Nested:
    for i, layer in enumerate(layers):
        x = _evaluated(layer, weights, x, f"{path}{i}")
    return x


def _evaluated(layer: Layer, weights: Mapping[str, Any], x: Nested, name: str) -> Nested:
    match layer:
        case Dense():
            return _dense(weights[f"{layer.tied or name}.weight"], x)
        case Conv():
            return convolved(weights[f"{name}.weight"], layer, x)
        case Pool("max" | "avg"):
            return [pooled(channel, layer) for channel in x]
        case Resize():
            return resized(layer, x)
        case Flatten():
            return _entries(x)
        case TokenMean():
            return [sum(column, Fraction()) / len(x) for column in zip(*x, strict=True)]
        case Norm("batch"):
            scales = _entries(weights[f"{name}.scale"])
            return [_each(lambda n, s=s: n * s, channel) for s, channel in zip(scales, x, strict=True)]
        case PReLU():
            return x
        case Act(kind) if kind in _SAME:
            return x
        case Act("threshold"):
            return _each(lambda n: n if n > 1 else Fraction(), x)
        case Act(kind) if kind in _POWERS:
            return _each(lambda n: n ** _POWERS[kind], x)
        case Branches(join) if join == "cat" or join in _JOINS:
            made = [_run(branch, weights, x, f"{name}.{b}.") for b, branch in enumerate(layer.branches)]
            return _joined(join, made)
        case _:
            raise ValueError(f"the objective through {layer} has no exact value")


def _ones(size: tuple[int, ...]) -> Nested:
    return [_ones(size[1:]) for _ in range(size[0])] if size else Fraction(1)


def _absolute(numbers: Any) -> Any:
    return [_absolute(n) for n in numbers] if isinstance(numbers, list) else abs(Fraction(numbers))


def _clear(weight: Any, place: tuple[int, ...]) -> None:
    for index in place[:-1]:
        weight = weight[index]
    weight[place[-1]] = Fraction()


def _each(change: Callable[..., Fraction], *values: Nested) -> Nested:
    """A function of one or more values, entry by entry."""
    if isinstance(values[0], list):
        return [_each(change, *entries) for entries in zip(*values, strict=True)]
    return change(*values)


def _entries(value: Nested) -> Line:
    return [entry for part in value for entry in _entries(part)] if isinstance(value, list) else [value]


def _joined(join: str, made: list[Nested]) -> Nested:
    if join != "cat":
        return reduce(lambda a, b: _each(_JOINS[join], a, b), made)
    of_tokens = isinstance(made[0][0], list) and not isinstance(made[0][0][0], list)
    if of_tokens:
        return [_joined("cat", list(parts)) for parts in zip(*made, strict=True)]
    return [entry for part in made for entry in part]


def _dense(weight: Plane, x: Nested) -> Nested:
    if isinstance(x[0], list):
        return [_dense(weight, token) for token in x]
    return [sum((w * n for w, n in zip(row, x, strict=True)), Fraction()) for row in weight]
