"""Runs of a frontier, each of which goes on from where it stood when it was interrupted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from pruning.fast.best import prune_at_best
from pruning.masks import Masks
from pruning.rounds import Standing
from theory.collapse import Paths
from theory.frontier.flight import Shares
from theory.frontier.found import Contender, Look
from theory.frontier.journal import Journal

Told = Callable[[str], None]


@dataclass(frozen=True)
class Books:
    """Where what is found is kept, under which name, and who is told of progress."""

    journal: Journal
    key: str
    tell: Told


def run(
    contender: Contender,
    keep: int,
    books: Books,
    each: Callable[[Masks, Standing], None] = lambda before, standing: None,
) -> tuple[Masks, Shares]:
    """What the run that keeps a number of weights leaves, and the shares that its rounds pruned.

    each: told of every round that is done now, with the masks before it.
    """
    key = f"{books.key} {keep}"
    since, shares = books.journal.flight.begin(key, contender.problem.network)
    masks = contender.problem.network.initial if since is None else since.masks
    done = list(shares)

    def stands(standing: Standing) -> None:
        nonlocal masks
        each(masks, standing)
        masks = standing.masks
        done.append(_share(standing))
        books.journal.flight.add(standing, done[-1])
        books.tell(f"round {standing.round}, {sum(standing.kept):,} weights left")

    prune_at_best(contender.problem, contender.pruner, contender.plan(keep), None, None, stands, since)
    return masks, tuple(done)


def look_at(contender: Contender, keep: int, books: Books, paths: Paths) -> Look:
    """What a run of its own ends with."""
    masks, shares = run(contender, keep, books)
    return Look(tuple(masks.kept_by_layer()), paths.connected(masks), shares)


def dense(contender: Contender, paths: Paths) -> Look:
    """The network as it is."""
    masks = contender.problem.network.initial
    return Look(tuple(masks.kept_by_layer()), paths.connected(masks))


def _share(standing: Standing) -> float | None:
    """None where it has no R, or nothing flows; of an R beyond float64 the share is not told."""
    if math.isnan(standing.cut) or math.isnan(standing.mass) or standing.cut == 0 or math.isinf(standing.cut):
        return None
    return standing.mass / standing.cut
