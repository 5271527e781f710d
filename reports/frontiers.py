"""The collapse frontier as the command makes it: methods as they are typed, results as data."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pruning.answers import ScoreError
from pruning.certificate import as_scored, digest
from pruning.errors import UsageError
from pruning.masks import global_top_k
from pruning.problem import Problem
from pruning.pruner import Pruner
from pruning.references import load_pruner
from reports.pruning_run import ALL_SCHEDULES, CERTIFIED, to_keep
from theory.collapse import Paths, UnreadablePaths, carried
from theory.frontier.found import Contender, Edge, Frontier, look_record
from theory.frontier.journal import Journal
from theory.frontier.onerun import by_one_run
from theory.frontier.ranks import by_ranks
from theory.frontier.runs import Books
from theory.frontier.search import by_search

VERSION = 1


@dataclass(frozen=True)
class Method:
    """A pruner under a schedule, as it was typed: NAME, or NAME@SCHEDULE."""

    name: str
    pruner: Pruner
    schedule: str

    @property
    def rounds(self) -> int:
        """Rounds of scoring, where the schedule has a number of them."""
        return 1 if self.schedule == "one-shot" else self.pruner.rounds

    @property
    def way(self) -> str:
        """How its frontier is found."""
        alone = self.pruner.score is not None and self.pruner.choose is None and self.pruner.select is global_top_k
        if self.schedule in ("mass-safe", "count-safe", "fixed-step"):
            return "one run"
        return "ranks" if self.rounds == 1 and self.schedule not in CERTIFIED and alone else "search"


def method_named(text: str) -> Method:
    """What was typed. Raises UsageError for a pruner or schedule that there is not."""
    reference, at, schedule = text.rpartition("@")
    if not at:
        reference, schedule = text, ""
    elif schedule not in ALL_SCHEDULES:
        raise UsageError(f"there is no schedule {schedule!r} as in {text!r}; wanted one of {', '.join(ALL_SCHEDULES)}")
    pruner = load_pruner(reference)
    return Method(text, pruner, schedule or ("one-shot" if pruner.rounds == 1 else "exponential"))


def every(
    methods: Sequence[Method],
    cases: Sequence[tuple[str, int]],
    load: Callable[[str, int], Problem],
    journal: Journal,
    step: Callable[[str, int, int], None],
) -> tuple[list[dict[str, Any]], list[str]]:
    """The frontier of every method on every model and seed, and what could not be had.

    step: told what is done, how many methods are done, and how many there are. Raises UsageError for a model in which
    live paths can't be told.
    """
    results, faults, steps = list[dict[str, Any]](), list[str](), len(cases) * len(methods)
    for i, (model, seed) in enumerate(cases):
        step(f"{model}, seed {seed}: tracing", i * len(methods), steps)
        problem = load(model, seed)
        try:
            paths = Paths(problem.network)
        except UnreadablePaths as error:
            raise UsageError(f"live paths can't be told on {model!r}: {error}") from error
        carries = carried(problem.network)
        for j, method in enumerate(methods):
            what, done = f"{method.name} on {model}, seed {seed}", i * len(methods) + j

            def tell(text: str, what: str = what, done: int = done) -> None:
                step(f"{what}: {text}", done, steps)

            try:
                results.append(found(method, model, problem, paths, carries, journal, tell))
            except (ScoreError, ValueError) as error:
                faults.append(f"{what}: {error}")
    return results, faults


def found(
    method: Method,
    model: str,
    problem: Problem,
    paths: Paths,
    carries: Mapping[str, float],
    journal: Journal,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """The frontier of a method on a model; carries: per layer its share of R.

    Raises ScoreError, and ValueError for a schedule that can't be had there.
    """
    network = problem.network
    to_keep(problem, method.pruner, None if method.schedule in CERTIFIED else network.initial.kept, method.schedule)
    least = max(paths.shortest, 1)

    def plan(keep: int) -> Any:
        asked = None if method.way == "one run" and method.schedule in CERTIFIED else keep
        return to_keep(problem, method.pruner, asked, method.schedule).schedule

    books = Books(journal, f"{method.name} {model} {fingerprint(method, problem)}", tell)
    ways: dict[str, Callable[[Contender, Books, Paths], Frontier]] = {
        "ranks": by_ranks,
        "one run": partial(by_one_run, keep=least),
        "search": by_search,
    }
    contender = Contender(problem, method.pruner, plan)
    return record(method, model, contender, paths, carries, ways[method.way](contender, books, paths))


def fingerprint(method: Method, problem: Problem) -> str:
    """What the result hangs on, beside names: network, data, seed, and the source that a pruner is written in."""
    inputs = [(f"batch {i}", t.cpu().numpy()) for i, t in enumerate(problem.batch or ())]
    network = digest([*sorted(as_scored(problem.network).items()), *inputs])
    return f"seed {problem.seed} {network[:16]} {_source(method.pruner)[:16]}"


def _source(pruner: Pruner) -> str:
    """A digest of the file that what scores is written in; empty where it can't be told."""
    scoring = pruner.score or pruner.choose
    inner = getattr(scoring, "objective", getattr(scoring, "of", scoring))
    try:
        return hashlib.sha256(Path(inspect.getfile(inner)).read_bytes()).hexdigest()  # type: ignore[arg-type]
    except (TypeError, OSError):
        return ""


def record(
    method: Method, model: str, contender: Contender, paths: Paths, carries: Mapping[str, float], made: Frontier
) -> dict[str, Any]:
    """A frontier as data."""
    return {
        "method": method.name,
        "pruner": method.pruner.name,
        "schedule": method.schedule,
        "rounds": method.rounds,
        "way": method.way,
        "model": model,
        "seed": contender.problem.seed,
        "weights": contender.total,
        "shortest_path": paths.shortest,
        "layers": list(contender.layers),
        "sizes": [w.numel() for w in contender.problem.network.weights.values()],
        "carries": {n: carries[n] for n in contender.layers if n in carries},
        "exact": made.exact,
        "emptied": _edge(made.whole),
        "broken": _edge(made.connected),
        "looks": [look_record(look) for look in made.looks],
    }


def _edge(edge: Edge) -> dict[str, Any]:
    return {"held": edge.held, "lost": edge.lost, "layers": list(edge.what)}


def compressions(result: dict[str, Any], edge: str) -> str:
    """Between which compressions something ends, in words."""
    held, lost, total = result[edge]["held"], result[edge]["lost"], result["weights"]
    if held is None:
        return "at once"
    if lost is None:
        return f"none to {times(total / held)}"
    return times(total / held) if result["exact"] else f"{times(total / held)} to {times(total / lost)}"


def times(compression: float) -> str:
    """A compression, in four digits or in whole numbers."""
    return f"{compression:,.0f}" if compression >= 1000 else f"{compression:.4g}"


def rows(results: Sequence[dict[str, Any]]) -> list[list[str]]:
    """A row for each result, for a table."""
    return [
        [
            r["model"],
            r["method"],
            str(r["seed"]),
            compressions(r, "emptied"),
            ", ".join(r["emptied"]["layers"]) or "-",
            compressions(r, "broken"),
            times(r["weights"] / max(r["shortest_path"], 1)),
            r["way"],
        ]
        for r in results
    ]


COLUMNS = ["model", "method", "seed", "a layer empties at", "which", "the last path breaks at", "one path", "found by"]
