"""Jobs side by side: each in a process of its own, forked, so that nothing need be sent to it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, cast

import torch

Say = Callable[[Any], None]
Job = Callable[[Say], None]  # says, one after the other, whatever can be pickled


def processors() -> int:
    """How many processes may run side by side here: 1 where processes can't be forked safely."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1


def side_by_side(jobs: Sequence[Job], workers: int, hear: Say) -> None:
    """Do every job, at most `workers` at once, and tell `hear` what they say.

    What one job says is heard in its order; with one worker, or one job, all is done here, in theirs.
    Raises RuntimeError with the fault of a job, ChildProcessError where its process was killed. However
    it ends, no process is left.
    """
    if min(workers, len(jobs)) <= 1:
        for job in jobs:
            job(hear)
        return
    waiting = list(jobs)
    running: dict[Connection, BaseProcess] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                ear, process = _started(waiting.pop(0), list(running))
                running[ear] = process
            for ear in cast(list[Connection], wait(list(running))):
                process = running[ear]
                try:
                    ended, said = ear.recv()
                except EOFError:
                    process.join()
                    raise ChildProcessError(
                        f"a process of ours ended with status {process.exitcode} in the middle of its work; "
                        "-9 mostly means that the machine was out of memory"
                    ) from None
                if not ended:
                    hear(said)
                    continue
                if said:
                    raise RuntimeError(said)
                process.join()
                del running[ear]
    finally:
        for process in running.values():
            process.kill()
            process.join()


def _started(job: Job, others: list[Connection]) -> tuple[Connection, BaseProcess]:
    context = multiprocessing.get_context("fork")
    ear, mouth = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(job, mouth, [ear, *others]))  # no daemon: scorers may have workers
    with warnings.catch_warnings():
        # Python warns of threads that hold locks: torch's wait in a pool, which one thread alone does not use
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        process.start()
    mouth.close()
    return ear, process


def _work(job: Job, mouth: Connection, ears: list[Connection]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and ends this process
    for ear in ears:  # the parent's alone: once it is gone nobody listens, and speaking ends this process
        ear.close()
    torch.set_num_threads(1)
    try:
        job(lambda said: mouth.send((False, said)))
        mouth.send((True, None))
    except BrokenPipeError:
        return
    except BaseException:
        mouth.send((True, traceback.format_exc()))
