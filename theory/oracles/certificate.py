"""A second opinion on a certificate: the flow through the network in plain numpy, round by round.

Trusted is the trace: which operator of the network reads what. The mass of a round is found as the slope of R along the
weights that fell in it, forward through the network: nothing is scored, and no weight looked at by itself.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[Any]
Call = tuple[str, str, tuple[Any, ...]]  # name, operator, arguments: ("value", name), ("param", name), or themselves
TINY = 2.0**-1022  # below it products lose digits
SAME = ("relu", "leaky_relu", "abs", "dropout", "contiguous", "clone", "alias")  # of numbers that are not negative


class Refused(ValueError):
    """A certificate that is not what a run of this network leaves, or a network that is not known here."""


@dataclass(frozen=True)
class Finding:
    """Per round what was pruned, R before it, and the share of R that is left over when roundings are taken off.

    failed: the first round in which a cut could have been emptied, else None; after: R behind it, or at the end; died:
    the round behind which nothing flows, else None.
    """

    mass: Array
    cut: Array
    margin: Array
    failed: int | None
    after: float
    died: int | None


def recheck(
    said: Mapping[str, Any], held: Mapping[str, Array], calls: Sequence[Call], params: Mapping[str, Array],
    shape: tuple[int, ...], on_round: Callable[[int, int], None],
) -> Finding:  # fmt: skip
    """What a certificate says, found again. params: in float64, as scores read them. Raises Refused."""
    if said["network"] != _digest((n, params[n]) for n in sorted(params)):
        raise Refused("it is of another network: of other weights, norms or constants")
    sizes = {n: np.abs(params[n]) for n, _ in said["layers"]}
    parts = np.split(held["died"], np.cumsum([w.size for w in sizes.values()])[:-1])
    died = {n: part.reshape(sizes[n].shape) for n, part in zip(sizes, parts, strict=True)}
    if said["masks"] != _digest((n, d == 0) for n, d in died.items()):
        raise Refused("its masks are not those that it is bound to")
    rounds, rows = len(held["mass"]), np.zeros((3, len(held["mass"]) + 1))
    if not {*np.unique(held["died"]).tolist()} <= {*range(-1, rounds + 1)}:
        raise Refused(f"weights fall outside its {rounds} rounds")
    for r in range(1, rounds + 2):
        there = {n: w * ((died[n] == 0) | (died[n] >= r)) for n, w in sizes.items()}
        cut, mass, k = flow(calls, {**params, **there}, {n: w * (died[n] == r) for n, w in there.items()}, shape)
        if not math.isfinite(cut + mass):
            raise Refused(f"R overflows float64 in round {r}: scale weights by powers of two, and prune again")
        rows[:, r - 1] = mass, cut, (1 - mass / cut if cut else -1) - _gamma(2 * k + 2)
        if r <= rounds:
            _compare(said, held, r, held["died"], mass, cut, k)
            on_round(r, rounds)
    failed = next((r for r in range(1, rounds + 1) if rows[2, r - 1] <= 0), None)
    after, died_in = float(rows[1, rounds if failed is None else failed]), np.flatnonzero(rows[1] == 0)
    return Finding(*rows[:, :-1], failed, after, int(died_in[0]) if len(died_in) else None)  # type: ignore[call-arg]


def _compare(
    said: Mapping[str, Any], held: Mapping[str, Array], r: int, died: Array, mass: float, cut: float, k: int
) -> None:
    left, count = int(((died == 0) | (died > r)).sum()), int((died == r).sum())
    off = float(said["rounding"]) + _gamma(2 * k + count + 3)  # theirs, ours, and a sum of scores in any order
    share = held["mass"][r - 1].item() / held["cut"][r - 1].item() if held["cut"][r - 1] > 0 else 2.0
    found = {"left": left, "mass": mass, "cut": cut, "margin": 1 - share - float(said["rounding"])}
    room = {"left": 0.0, "mass": mass * off, "cut": cut * off, "margin": (1 + share) * _gamma(4)}
    for name in found:
        told = held[name][r - 1].item()  # of Python, whose whole numbers do not wrap around
        if not abs(told - found[name]) <= room[name]:
            raise Refused(f"in round {r} its {name} is {told:.17g}, and {found[name]:.17g} is found")


def _digest(arrays: Iterable[tuple[str, Array]]) -> str:
    seen = hashlib.sha256()
    for name, array in arrays:
        seen.update(f"{name} {array.dtype.str[1:]} {array.shape} ".encode() + np.ascontiguousarray(array).tobytes())
    return seen.hexdigest()


def _gamma(k: int) -> float:
    return k * 2.0**-53 / (1 - k * 2.0**-53)


@np.errstate(over="ignore", invalid="ignore")  # R is then found to be infinite
def flow(
    calls: Sequence[Call], params: Mapping[str, Array], falling: Mapping[str, Array], shape: tuple[int, ...]
) -> tuple[float, float, int]:
    """R, its slope along the weights that fall, and the most roundings on a way there: nothing on it is negative.

    Of each value the first row is the value and the second its slope. Raises Refused for operators that are not known.
    """
    values, k = {"input": np.stack([np.ones(shape[1:]), np.zeros(shape[1:])])}, 0
    for name, kind, args in calls:
        try:
            values[name], terms = _operator(kind, args, values, params, falling)
            _check_range(values[name])
        except ArithmeticError:
            raise Refused(f"{name}: products of weights underflow float64: scale weights by powers of two") from None
        except (TypeError, ValueError, IndexError, KeyError) as error:
            raise Refused(f"{name}: {kind} with {args[1:]} is not known here ({error})") from None
        k += terms
    made = values[calls[-1][0]]
    return float(made[0].sum()), float(made[1].sum()), k + made[0].size


def _operator(kind: str, args: Sequence[Any], values: Any, params: Any, falling: Any) -> tuple[Array, int]:
    """What an operator makes, and how often it rounds at most. Raises ValueError for one that is not known."""
    given, read = ([held[a[1]] for a in args if isinstance(a, tuple) and a[:1] == (what,)]
                   for what, held in (("value", values), ("param", params)))  # fmt: skip
    if kind == "cat":
        parts, axis = [values[part[1]] for part in args[0]], args[1]
        if axis % parts[0].ndim == 0:
            raise ValueError("it joins samples")
        return np.concatenate(parts, axis), 0
    x = given[0]
    if kind in ("linear", "conv2d") and len(given) == 1 and not any(bias.any() for bias in read[1:]):
        _check_range(x, read[0])
        made = _weighed(x, read[0], args)
        made[1] += _weighed(x[:1], falling[args[1][1]], args)[0]
        return made, read[0][0].size + 1
    if kind in SAME:
        return x, 0
    if kind == "add" and len(args) == 2 and read and not read[0].any():  # a shift is read as 0
        return x + _beside(x, read[0]), 0
    if kind == "mul" and len(args) == 2 and len(given) == 1:
        factor = _beside(x, read[0] if read else np.array(float(args[1])))
        if (factor < 0).any():
            raise ValueError("a factor is negative")
        _check_range(x, factor)
        return x * factor, 1
    if kind == "add" and len(args) == len(given) == 2:
        return given[0] + given[1], 1
    if kind in ("view", "reshape") or (kind == "flatten" and args[1:] == (1,)):
        return x.reshape(2, *(args[1][1:] if kind != "flatten" else [-1])), 0
    if (kind == "mean" and args[2:] in ((), (True,))) or (kind == "adaptive_avg_pool2d" and list(args[1]) == [1, 1]):
        axes = tuple(axis % x.ndim for axis in (args[1] if kind == "mean" else (-2, -1)))
        if 0 in axes:
            raise ValueError("it joins samples")
        return x.mean(axes, keepdims=kind != "mean" or True in args[2:]), x[0].size + 1
    if kind not in ("max_pool2d", "avg_pool2d") or len(args) > 4:
        raise ValueError("it has no rule")
    largest = kind == "max_pool2d"
    window, stride, padding = _filled(args[1:], None, [], [0, 0])
    seen = _windows(x, window, stride or window, padding, [1, 1], -float(largest))
    first = seen[:1].argmax(-1)[..., None].repeat(2, 0)
    return np.take_along_axis(seen, first, -1)[..., 0] if largest else seen.mean(-1), seen.shape[-1] + 1


def _beside(x: Array, param: Array) -> Array:
    """A parameter of one sample beside a value of two rows. Raises ValueError for one that has rows of its own."""
    if param.ndim > x.ndim or (param.ndim == x.ndim and len(param) > 1):
        raise ValueError("it reads a parameter of several samples")
    return param


def _check_range(*factors: Array) -> None:
    """Raise ArithmeticError where a product of entries that are not 0, one of each, could be below what is exact."""
    if math.prod(float(np.min(x, where=x > 0, initial=np.inf)) for x in factors) < TINY:
        raise ArithmeticError


def _weighed(x: Array, w: Array, args: Sequence[Any]) -> Array:
    """A layer without its bias: (rows, in, ...) -> (rows, out, ...)."""
    if w.ndim == 2:
        return np.asarray(x @ w.T)
    stride, padding, dilation, groups = _filled(args[3:], [1, 1], [0, 0], [1, 1], 1)
    seen = _windows(x, w.shape[2:], stride, padding, dilation, 0.0)
    rows, channels, height, width, taps = seen.shape
    seen = seen.reshape(rows, groups, channels // groups, height * width, taps).transpose(0, 1, 2, 4, 3)
    made = w.reshape(groups, len(w) // groups, -1) @ seen.reshape(rows, groups, -1, height * width)
    return np.asarray(made.reshape(rows, len(w), height, width))


def _filled(args: Sequence[Any], *defaults: Any) -> list[Any]:
    return [*args, *defaults[len(args) :]]


def _windows(x: Array, window: Any, stride: Any, padding: Any, dilation: Any, fill: float) -> Array:
    """What each window sees: (rows, channels, heights, widths, taps)."""
    x = np.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)), constant_values=fill)
    reach = [(n - 1) * d + 1 for n, d in zip(window, dilation, strict=True)]
    seen = sliding_window_view(x, reach, (2, 3))[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]
    return seen.reshape(*seen.shape[:4], -1)
