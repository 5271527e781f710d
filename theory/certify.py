"""Certifying a run: whether the theorem speaks of it, and what the second opinion finds in its certificate."""

from __future__ import annotations

import math
from collections.abc import Callable

from pruning.certificate import Certificate, as_scored
from pruning.certified import rounding
from pruning.graph import INPUT, Graph, Param, Value
from pruning.network import Network
from pruning.pruner import Claim, Pruner
from pruning.pruners.synflow import synflow
from theory.optype import types_of
from theory.oracles.certificate import Call, Finding, Refused, flow, recheck


def why_not(network: Network, pruner: Pruner) -> str:
    """What the theorem rests on and a pruner's runs on a network do not have; empty where they have it.

    It needs every value to be of some degree, monotone and convex in the input, and scores that are those of SynFlow.
    """
    if Claim.UNION_BOUND not in pruner.claims:
        return f"the union bound (prunelaws explain B6), which {pruner.name!r} does not claim"
    sizes = {n: w.abs() for n, w in network.weights.items()}
    made = types_of(network.graph, {**network.neutral, **sizes})[network.graph.output]
    if made.degree is None or not (made.monotone and made.convex):
        return f"the union bound, which does not hold here: {'; '.join(made.why)}"
    return ""


def why_no_certificate(network: Network, pruner: Pruner) -> str:
    """What a certificate rests on and a run does not have; empty where it has it: it is of SynFlow's own flow."""
    if pruner.objective is not synflow.objective or pruner.score is not synflow.score:
        return f"SynFlow's own scores, and {pruner.name!r} has others"
    return why_not(network, pruner)


def certify(network: Network, made: Certificate, on_round: Callable[[int, int], None]) -> Finding:
    """What the second opinion finds. `on_round` is told each round and how many there are.

    Raises oracles.certificate.Refused for a certificate that is not of this network, or of no run of it, ValueError for
    a network that the union bound does not speak of.
    """
    if why := why_not(network, synflow):
        raise ValueError(f"the theorem rests on {why}")
    _check_words(network, made)
    return recheck(made.said, made.held, calls_of(network.graph), as_scored(network), _shape(network), on_round)


def why_unknown(network: Network) -> str:
    """Why the second opinion can't follow a network, such as an operator that it does not know; empty where it can."""
    params = as_scored(network)
    sizes = {n: abs(params[n]) for n in network.weights}
    try:
        still = {n: 0 * w for n, w in sizes.items()}
        cut, _, _ = flow(calls_of(network.graph), {**params, **sizes}, still, _shape(network))
    except Refused as error:
        return str(error)
    return "" if math.isfinite(cut) else "R overflows float64: scale weights by powers of two"


def _shape(network: Network) -> tuple[int, ...]:
    """Of one sample."""
    return tuple(network.example[:1].shape)


def _check_words(network: Network, made: Certificate) -> None:
    """Raise Refused where a certificate says of the network what is not so: it may be asked for no other bounds."""
    layers = [[n, list(w.shape)] for n, w in network.weights.items()]
    if made.said["layers"] != layers:
        raise Refused("it is of another network: of other layers")
    if made.said["rounding"] != (share := rounding(network)):
        raise Refused(f"it allows roundings of {made.said['rounding']} of R, and {share} are derived for this network")
    if made.masks_at(0) != network.initial:
        raise Refused("the weights that it calls masked from the start are not those of this model")


def calls_of(graph: Graph) -> list[Call]:
    """The operators that lead to the output, the last of which makes it, as plain data."""
    wanted, calls = {graph.output}, list[Call]()
    for node in reversed(graph.nodes):
        if node.name in wanted:
            wanted.update(node.values())
            calls.append((node.name, node.kind, (*map(_plain, node.args), *node.kwargs)))
    return calls[::-1]


def _plain(arg: object) -> object:
    if isinstance(arg, Value):
        return "value", arg.name
    if isinstance(arg, (list, tuple)):
        return [_plain(one) for one in arg]
    return ("param", arg.name) if isinstance(arg, Param) else arg


assert INPUT == "input"  # as the second opinion calls it
