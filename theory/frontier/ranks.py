"""The frontier of a method that scores once: the rank of each layer's best score tells where it empties."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from pruning.answers import call_scorer, check_scores
from pruning.masks import Masks, Tensors, global_top_k
from pruning.problem import Probe
from pruning.pruner import State
from theory.collapse import Paths
from theory.frontier.found import Contender, Frontier, Look, frontier, look_of, look_record
from theory.frontier.runs import Books

PER_DECADE = 4  # looks that are drawn


def by_ranks(contender: Contender, books: Books, paths: Paths) -> Frontier:
    """Exact in both edges. A layer is empty where fewer weights are kept than the rank of its best.

    Raises ScoreError for scores that can't be used.
    """
    made = books.journal.find(f"{books.key} ranks", lambda: [look_record(k) for k in _looks(contender, books, paths)])
    return frontier(contender.layers, [look_of(record) for record in made], exact=True)


def _looks(contender: Contender, books: Books, paths: Paths) -> Iterator[Look]:
    """At both edges, and evenly apart in compression."""
    network, masks = contender.problem.network, contender.problem.network.initial
    books.tell("scoring")
    scores = call_scorer(contender.pruner, network, State(network.weights, masks), Probe(contender.problem))
    check_scores(contender.pruner.name, network.weights, scores)

    def connected(keep: int) -> bool:
        books.tell(f"whether {keep:,} weights leave a path")
        return bool(
            books.journal.find(
                f"{books.key} connected {keep}", lambda: paths.connected(global_top_k(scores, masks, keep))
            )
        )

    empties = max(best_ranks(scores, masks).values(), default=0)
    breaks = least(connected, masks.kept, empties)
    looks = {masks.kept, empties, empties - 1, breaks, breaks - 1, *grid(masks.kept, contender.total)}
    for keep in sorted(keep for keep in looks if 0 < keep <= masks.kept):
        yield Look(tuple(global_top_k(scores, masks, keep).kept_by_layer()), keep >= breaks)


def best_ranks(scores: Tensors, masks: Masks) -> dict[str, int]:
    """Per layer the place of its best score among all, counted from 1; of equal ones the earlier is better."""
    alive = {n: s.masked_fill(~masks[n], -torch.inf).flatten() for n, s in scores.items()}
    found, names = dict[str, int](), list(alive)
    for i, name in enumerate(names):
        if not masks[name].any():
            continue
        best = alive[name].max()
        above = sum(int((s > best).sum()) for s in alive.values())
        equal = sum(int((alive[n] == best).sum()) for n in names[:i])
        found[name] = above + equal + 1
    return found


def least(holds: Callable[[int], bool], most: int, guess: int) -> int:
    """The least number, of 1 to `most`, from which on something holds; most + 1 where it never does.

    Asked near the guess first, then in steps that double.
    """
    low, high, step = 0, most + 1, 1  # it does not hold at low, and holds at high, as far as is known
    asked = min(max(guess, 1), most)
    while high - low > 1:
        if holds(asked):
            high, asked = asked, max(asked - step, (low + asked) // 2 if low else 1)
        else:
            low, asked = asked, min(asked + step, (asked + high) // 2 if high <= most else most)
        step *= 2
    return high


def grid(most: int, total: int) -> Sequence[int]:
    """Numbers of weights, evenly apart in compression."""
    steps = range(PER_DECADE * len(str(total)) + 1)
    return [keep for i in steps if 1 <= (keep := round(total * 10 ** (-i / PER_DECADE))) <= most]
