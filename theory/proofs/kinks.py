"""Conservation at kinks and ties, where the value is one thing and the slope that autograd takes is a choice.

A unit is a = value + sum of slope * (z - z0) with constants value and z0: what reverse mode
differentiates. After that the constants are set to what the forward pass gives at the point.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, combinations, pairwise, product

from theory.proofs.statement import Identity, states
from theory.proofs.symbolic import Poly, symbols, total

LAYERS = (("x",), ("h0", "h1"), ("k0", "k1"), ("y",))
HIDDEN = tuple(chain(*LAYERS[1:-1]))
WEIGHTS = tuple(f"{t}>{h}" for tails, heads in pairwise(LAYERS) for t, h in product(tails, heads))


@dataclass(frozen=True)
class Local:
    """A network at one point: its objective as autograd sees it, and what its constants are worth there.

    units: per hidden unit the parameters that enter and those that leave it.
    """

    symbol: Mapping[str, Poly]
    objective: Poly
    there: Mapping[str, Poly]
    units: Mapping[str, tuple[list[str], list[str]]]

    def saliency(self, names: list[str]) -> Poly:
        """The sum of theta * dR/dtheta over some parameters, at the point."""
        found = total(self.symbol[n] * self.objective.diff(self.symbol[n]) for n in names)
        return found.compose([(self.symbol[n], p) for n, p in self.there.items()])


@dataclass(frozen=True)
class Kinks:
    """Every set of units at pre-activation 0. straight_through: they are off it, with a slope not their own."""

    straight_through: bool = False

    def __str__(self) -> str:
        return "1-2-2-1, biased, 1 sample, every set of units at their kink, any slope at and off it"

    def networks(self) -> Iterator[Local]:
        """One network per set of units."""
        for flags in product((True, False), repeat=len(HIDDEN)):
            yield self._at({v for v, flag in zip(HIDDEN, flags, strict=True) if flag})

    def _at(self, odd: set[str]) -> Local:
        constants = (f"{n}>{v}" for v in HIDDEN for n in ("b", "slope", "value", "z", "other"))
        at = symbols(["x", "g", *WEIGHTS, *constants])
        seen, true, there = {"x": at["x"]}, {"x": at["x"]}, dict[str, Poly]()
        for tails, heads in pairwise(LAYERS[:-1]):
            for v in heads:
                arriving = total(at[f"{t}>{v}"] * true[t] for t in tails)
                if v in odd and not self.straight_through:
                    there[f"b>{v}"] = -arriving  # this is where z = 0
                z = there[f"z>{v}"] = there.get(f"b>{v}", at[f"b>{v}"]) + arriving
                true[v] = there[f"value>{v}"] = at[f"{'other' if v in odd else 'slope'}>{v}"] * z
                gap = at[f"b>{v}"] + total(at[f"{t}>{v}"] * seen[t] for t in tails) - at[f"z>{v}"]
                seen[v] = at[f"value>{v}"] + at[f"slope>{v}"] * gap
        into = {v: [f"b>{v}", *(w for w in WEIGHTS if w.endswith(v))] for v in HIDDEN}
        units = {v: (into[v], [w for w in WEIGHTS if w.startswith(v)]) for v in HIDDEN}
        return Local(at, at["g"] * total(at[f"{t}>y"] * seen[t] for t in LAYERS[-2]), there, units)


@dataclass(frozen=True)
class Ties:
    """A maximum over units, for every set that shares it. whole: each winner gets the whole gradient, not a share."""

    units: int
    whole: bool = False

    def __str__(self) -> str:
        return f"1-{self.units}, their maximum, 1, biased, 1 sample, every set of tied winners, any split"

    def networks(self) -> Iterator[Local]:
        """One network per set of two or more winners."""
        every = range(self.units)
        sets = chain.from_iterable(combinations(every, size) for size in range(2, self.units + 1))
        return (self._at(winners) for winners in sets)

    def _at(self, winners: tuple[int, ...]) -> Local:
        every = range(self.units)
        at = symbols(["x", "g", "out", "value", *(f"{n}{i}" for n in ("w", "b", "z", "share") for i in every)])
        before = [at[f"w{i}"] * at["x"] + at[f"b{i}"] for i in every]
        first, *others = winners
        share: dict[int, Poly] = {i: 1 if self.whole else at[f"share{i}"] for i in others}
        share[first] = 1 if self.whole else 1 - total(share.values())
        top = before[first]
        there = {f"b{i}": top - at[f"w{i}"] * at["x"] for i in others}  # this is where they tie
        there |= {"value": top} | {f"z{i}": top if i in winners else before[i] for i in every}
        seen = at["value"] + total(share[i] * (before[i] - at[f"z{i}"]) for i in winners)
        entering = [f"{n}{i}" for n in ("w", "b") for i in every]
        return Local(at, at["g"] * at["out"] * seen, there, {"the maximum": (entering, ["out"])})


@states(
    "A9",
    source="z * phi'(0) = 0 where z = 0, whatever phi'(0) is; shares of a tie sum to 1",
    shapes=(Kinks(), Ties(2), Ties(3)),
    build=lambda shape: shape.networks(),
    wrong={
        "a slope that is not the value's, off the kink": {"shapes": (Kinks(straight_through=True),)},
        "the whole gradient to each tied winner": {"shapes": (Ties(2, whole=True),)},
    },
)
def kinks_and_ties(net: Local) -> Iterator[Identity]:
    """A1 holds at pre-activation 0 with any slope there, and at ties of a maximum with any split of the gradient."""
    for unit, (entering, leaving) in net.units.items():
        yield Identity(unit, net.saliency(entering), net.saliency(leaving))
