"""The largest flow between two ends of a network of capacities, in exact fractions, by shortest augmenting paths."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import pairwise

Capacities = Mapping[tuple[int, int], Fraction]  # from tail to head


def largest_flow(capacities: Capacities, starts: Iterable[int], ends: Iterable[int]) -> Fraction:
    """The largest flow from any of `starts` to any of `ends` (Edmonds and Karp 1972)."""
    room: dict[int, dict[int, int]] = defaultdict(dict)  # in whole parts of 1 / unit, which are compared sooner
    unit = math.lcm(*(capacity.denominator for capacity in capacities.values()))
    for (tail, head), capacity in capacities.items():
        room[tail][head] = room[tail].get(head, 0) + capacity.numerator * (unit // capacity.denominator)
        room[head].setdefault(tail, 0)
    sources, sinks, flow = set(starts), set(ends), 0
    while (path := _shortest(room, sources, sinks)) is not None:
        steps = list(pairwise(path))
        least = min(room[tail][head] for tail, head in steps)
        for tail, head in steps:
            room[tail][head] -= least
            room[head][tail] += least
        flow += least
    return Fraction(flow, unit)


def _shortest(room: Mapping[int, Mapping[int, int]], starts: set[int], ends: set[int]) -> list[int] | None:
    """A path with room from a start to an end, with as few steps as possible."""
    came = dict.fromkeys(starts, -1)
    waiting = deque(starts)
    while waiting:
        unit = waiting.popleft()
        if unit in ends:
            path = [unit]
            while came[path[-1]] >= 0:
                path.append(came[path[-1]])
            return path[::-1]
        for head, left in room.get(unit, {}).items():
            if left > 0 and head not in came:
                came[head] = unit
                waiting.append(head)
    return None
