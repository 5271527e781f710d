"""A pruning run as the command offers it: its schedule from what the user typed, its result as data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pruning.certified import count_safe, hybrid, mass_safe
from pruning.masks import keep_count
from pruning.problem import Problem
from pruning.pruner import Claim, Pruner
from pruning.rounds import MAX_ROUNDS, Trace
from pruning.schedule import SCHEDULES, Schedule
from theory.optype import types_of

CERTIFIED = ("mass-safe", "count-safe", "hybrid")


@dataclass(frozen=True)
class Asked:
    """A schedule, about how many rounds it has, and how many weights it is to keep: None, as few as it can."""

    schedule: Schedule
    length: int
    keep: int | None


def planned(problem: Problem, method: Pruner, compression: str, schedule: str, rounds: int | None) -> Asked:
    """The schedule asked for. Raises ValueError for a compression or schedule that can't be had."""
    if schedule not in (*SCHEDULES, *CERTIFIED):
        raise ValueError(f"there is no schedule {schedule!r}; wanted one of {', '.join((*SCHEDULES, *CERTIFIED))}")
    keep = _keep(problem, compression)
    if schedule in CERTIFIED:
        return _certified(problem, method, keep, schedule, rounds)
    if keep is None:
        raise ValueError(f"compression max is for {', '.join(CERTIFIED)}: {schedule} does not know where to stop")
    count = (1 if schedule == "one-shot" else method.rounds) if rounds is None else rounds
    total = problem.network.initial.total
    length = math.ceil(count * math.log10(total / keep)) if schedule == "fixed-step" else count
    if length > MAX_ROUNDS:
        raise ValueError(
            f"{count:,} rounds per factor of ten are {length:,} in all, and a run has at most {MAX_ROUNDS:,}"
        )
    return Asked(SCHEDULES[schedule](total, keep, count), length, keep)


def _keep(problem: Problem, compression: str) -> int | None:
    """Weights to keep; None for as few as a certified schedule can."""
    if compression == "max":
        return None
    try:
        times = float(compression)
    except ValueError:
        raise ValueError(f"compression is {compression!r}, wanted a number or max") from None
    if not (math.isfinite(times) and times >= 1):
        raise ValueError(f"compression is {times:g}, wanted 1 or more (weights before over weights after)")
    initial = problem.network.initial
    keep = keep_count(initial.total, 1 / times)
    if keep > initial.kept:
        raise ValueError(f"the model is already pruned to {initial.kept} weights, fewer than the {keep} asked for")
    return keep


def _certified(problem: Problem, method: Pruner, keep: int | None, schedule: str, rounds: int | None) -> Asked:
    """Raises ValueError for pruners and networks that the union bound does not hold for, named."""
    network = problem.network
    if Claim.UNION_BOUND not in method.claims:
        raise ValueError(
            f"{schedule} rests on the union bound (prunelaws explain B6), which {method.name!r} does not claim"
        )
    sizes = {n: w.abs() for n, w in network.weights.items()}
    made = types_of(network.graph, {**network.neutral, **sizes})[network.graph.output]
    if made.degree is None or not (made.monotone and made.convex):
        raise ValueError(f"{schedule} rests on the union bound, which does not hold here: {'; '.join(made.why)}")
    if rounds is not None and schedule != "hybrid":
        raise ValueError(f"{schedule} takes as many rounds as it needs; --rounds is for the others")
    layers, left = len(network.graph.edges), network.initial.kept
    most = math.floor(layers * math.log(max(left - layers, 1))) + 1  # of mass-safe, on a chain
    if schedule == "hybrid":
        count = method.rounds if rounds is None else rounds
        target = keep or (layers if network.graph.is_chain else 1)
        return Asked(hybrid(network, target, count), max(count, most), keep)
    return Asked({"mass-safe": mass_safe, "count-safe": count_safe}[schedule](network, keep or 1), most, keep)


def pruning_record(problem: Problem, trace: Trace) -> dict[str, Any]:
    """A pruning run as data; masses and cuts are null where they are undefined or overflow, logarithms where R is 0."""
    sizes = [w.numel() for w in problem.network.weights.values()]
    final = trace.masks.kept_by_layer()
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
