"""Schedules: how many weights are kept after each round."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

# (round counted from 1, weights kept now, the alive scores sorted ascending, made on demand)
# -> weights to keep after this round; None when the schedule has ended
Schedule = Callable[[int, int, Callable[[], Tensor]], int | None]


def exponential(total: int, keep: int, rounds: int) -> Schedule:
    """Keep total * (keep/total)^(t/rounds) weights after round t (Tanaka et al. 2020, Algorithm 1)."""
    _check(total, keep, rounds)
    return _fixed([round(total * (keep / total) ** (t / rounds)) for t in range(1, rounds)] + [keep])


def linear(total: int, keep: int, rounds: int) -> Schedule:
    """Remove the same number of weights in every round."""
    _check(total, keep, rounds)
    return _fixed([round(total + (keep - total) * t / rounds) for t in range(1, rounds)] + [keep])


def one_shot(total: int, keep: int, rounds: int = 1) -> Schedule:
    """Remove everything in one round; `rounds` is there for one signature and must be 1."""
    _check(total, keep, rounds)
    if rounds != 1:
        raise ValueError(f"a one-shot schedule has 1 round, got {rounds}")
    return _fixed([keep])


def _check(total: int, keep: int, rounds: int) -> None:
    for name, value in (("total", total), ("keep", keep), ("rounds", rounds)):
        if not isinstance(value, int):
            raise TypeError(f"{name} is {value!r}, wanted a whole number")
    if rounds < 1:
        raise ValueError(f"a schedule needs at least 1 round, got {rounds}")
    if not 1 <= keep <= total:
        raise ValueError(f"a schedule can't keep {keep} of {total} weights; wanted 1 to {total}")


def _fixed(plan: list[int]) -> Schedule:
    def schedule(round_: int, kept: int, alive: Callable[[], Tensor]) -> int | None:
        return min(kept, plan[round_ - 1]) if round_ <= len(plan) else None

    return schedule


SCHEDULES: dict[str, Callable[[int, int, int], Schedule]] = {
    "exponential": exponential,
    "linear": linear,
    "one-shot": one_shot,
}
