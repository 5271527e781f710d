"""The frontier of a method whose way depends on where it ends: a run for each compression that is looked at."""

from __future__ import annotations

import math
from collections.abc import Iterator

from theory.collapse import Paths
from theory.frontier.found import Contender, Edge, Frontier, Look, frontier, look_of, look_record
from theory.frontier.runs import Books, dense, look_at

APART = 1.01  # compressions on both sides of an edge, one over the other


def by_search(contender: Contender, books: Books, paths: Paths) -> Frontier:
    """Every power of ten up to the last compression that there is, then both edges by halving, to one percent.

    What a run leaves need not be monotone: between two looks there may be compressions where more is lost or less.
    """
    start = dense(contender, paths)
    looks = {start.total: start}

    def look(keep: int) -> None:
        if keep not in looks:
            books.tell(f"compression {contender.total / keep:,.6g}")
            made = books.journal.find(
                f"{books.key} {keep} looked", lambda: look_record(look_at(contender, keep, books, paths))
            )
            looks[keep] = look_of(made)

    for keep in powers_of_ten(contender.total, contender.problem.network.initial.kept, max(paths.shortest, 1)):
        look(keep)
    while True:
        found = frontier(contender.layers, list(looks.values()), exact=False)
        wanted = [keep for edge in (found.whole, found.connected) for keep in between(edge, looks)]
        if not wanted:
            return found
        look(wanted[0])


def powers_of_ten(total: int, most: int, fewest: int) -> Iterator[int]:
    """Weights kept at compressions 10, 100, ... and at the last."""
    for power in range(1, len(str(total)) + 1):
        keep = round(total / 10**power)
        if fewest < keep <= most:
            yield keep
    yield min(fewest, most)


def between(edge: Edge, looks: dict[int, Look]) -> Iterator[int]:
    """A number of weights inside an edge, where it is wider than it is to be."""
    if edge.held is None or edge.lost is None or edge.held <= APART * edge.lost:
        return
    middle = round(math.sqrt(edge.held * max(edge.lost, 1)))
    if edge.lost < middle < edge.held and middle not in looks:
        yield middle
