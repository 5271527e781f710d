"""Certifying a run: whether the theorem speaks of it, and what the second opinion finds in its certificate."""

from __future__ import annotations

from collections.abc import Callable

from pruning.certificate import Certificate, as_scored
from pruning.graph import INPUT, Graph, Param, Value
from pruning.network import Network
from pruning.pruner import Claim, Pruner
from pruning.pruners.synflow import synflow
from theory.optype import types_of
from theory.oracles.certificate import Call, Finding, recheck


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
    shape = tuple(network.example[:1].shape)
    return recheck(made.said, made.held, calls_of(network.graph), as_scored(network), shape, on_round)


def calls_of(graph: Graph) -> list[Call]:
    """The graph's operators as plain data."""
    return [(node.name, node.kind, (*map(_plain, node.args), *node.kwargs)) for node in graph.nodes]


def _plain(arg: object) -> object:
    if isinstance(arg, Value):
        return "value", arg.name
    return ("param", arg.name) if isinstance(arg, Param) else arg


assert INPUT == "input"  # as the second opinion calls it
