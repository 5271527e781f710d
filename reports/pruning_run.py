"""A pruning run as the command offers it: its schedule from what the user typed, its result as data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pruning.certificate import Certificate, Origin, certificate
from pruning.certified import count_safe, hybrid, mass_safe, rounding
from pruning.masks import Masks, keep_count
from pruning.network import Network
from pruning.problem import Problem
from pruning.pruner import Pruner
from pruning.rounds import MAX_ROUNDS, Trace
from pruning.schedule import SCHEDULES, Schedule
from theory.certify import why_no_certificate, why_not, why_unknown
from theory.collapse import Paths, UnreadablePaths, emptied_layers
from theory.laws.critical import most_rounds

CERTIFIED = ("mass-safe", "count-safe", "hybrid")
ALL_SCHEDULES = (*SCHEDULES, *CERTIFIED)


@dataclass(frozen=True)
class Asked:
    """A schedule, about how many rounds it has, and how many weights it is to keep: None, as few as it can."""

    schedule: Schedule
    length: int
    keep: int | None


def planned(problem: Problem, method: Pruner, compression: str, schedule: str, rounds: int | None) -> Asked:
    """The schedule asked for. Raises ValueError for a compression or schedule that can't be had."""
    if schedule not in ALL_SCHEDULES:
        raise ValueError(f"there is no schedule {schedule!r}; wanted one of {', '.join(ALL_SCHEDULES)}")
    return to_keep(problem, method, _keep(problem, compression), schedule, rounds)


def to_keep(problem: Problem, method: Pruner, keep: int | None, schedule: str, rounds: int | None = None) -> Asked:
    """The schedule that keeps a number of weights, or as few as it can. Raises ValueError where it can't be had."""
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
    if why := why_not(network, method):
        raise ValueError(f"{schedule} rests on {why}")
    if method.objective is None:
        raise ValueError(f"{schedule} goes by shares of R, and {method.name!r} has no objective")
    if rounds is not None and schedule != "hybrid":
        raise ValueError(f"{schedule} takes as many rounds as it needs; --rounds is for the others")
    layers, left = len(network.graph.edges), network.initial.kept
    most = most_rounds(max(left, layers + 1), layers)  # of mass-safe, on a chain
    if schedule == "hybrid":
        count = method.rounds if rounds is None else rounds
        target = keep or (layers if network.graph.is_chain else 1)
        return Asked(hybrid(network, target, count), max(count, most), keep)
    return Asked({"mass-safe": mass_safe, "count-safe": count_safe}[schedule](network, keep or 1), most, keep)


def check_certifiable(problem: Problem, method: Pruner) -> None:
    """Raise ValueError where a run can't be certified, before it is made."""
    if why := why_no_certificate(problem.network, method):
        raise ValueError(f"a certificate rests on {why}")
    rounding(problem.network)
    if why := why_unknown(problem.network):
        raise ValueError(f"a certificate of this could not be checked: {why}")


def certificate_of(problem: Problem, trace: Trace, origin: Origin) -> Certificate:
    """The certificate of a run. Raises ValueError where R is beyond float64."""
    return certificate(problem.network, trace, rounding(problem.network), origin)


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
        "collapse": collapse_record(problem.network, trace.masks),
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


def collapse_record(network: Network, masks: Masks) -> dict[str, Any]:
    """What is left of the network, as data; `unread` says why no more is told than which layers are empty."""
    try:
        found = Paths(network).under(masks)
    except UnreadablePaths as error:
        return {"emptied": list(emptied_layers(masks)), "unread": str(error)}
    return {
        "emptied": list(found.emptied),
        "connected": found.connected,
        "inputs": found.inputs,
        "inputs_cut": found.inputs_cut,
        "outputs": found.outputs,
        "outputs_cut": found.outputs_cut,
        "on_live_paths": sum(found.live),
        "direct_density": found.direct_density,
        "effective_density": found.effective_density,
        "shortest_path": found.shortest,
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
