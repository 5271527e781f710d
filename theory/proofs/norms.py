"""Laws of normalisers, for every R: dR/dy is a free symbol per value, and eps another."""

from collections.abc import Iterator
from dataclasses import dataclass

import sympy  # type: ignore[import-untyped]

from theory.proofs.calculus import Expression, cleared, free, saliency
from theory.proofs.statement import Identity, states


@dataclass(frozen=True)
class Norm:
    """One group of values, less its mean, over its root mean square; groups do not meet, so one stands for all.

    shared: one gain and shift for the group, as for a channel over a batch or its positions; else one per
    value, as for a sample's features. inputs: the values are w a + b with so many weights, else free symbols.
    """

    title: str
    values: int
    shared: bool
    centred: bool = True
    inputs: int = 0

    def __str__(self) -> str:
        return f"{self.title}, {self.values} values" + f" of {self.inputs} weights and a bias" * bool(self.inputs)


@dataclass(frozen=True)
class Normed:
    """What a norm is made of: R = sum of g * y = <y, dR/dy>, and `scaled` = g * (y - shift) value by value."""

    x: list[Expression]
    weights: list[Expression]
    gains: list[Expression]
    shifts: list[Expression]
    scaled: list[Expression]
    power: Expression
    objective: Expression


def normed(norm: Norm) -> list[Normed]:
    """The norm in symbols."""
    n, affine = norm.values, 1 if norm.shared else norm.values
    weights, gains, shifts, g = free("w", norm.inputs), free("gain", affine), free("shift", affine), free("g", n)
    rows = [free(f"a{i}", norm.inputs) for i in range(n)]
    x = [sum(w * a for w, a in zip(weights, row, strict=True)) + sympy.Symbol("b") for row in rows]
    x = x if norm.inputs else free("x", n)
    z = [v - sum(x) / n for v in x] if norm.centred else x
    power = sum(v**2 for v in z) / n + sympy.Symbol("eps")
    root = power ** sympy.Rational(-1, 2)
    scaled = [a * b * v * root for a, b, v in zip(g, gains * (n // affine), z, strict=True)]
    objective = sum(scaled) + sum(a * b for a, b in zip(g, shifts * (n // affine), strict=True))
    return [Normed(x, weights, gains, shifts, scaled, power, objective)]


EPS = sympy.Symbol("eps")
BATCH = (Norm("batch norm in training, a channel", 2, True), Norm("batch norm in training, a channel", 3, True))
INSTANCE = Norm("instance norm, a sample's channel", 4, True)


@states(
    "1b.batch_norm",
    source="derived: mean and scale of the values cancel but for eps",
    shapes=(*BATCH, INSTANCE),
    build=normed,
    wrong={"F_in = F_out": {"damped": False}, "F_in = 0": {"eps": 0}},
)
def batch_norm(norm: Normed, damped: bool = True, eps: Expression = EPS) -> Iterator[Identity]:
    """In training F_in = eps / (v + eps) S(gain), S(gain) + S(shift) = F_out, and the dR/dx add up to 0."""
    gain, r = saliency(norm.objective, norm.gains), norm.objective
    expected = eps / norm.power * gain if damped else r
    yield Identity("flow", saliency(r, norm.x), expected, clear=cleared)
    yield Identity("affine", gain + saliency(r, norm.shifts), r, clear=cleared)
    yield Identity("shift of all values", sum(r.diff(x) for x in norm.x), 0, clear=cleared)


@states(
    "1b.layer_before_norm",
    source="derived: from the law of the norm",
    shapes=(
        Norm("batch norm in training, a channel", 2, True, inputs=2),
        Norm("batch norm in training, a channel", 3, True, inputs=1),
        Norm("instance norm, a sample's channel", 3, True, inputs=1),
    ),
    build=normed,
    wrong={
        "all masses equal": {"damped": False},
        "the mass before the norm is 0": {"eps": 0},
        "RMS norm": {"shapes": (Norm("RMS norm", 2, True, centred=False, inputs=1),)},
    },
)
def layer_before_norm(norm: Normed, damped: bool = True, eps: Expression = EPS) -> Iterator[Identity]:
    """Weights before a norm of their channel have S = eps / (v + eps) S(gain), and their bias has S = 0."""
    gain = saliency(norm.objective, norm.gains)
    expected = eps / norm.power * gain if damped else norm.objective
    yield Identity("weights", saliency(norm.objective, norm.weights), expected, clear=cleared)
    yield Identity("bias", saliency(norm.objective, [sympy.Symbol("b")]), 0, clear=cleared)


@states(
    "1b.layer_norm",
    source="derived from Euler's identity, operator by operator",
    shapes=(
        Norm("layer norm, a sample", 2, False),
        Norm("layer norm, a sample", 3, False),
        Norm("group norm, a sample's group", 4, False),
        Norm("RMS norm, a sample", 3, False, centred=False),
    ),
    build=normed,
    wrong={
        "channel by channel": {"whole": False},
        "F_in = F_out": {"damped": False},
    },
)
def layer_norm(norm: Normed, whole: bool = True, damped: bool = True) -> Iterator[Identity]:
    """Per sample and group F_in = eps / (v + eps) <y - shift, dR/dy>, and the affine parameters' S sum to F_out."""
    r, factor = norm.objective, EPS / norm.power
    inward = [x * r.diff(x) for x in norm.x]
    outward = [factor * t for t in norm.scaled] if damped else [r]
    pairs = [(sum(inward), sum(outward))] if whole else zip(inward, outward, strict=True)
    for left, right in pairs:
        yield Identity("flow", left, right, clear=cleared)
    yield Identity("affine", saliency(r, [*norm.gains, *norm.shifts]), r, clear=cleared)


@states(
    "1b.group_bias",
    source="derived: the group's mean is taken off",
    shapes=(Norm("layer norm, a sample", 3, False), Norm("group norm, a sample's group", 2, False)),
    build=normed,
    wrong={
        "RMS norm": {"shapes": (Norm("RMS norm, a sample", 2, False, centred=False),)},
        "each bias alone": {"each": True},
    },
)
def group_bias(norm: Normed, each: bool = False) -> Iterator[Identity]:
    """dR/db sums to 0 over the biases of a normalised group, which are added to its values."""
    slopes = [norm.objective.diff(x) for x in norm.x]
    for slope in slopes if each else [sum(slopes)]:
        yield Identity("bias", slope, 0, clear=cleared)
