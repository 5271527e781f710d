"""Certified schedules: SynFlow's rounds in which no cut can be emptied, by the mass that they prune or by its count."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pruning.network import Network
from pruning.roundings import gamma, path_roundings, shapes_of, unit_roundoff
from pruning.schedule import Alive, Schedule, exponential


def mass_safe(network: Network, keep: int = 1) -> Schedule:
    """In each round prune the longest run of lowest scores whose mass stays below the cut's, R.

    R falls by no more than the mass that is pruned, so that a live path is left (the union bound B6; Tanaka et al.
    2020, Theorem 3 and its appendix, for scores that are conserved unit by unit). On a chain of L layers that goes on
    until L weights are left, in at most floor(L ln(N - L)) + 1 rounds; on others it ends where each weight that is left
    lies on every live path. `keep`: stop there. Raises UnreadableFlow for operators whose roundings are not derived.
    """
    share = 1 - rounding(network)

    def schedule(round_: int, kept: int, alive: Alive) -> int | None:
        return _next(kept, min(_safe_prefix(alive.shares(), share), kept - keep))

    return schedule


def count_safe(network: Network, keep: int = 1) -> Schedule:
    """In each round prune max(1, ceil(n/L) - 1) of the n weights left, on a chain of L layers; stop at n = L.

    The largest layer has q >= ceil(n/L) of them, whose scores add up to R; the q - 1 lowest of all have less mass than
    R. So the masses need not be asked for. Raises ValueError for what is no chain.
    """
    layers = len(network.graph.edges)
    if not network.graph.is_chain:
        raise ValueError("the count-safe schedule is for chains of layers, and this network is none; take mass-safe")

    def schedule(round_: int, kept: int, alive: Alive) -> int | None:
        least = max(keep, layers)
        return _next(kept, min(max(1, -(-kept // layers) - 1), kept - least))

    return schedule


def hybrid(network: Network, keep: int, rounds: int) -> Schedule:
    """The exponential schedule's counts, where these prune less than mass-safe, and on by the mass until `keep`.

    Raises as `mass_safe` and `exponential`.
    """
    plan, share = exponential(network.initial.total, keep, rounds), 1 - rounding(network)

    def schedule(round_: int, kept: int, alive: Alive) -> int | None:
        target = plan(min(round_, rounds), kept, alive)
        assert target is not None
        return _next(kept, min(_safe_prefix(alive.shares(), share), kept - max(target, keep)), round_ < rounds)

    return schedule


def rounding(network: Network) -> float:
    """The share of R that roundings may hide in a sum of shares. Raises UnreadableFlow, or ValueError: all could be.

    Every score and R are sums of nonnegative products of at most K roundings, so a share, their quotient, has a
    relative error of at most gamma_(2K+1); the sum is exact but for its last rounding, and this comparison's own.
    """
    params = {**network.fixed, **network.weights}
    most = path_roundings(network.graph, shapes_of(network.graph, params, network.example[:1]))
    coarsest = max({w.dtype for w in network.weights.values()}, key=unit_roundoff, default=torch.float64)
    return gamma(2 * most + 3, coarsest)


def _safe_prefix(shares: Tensor, most: float) -> int:
    """How many of the lowest have a sum of at most `most`: a running sum proposes, an exact one decides."""
    count = int((shares.cumsum(0) <= most).sum())
    while count and (total := math.fsum(shares[:count].tolist())) > most:
        count -= max(1, int((total - most) / float(shares[count - 1])))
    return count


def _next(kept: int, fall: int, more: bool = False) -> int | None:
    """Weights to keep; None where none falls any more."""
    return kept - fall if fall > 0 else kept if more else None
