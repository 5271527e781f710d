"""Schedules: how many weights are kept after each round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Alive:
    """The weights that are left, as a schedule may ask for them: their scores are made when they are asked for."""

    _scores: Callable[[], Tensor]
    _shares: Callable[[], Tensor]

    def __call__(self) -> Tensor:
        """Their scores, ascending."""
        return self._scores()

    def shares(self) -> Tensor:
        """Their scores over the objective R before the round, ascending, in float64. Raises ValueError without an R."""
        return self._shares()


# (round counted from 1, weights kept now, those that are left)
# -> weights to keep after this round; None when the schedule has ended
Schedule = Callable[[int, int, Alive], int | None]


def asked(schedule: Schedule, round_: int, kept: int, alive: Alive) -> int | None:
    """What a schedule asks for. Raises TypeError for what is no whole number."""
    target = schedule(round_, kept, alive)
    if target is not None and (isinstance(target, bool) or not isinstance(target, int)):
        raise TypeError(f"the schedule gave {target!r} for round {round_}, wanted a whole number, or None for its end")
    return target


def check_schedule(schedule: object) -> None:
    """Raise TypeError unless it can be called."""
    if not callable(schedule):
        raise TypeError(f"the schedule is {schedule!r}; wanted such as prunelaws.exponential(total, keep, rounds)")


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


def fixed_step(total: int, keep: int, rounds: int) -> Schedule:
    """Keep total * 10^(-t/rounds) weights after round t, until `keep` are left: `rounds` for each factor of ten.

    How far a round goes does not depend on `keep`, so that one run to the fewest serves every other number on its way:
    `Trace.masks_at(t)` is what a run of its own would end with that keeps round(total * 10^(-t/rounds)) weights.
    """
    _check(total, keep, rounds)
    plan = [total]
    while plan[-1] > keep:
        plan.append(max(keep, round(total * 10 ** (-len(plan) / rounds))))
    return _fixed(plan[1:] or [keep])


def _check(total: int, keep: int, rounds: int) -> None:
    for name, value in (("total", total), ("keep", keep), ("rounds", rounds)):
        if not isinstance(value, int):
            raise TypeError(f"{name} is {value!r}, wanted a whole number")
    if rounds < 1:
        raise ValueError(f"a schedule needs at least 1 round, got {rounds}")
    if not 1 <= keep <= total:
        raise ValueError(f"a schedule can't keep {keep} of {total} weights; wanted 1 to {total}")


def _fixed(plan: list[int]) -> Schedule:
    def schedule(round_: int, kept: int, alive: Alive) -> int | None:
        return min(kept, plan[round_ - 1]) if round_ <= len(plan) else None

    return schedule


SCHEDULES: dict[str, Callable[[int, int, int], Schedule]] = {
    "exponential": exponential,
    "linear": linear,
    "one-shot": one_shot,
    "fixed-step": fixed_step,
}
