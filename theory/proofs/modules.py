"""Laws of modules, for every R: normalised weights, PReLU, pools, gated units, and norms in evaluation."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import sympy  # type: ignore[import-untyped]

from theory.proofs.calculus import Expression, cleared, dot, free, saliency
from theory.proofs.statement import Identity, states


@dataclass(frozen=True)
class Sizes:
    """How many there are of each thing, in words and numbers."""

    title: str
    numbers: tuple[int, ...]

    def __str__(self) -> str:
        return self.title


def plain(sizes: Sizes) -> list[tuple[int, ...]]:
    """One instance: there is no pattern."""
    return [sizes.numbers]


def signs(sizes: Sizes) -> Iterator[tuple[int, ...]]:
    """One instance per pattern of 0 and 1."""
    return product((0, 1), repeat=sizes.numbers[0])


@states(
    "1b.batch_norm_eval",
    source="derived from Euler's identity, operator by operator",
    shapes=(Sizes("batch norm in evaluation, a channel, 1 value", (1,)), Sizes("the same, 3 values", (3,))),
    build=plain,
    wrong={"F_in = F_out": {"shifted": 0}},
)
def batch_norm_eval(sizes: tuple[int], shifted: int = 1) -> Iterator[Identity]:
    """F_in = F_out - S(shift) + gain * mean / deviation * sum of dR/dy, and S(gain) + S(shift) = F_out."""
    x, g, (gain, shift, mean, deviation) = free("x", *sizes), free("g", *sizes), free("c", 4)
    r = sum(a * (gain * (v - mean) / deviation + shift) for a, v in zip(g, x, strict=True))
    correction = gain * mean / deviation * sum(g) - saliency(r, [shift])
    yield Identity("flow", saliency(r, x), r + shifted * correction, clear=cleared)
    yield Identity("affine", saliency(r, [gain, shift]), r, clear=cleared)


@states(
    "1b.weight_norm",
    source="derived: v / |v| is of degree 0",
    shapes=(Sizes("weight norm, 2 weights, 2 samples", (2, 2)), Sizes("weight norm, 3 weights, 1 sample", (3, 1))),
    build=plain,
    wrong={"S(v) carries the flow": {"carrier": "v"}, "the bias forgotten": {"with_bias": 0}},
)
def weight_norm(sizes: tuple[int, int], carrier: str = "gain", with_bias: int = 1) -> Iterator[Identity]:
    """With w = gain * v / |v|: S(v) = 0 and S(gain) + S(b) = F_out."""
    v, g, (gain, b) = free("v", sizes[0]), free("g", sizes[1]), free("c", 2)
    length = sum(a**2 for a in v) ** sympy.Rational(1, 2)
    r = sum(h * (gain * dot(v, free(f"a{s}", sizes[0])) / length + b) for s, h in enumerate(g))
    direction, scale = saliency(r, v), saliency(r, [gain])
    idle, carrying = (direction, scale) if carrier == "gain" else (scale, direction)
    yield Identity("direction", idle, 0, clear=cleared)
    yield Identity("gain", carrying + with_bias * saliency(r, [b]), r, clear=cleared)


@states(
    "1b.spectral_norm",
    source="derived: W / (u' W v) is of degree 0",
    shapes=(Sizes("spectral norm, 2 x 2 weights, 1 sample", (2, 2)), Sizes("spectral norm, 1 x 3 weights", (1, 3))),
    build=plain,
    wrong={"the norm taken for a constant": {"constant": True}},
)
def spectral_norm(sizes: tuple[int, int], constant: bool = False) -> Iterator[Identity]:
    """With W / sigma, sigma = u' W v and u, v constants: S(W) = 0."""
    rows = [free(f"w{i}", sizes[1]) for i in range(sizes[0])]
    g, u, v, a = free("g", sizes[0]), free("u", sizes[0]), free("v", sizes[1]), free("a", sizes[1])
    sigma = sympy.Symbol("sigma") if constant else sum(c * dot(row, v) for c, row in zip(u, rows, strict=True))
    r = sum(h * dot(row, a) for h, row in zip(g, rows, strict=True)) / sigma
    yield Identity("weights", saliency(r, [w for row in rows for w in row]), 0, clear=cleared)


@states(
    "1b.prelu",
    source="derived from Euler's identity, operator by operator",
    shapes=(Sizes("PReLU, 1 value", (1,)), Sizes("PReLU, one slope for 3 values", (3,))),
    build=signs,
    wrong={"the slope is a cut": {"cut": True}},
)
def prelu(gates: tuple[int, ...], cut: bool = False) -> Iterator[Identity]:
    """F_in = F_out, and S(slope) is what flows through the negative values: no cut."""
    x, g, slope = free("x", len(gates)), free("g", len(gates)), sympy.Symbol("slope")
    y = [v if gate else slope * v for v, gate in zip(x, gates, strict=True)]
    r = dot(g, y)
    negative = sum(h * v for h, v, gate in zip(g, y, gates, strict=True) if not gate)
    yield Identity("flow", saliency(r, x), r, clear=cleared)
    yield Identity("slope", saliency(r, [slope]), r if cut else negative, clear=cleared)


@states(
    "1b.glu",
    source="derived from Euler's identity, operator by operator",
    shapes=(Sizes("2-2-1, gated units, any gate function", (2, 2)), Sizes("1-3-1, gated units", (1, 3))),
    build=plain,
    wrong={"S(gate) = S(down)": {"gate": True}, "F_in = 2 F_out": {"twice": True}},
)
def gated_units(sizes: tuple[int, int], gate: bool = False, twice: bool = False) -> Iterator[Identity]:
    """down(f(gate(x)) * up(x)): unit by unit S(up) = S(down), for any function f."""
    yield from _gated(sizes, [sympy.Function("f")] * sizes[1], gate, twice)


@states(
    "1b.reglu",
    source="derived from Euler's identity, operator by operator",
    shapes=(Sizes("2-2-1, units gated by relu", (2, 2)),),
    build=lambda sizes: [(sizes.numbers, gates) for gates in signs(sizes)],
    wrong={"SwiGLU": {"smooth": True}},
)
def homogeneous_gates(case: tuple[tuple[int, int], tuple[int, ...]], smooth: bool = False) -> Iterator[Identity]:
    """With a gate function of degree 1 also S(gate) = S(down), so F_in = 2 F_out."""
    sizes, gates = case
    yield from _gated(
        sizes, [_swish] * len(gates) if smooth else [on.__mul__ for on in map(sympy.Integer, gates)], True, True
    )


def _swish(z: Expression) -> Expression:
    return z / (1 + sympy.exp(-z))


def _gated(
    sizes: tuple[int, int], functions: list[Callable[[Expression], Expression]], gate: bool, twice: bool
) -> Iterator[Identity]:
    """Unit j: down_j * f_j(gate_j x) * (up_j x), one output with dR/dy = g."""
    x, down, g = free("x", sizes[0]), free("down", sizes[1]), sympy.Symbol("g")
    gates, ups = ([free(f"{n}{j}", sizes[0]) for j in range(sizes[1])] for n in ("gate", "up"))
    values = [f(dot(a, x)) * dot(b, x) for f, a, b in zip(functions, gates, ups, strict=True)]
    r = g * dot(down, values)
    for j, out in enumerate(down):
        yield Identity(f"up into {j}", saliency(r, ups[j]), saliency(r, [out]), clear=cleared)
        if gate:
            yield Identity(f"gate of {j}", saliency(r, gates[j]), saliency(r, [out]), clear=cleared)
    if twice:
        yield Identity("flow", saliency(r, x), 2 * r, clear=cleared)
