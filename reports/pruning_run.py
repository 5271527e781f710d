"""A pruning run as the command offers it: its schedule from what the user typed, its result as data."""

from __future__ import annotations

import math
from typing import Any

from pruning.masks import keep_count
from pruning.problem import Problem
from pruning.rounds import Trace
from pruning.schedule import SCHEDULES, Schedule


def planned(problem: Problem, compression: float, schedule: str, rounds: int) -> Schedule:
    """The schedule asked for. Raises ValueError for a compression or schedule that can't be had."""
    if schedule not in SCHEDULES:
        raise ValueError(f"there is no schedule {schedule!r}; wanted one of {', '.join(SCHEDULES)}")
    if not (math.isfinite(compression) and compression >= 1):
        raise ValueError(f"compression is {compression:g}, wanted 1 or more (weights before over weights after)")
    initial = problem.network.initial
    keep = keep_count(initial.total, 1 / compression)
    if keep > initial.kept:
        raise ValueError(f"the model is already pruned to {initial.kept} weights, fewer than the {keep} asked for")
    return SCHEDULES[schedule](initial.total, keep, rounds)


def length(schedule: str, compression: float, rounds: int) -> int:
    """How many rounds that is."""
    return math.ceil(rounds * math.log10(compression)) if schedule == "fixed-step" else rounds


def pruning_record(problem: Problem, trace: Trace) -> dict[str, Any]:
    """A pruning run as data; masses and cuts are null where they are undefined or overflow, logarithms where R is 0."""
    sizes = [w.numel() for w in problem.network.weights.values()]
    final = trace.kept[-1].tolist()
    return {
        "kept": sum(final),
        "total": sum(sizes),
        "layers": [
            {"name": n, "size": size, "kept": kept} for n, size, kept in zip(trace.layers, sizes, final, strict=True)
        ],
        "rounds": [
            {
                "target": target,
                "kept": int(row.sum()),
                "pruned_mass": _number(mass),
                "cut_mass": _number(cut),
                "log_cut_mass": _number(log),
            }
            for target, row, mass, cut, log in zip(
                trace.targets,
                trace.kept,
                trace.mass.tolist(),
                trace.cut.tolist(),
                trace.log_cut.tolist(),
                strict=True,
            )
        ],
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
