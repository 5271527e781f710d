"""A frontier that is killed again and again: each process goes on from what the last one left, until one ends.

Run by test_frontier.py: prints how often it was killed, whether the table is that of a run that nobody stopped, and how
many rounds one process did that another had done before.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from pruning.models.chains import mlp
from pruning.problem import Problem, squared_error
from pruning.pruners.synflow import synflow
from pruning.rounds import Standing
from pruning.schedule import exponential
from pruning.trace import trace
from theory.collapse import Paths
from theory.frontier import runs
from theory.frontier.found import Contender, look_record
from theory.frontier.journal import Journal
from theory.frontier.search import by_search

KILLS = 20


def problem() -> Problem:
    torch.set_num_threads(1)  # a pool of threads would not outlive a fork
    torch.manual_seed(0)
    network = trace(mlp(16, [32] * 3, 10), torch.ones(1, 16)).to(dtype=torch.float64)
    return Problem(network, None, squared_error, 0)


def table(own: Problem, folder: Path, rounds_done: Path) -> str:
    """The frontier; every round that is done leaves a line."""
    contender = Contender(own, synflow, lambda keep: exponential(own.network.size, keep, 40))
    journal = Journal(folder)
    add = journal.flight.add

    def added(standing: Standing, share: float | None) -> None:
        with rounds_done.open("a") as file:
            file.write(f"{standing.kept} {standing.round}\n")
        add(standing, share)

    journal.flight.add = added  # type: ignore[method-assign]
    found = by_search(contender, runs.Books(journal, "mlp", lambda text: None), Paths(own.network))
    return json.dumps([look_record(look) for look in found.looks])


def forked(own: Problem, folder: Path, rounds_done: Path, seconds: float | None) -> bool:
    """Whether a process of its own came to its end before it was killed."""
    child = os.fork()
    if not child:
        (folder / "table").write_text(table(own, folder, rounds_done))
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return status == 0


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def main(place: Path) -> None:
    whole, stopped = place / "whole", place / "stopped"
    for folder in (whole, stopped):
        folder.mkdir()
    own = problem()
    start = time.perf_counter()
    assert forked(own, whole, place / "rounds", None)
    lasts, source, kills, worst = time.perf_counter() - start, random.Random(0), 0, 0
    while kills < KILLS:
        before = lines(stopped / "rounds")
        if forked(own, stopped, stopped / "rounds", source.uniform(0.1, 0.5) * lasts):
            for left in stopped.iterdir():  # it came to its end: from the start again
                left.unlink()
            continue
        kills += 1
        done = lines(stopped / "rounds")[len(before) :]
        worst = max(worst, len(set(done) & set(before)))
    assert forked(own, stopped, stopped / "rounds", None)
    equal = (whole / "table").read_text() == (stopped / "table").read_text()
    sys.stdout.write(json.dumps({"kills": kills, "equal": equal, "done again": worst}))


main(Path(sys.argv[1]))
