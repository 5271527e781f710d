"""Units: numbers that are joined, entry by entry."""

from itertools import product

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pruning.units import NOBODY, Units, thin


def partition(units: Units, count: int) -> list[int]:
    return units.rooted(torch.arange(count, dtype=torch.float64)).tolist()


@settings(derandomize=True, database=None, deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(-1, 11), st.integers(-1, 11)), max_size=8), max_size=6))
def test_joined_numbers_are_the_least_of_their_class(steps):
    """Against sets merged one pair at a time; nobody joins nothing."""
    units = Units()
    units.fresh(5), units.fresh(7)
    classes = [{i} for i in range(12)]
    for pairs in steps:
        if not pairs:
            continue
        first, second = torch.tensor(pairs, dtype=torch.float64).T
        units.join(first, second)
        for a, b in (p for p in pairs if min(p) >= 0):
            together = next(c for c in classes if a in c) | next(c for c in classes if b in c)
            classes = [c for c in classes if not c & together] + [together]
    assert partition(units, 12) == [min(next(c for c in classes if i in c)) for i in range(12)]


def test_what_is_broadcast_is_joined_as_if_it_were_written_out():
    for first, second in product([(3, 1), (1, 4), (3, 4), (4,)], [(3, 4), (2, 3, 4)]):
        units, written = Units(), Units()
        for u, full in ((units, False), (written, True)):
            a = u.fresh(torch.Size(first).numel()).reshape(first)
            b = u.fresh(torch.Size(second).numel()).reshape(second)
            u.join(*(torch.broadcast_tensors(a, b) if full else (a, b)))
        count = torch.Size(first).numel() + torch.Size(second).numel()
        assert partition(units, count) == partition(written, count)


def test_joining_along_axes_leaves_nobody_alone():
    units = Units()
    numbers = units.fresh(6).reshape(2, 3)
    numbers[0, 0] = numbers[:, 2] = NOBODY
    assert units.joined_along(numbers, [0]).tolist() == [[3.0, 4.0, NOBODY]]
    assert partition(units, 6) == [0, 1, 2, 3, 1, 5]
    assert units.rooted(numbers).tolist() == [[-1, 1, -1], [3, 1, -1]]


def test_joining_to_the_entries_of_a_parameter():
    units = Units()
    numbers = units.fresh(12).reshape(2, 3, 2)
    assert units.joined_to(numbers, torch.Size([3, 1])).shape == (3, 1)
    assert partition(units, 12) == [0, 0, 2, 2, 4, 4] * 2
    assert units.joined_to(numbers, torch.Size([])).shape == ()
    assert set(partition(units, 12)) == {0}


def test_objections_stay_with_a_unit_whatever_it_is_joined_with():
    units = Units()
    a, b = units.fresh(2), units.fresh(2)
    units.object_to(b, "first")
    units.object_to(torch.cat([b, torch.tensor([NOBODY])]), "second")
    units.object_to(b[:1], "first")
    units.join(a[:1], b[:1])
    assert units.objections() == {0: ["first", "second"], 3: ["first", "second"]}


def test_copies_are_looked_at_once():
    assert thin(torch.arange(3.0).reshape(1, 3, 1).expand(5, 3, 7)).shape == (1, 3, 1)
    assert thin(torch.zeros(2, 3)).shape == (2, 3)
