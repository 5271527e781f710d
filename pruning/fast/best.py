"""The fastest way there is for a run: the fast path where it can do it, else the textbook loop."""

from __future__ import annotations

from collections.abc import Callable

import torch

from pruning.answers import check_asked
from pruning.engine import prune
from pruning.fast.given import run_magnitude, run_random
from pruning.fast.lower import NotLoweredError
from pruning.fast.rounds import Watch
from pruning.fast.run import run_synflow
from pruning.problem import Problem
from pruning.pruner import Pruner
from pruning.pruners.magnitude import magnitude
from pruning.pruners.random import random
from pruning.pruners.synflow import synflow
from pruning.rounds import Standing, Trace
from pruning.schedule import Schedule, check_schedule

Run = Callable[[Problem, Schedule, Watch], Trace]
RUNS: tuple[tuple[Pruner, Run], ...] = (
    (synflow, lambda problem, schedule, watch: run_synflow(problem.network, schedule, watch)),
    (magnitude, run_magnitude),
    (random, run_random),
)


def prune_at_best(
    problem: Problem,
    pruner: Pruner,
    schedule: Schedule,
    on_round: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
    on_standing: Callable[[Standing], None] | None = None,
    since: Standing | None = None,
) -> Trace:
    """What `prune` gives, mask for mask, sooner where the fast path can do it: in float64 on the CPU.

    It does SynFlow, magnitude and random. `say` is told why a run of these is left to the textbook loop. Raises as
    `prune` does.
    """
    check_asked(pruner, problem)
    check_schedule(schedule)
    for known, run in RUNS:
        if (pruner.score, pruner.select, pruner.choose) == (known.score, known.select, known.choose):
            if problem.network.together:
                break  # the fast path has whole weights alone
            kinds = {(w.dtype, w.device.type) for w in problem.network.weights.values()}
            try:
                if kinds != {(torch.float64, "cpu")}:
                    raise NotLoweredError("it is for float64 on the CPU")
                return run(problem, schedule, Watch(on_round, on_standing, since))
            except NotLoweredError as reason:
                if say:
                    say(f"the textbook loop is used, for the fast path can't do this network: {reason}")
    return prune(problem, pruner, schedule, on_round, on_standing, since)
