"""Precision: a pruning run made once more in float32, and how many weights it keeps in place of others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from pruning.engine import masks_by_round
from pruning.masks import Masks
from pruning.problem import Problem
from pruning.pruner import Pruner
from pruning.rounds import Log, Trace
from pruning.schedule import Schedule
from theory.verdict import PrecisionRecord


def beside_float32(
    model: str,
    problem: Problem,
    pruner: Pruner,
    schedule: Schedule,
    run: Trace,
    on_round: Callable[[int, int], None],
) -> PrecisionRecord:
    """`run`, which the pruner made of the problem in float64, beside the textbook loop on the same in float32.

    `on_round` is told each float32 round and the number of weights kept. What ends the float32 run, such as scores
    that overflow, is recorded, not raised.
    """
    single = in_float32(problem)
    log, kept, exchanged, ended = Log(single.network, pruner), list[int](), list[int](), ""
    try:
        rounded = masks_by_round(single, pruner, schedule, log)
        for exact, other in zip(_masks(problem, pruner, schedule, run), rounded, strict=True):
            exchanged.append(_missing(exact, other))
            kept.append(log.kept)
            on_round(len(kept), log.kept)
    except ValueError as error:  # scores that can't be used, or a weight beyond float32's range
        ended = str(error)
    return PrecisionRecord(
        pruner=pruner.name,
        model=model,
        kept=run.kept.sum(1).tolist(),
        kept_float32=kept,
        exchanged=exchanged,
        flat=[r for r in log.flat if r <= len(kept) and r not in run.flat],
        drawn=run.calls.get("rand", 0) > 0,
        ended=ended,
    )


def in_float32(problem: Problem) -> Problem:
    """The same problem with weights, constants and data rounded to float32."""

    def rounded(tensor: Tensor) -> Tensor:
        return tensor.float() if tensor.is_floating_point() else tensor

    batch = (rounded(problem.batch[0]), rounded(problem.batch[1])) if problem.batch else None
    return replace(problem, network=problem.network.to(dtype=torch.float32), batch=batch)


def _masks(problem: Problem, pruner: Pruner, schedule: Schedule, run: Trace) -> Iterator[Masks]:
    """A run's masks after each round; it is made again where a trace can't tell them, for weights were revived."""
    if any(run.revived):
        return masks_by_round(problem, pruner, schedule, Log(problem.network, pruner))
    return (run.masks_at(round_) for round_ in range(1, run.rounds + 1))


def _missing(masks: Masks, other: Masks) -> int:
    return sum(int((mask & ~other[name]).sum()) for name, mask in masks.items())
