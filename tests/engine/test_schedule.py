"""Schedules end at exactly the count asked for and never grow."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pruning.schedule import SCHEDULES, Schedule, exponential, fixed_step, linear, one_shot

PLANS = st.integers(1, 10**7).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n), st.integers(1, 120)))


def targets(schedule: Schedule, total: int) -> list[int]:
    """What a run would be told, until the schedule ends."""
    kept, seen = total, []
    while (target := schedule(len(seen) + 1, kept, lambda: torch.empty(0))) is not None:
        seen.append(target)
        kept = target
    return seen


@pytest.mark.parametrize("make", [exponential, linear])
@given(plan=PLANS)
def test_every_round_is_there_none_grows_and_the_last_keeps_what_was_asked(make, plan):
    total, keep, rounds = plan
    found = targets(make(total, keep, rounds), total)
    assert len(found) == rounds
    assert found == sorted(found, reverse=True)
    assert found[-1] == keep
    assert found[0] <= total


@given(plan=PLANS)
def test_exponential_is_algorithm_1_of_the_paper(plan):
    total, keep, rounds = plan
    found = targets(exponential(total, keep, rounds), total)
    assert found[:-1] == [round(total * (keep / total) ** (t / rounds)) for t in range(1, rounds)]


def test_linear_removes_evenly():
    assert targets(linear(100, 10, 3), 100) == [70, 40, 10]


def test_one_shot_is_one_round():
    assert targets(one_shot(100, 7), 100) == [7]
    with pytest.raises(ValueError, match="a one-shot schedule has 1 round, got 2"):
        one_shot(100, 7, 2)


@given(plan=PLANS)
def test_a_fixed_step_goes_the_same_way_whatever_is_kept_at_its_end(plan):
    total, keep, rounds = plan
    found = targets(fixed_step(total, keep, rounds), total)
    way = [round(total * 10 ** (-t / rounds)) for t in range(1, len(found) + 1)]
    assert found[:-1] == way[:-1] and found[-1] == keep >= way[-1]
    assert len(found) == 1 or found[-2] > keep


def test_a_schedule_never_asks_for_more_than_is_kept_now():
    assert exponential(100, 50, 2)(1, 30, lambda: torch.empty(0)) == 30


def test_scores_are_not_made_for_a_schedule_that_needs_none():
    def alive() -> torch.Tensor:
        raise AssertionError("the scores were sorted for nothing")

    for make in SCHEDULES.values():
        assert make(10, 5, 1)(1, 10, alive) == 5


@pytest.mark.parametrize("make", SCHEDULES.values())
@pytest.mark.parametrize("rounds", [0, -1])
def test_less_than_one_round_is_refused(make, rounds):
    with pytest.raises(ValueError, match=f"a schedule needs at least 1 round, got {rounds}"):
        make(100, 10, rounds)


@pytest.mark.parametrize("make", SCHEDULES.values())
@pytest.mark.parametrize("keep", [0, -1, 101])
def test_a_count_that_cannot_be_kept_is_refused(make, keep):
    with pytest.raises(ValueError, match=f"can't keep {keep} of 100 weights; wanted 1 to 100"):
        make(100, keep, 1)


def test_counts_are_whole_numbers() -> None:
    with pytest.raises(TypeError, match=r"keep is 2\.5, wanted a whole number"):
        exponential(10, 2.5, 2)  # type: ignore[arg-type]
