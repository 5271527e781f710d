"""The frontier of a method whose one run passes every compression: what each of its rounds leaves."""

from __future__ import annotations

import math

from pruning.masks import Masks
from pruning.pruners.synflow import synflow
from pruning.rounds import Standing
from theory.collapse import Paths
from theory.frontier.found import Contender, Frontier, Look, frontier, look_of, look_record
from theory.frontier.runs import Books, run


def by_one_run(contender: Contender, books: Books, paths: Paths, keep: int) -> Frontier:
    """One look for each round of the run that keeps the fewest weights. Raises ScoreError, and as the schedule does."""
    flows = contender.pruner.objective is synflow.objective

    def key(round_: int) -> str:
        return f"{books.key} {keep} after {round_}"

    def each(before: Masks, standing: Standing) -> None:
        alive = (flows and standing.log_cut > -math.inf) or paths.connected(before)
        books.journal.note(key(standing.round - 1), look_record(Look(tuple(before.kept_by_layer()), alive)))

    def ended() -> dict[str, object]:
        masks, shares = run(contender, keep, books, each)
        return look_record(Look(tuple(masks.kept_by_layer()), paths.connected(masks), shares))

    last = look_of(books.journal.find(f"{books.key} {keep} ended", ended))
    looks = [look_of(books.journal.known(key(r))) for r in range(len(last.masses))]
    return frontier(contender.layers, [*looks, last], exact=False)
