"""SynFlow's objective and scores as sums over input-output paths, in exact fractions."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

from theory.networks.spec import NetSpec
from theory.oracles.wires import Place, Value, Web, followed


def path_sums(spec: NetSpec) -> tuple[Fraction, dict[str, dict[Place, Fraction]]]:
    """R, the sum over paths of the product of |w|, and per weight the sum over the paths that use it.

    Biases and shifts carry no path; a batch norm's scale is a factor |scale| of no weight. A max-pool passes
    only its first largest place on, as torch does. Raises ValueError for a layer under which R is no sum over paths.
    """
    web = Web(spec.values)
    start = Value(web.grown(product(*map(range, spec.shape.input)), arriving=1), 1)
    end = followed(spec.shape.layers, web, start)
    return Fraction(sum(web.arriving[node] for node in end.nodes.values()), end.over), _scores(web, end)


def _scores(web: Web, end: Value) -> dict[str, dict[Place, Fraction]]:
    """What arrives at the tails of a weight's wires, times the weight, times what leads on from their heads."""
    leaving = [0] * len(web.arriving)
    for node in end.nodes.values():
        leaving[node] += 1
    scores: dict[str, dict[Place, Fraction]] = {}
    for bundle in reversed(web.bundles):
        if bundle.weight:
            name, place = bundle.weight
            mass = sum(web.arriving[tail] * leaving[head] for tail, head in bundle.wires)
            scores.setdefault(name, {})[place] = Fraction(bundle.factor * mass, end.over)
        if bundle.factor:
            for tail, head in bundle.wires:
                leaving[tail] += bundle.factor * leaving[head]
    return scores
