"""Jobs side by side: each in a process of its own, forked, so that nothing need be sent to it."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, cast

import torch

PR_SET_PDEATHSIG = 1  # linux/prctl.h
INTERRUPTED = 130  # the exit status that shells give to an interrupt

Say = Callable[[Any], None]
Job = Callable[[Say], None]  # says, one after the other, whatever can be pickled


def processors() -> int:
    """How many processes may run side by side: 0 where processes can't be forked safely."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else 0


def side_by_side(jobs: Mapping[str, Job], workers: int, hear: Say) -> None:
    """Do every job, each in a process of its own, at most `workers` at once, and tell `hear` what they say.

    What one job says is heard in its order; with 0 workers all is done here, in theirs. Raises RuntimeError with
    the fault of a job, ChildProcessError with its name where its process ended before it did. However this
    ends, no process is left.
    """
    if not workers:
        for job in jobs.values():
            job(hear)
        return
    waiting = list(jobs.items())
    running: dict[Connection, tuple[str, BaseProcess]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                name, job = waiting.pop(0)
                with _uninterrupted():
                    ear, process = _started(job)
                    running[ear] = name, process
            for ear in cast(list[Connection], wait(list(running))):
                name, process = running[ear]
                try:
                    ended, said = ear.recv()
                except EOFError:
                    process.join()
                    raise ChildProcessError(_how_it_ended(name, cast(int, process.exitcode))) from None
                if not ended:
                    hear(said)
                    continue
                if said:
                    raise RuntimeError(said)
                process.join()
                del running[ear]
    finally:
        for _, process in running.values():
            process.kill()
            process.join()


def _how_it_ended(name: str, status: int) -> str:
    head = f"the process of {name} ended in the middle of its work"
    if status == -signal.SIGKILL:
        return f"{head}: it was killed, which mostly means that the machine was out of memory"
    if status < 0:
        return f"{head}: by {signal.Signals(-status).name}"
    return f"{head}, with status {status}: what it runs must return or raise, not end its process or interrupt it"


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """An interrupt waits: in the middle of a fork it is lost in what Python runs there, or the process is."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _started(job: Job) -> tuple[Connection, BaseProcess]:
    context = multiprocessing.get_context("fork")
    ear, mouth = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(job, mouth))  # no daemon: scorers may have workers
    with warnings.catch_warnings():
        # Python warns of threads that hold locks: torch's wait in a pool, which one thread alone does not use
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        process.start()
    mouth.close()
    return ear, process


def _work(job: Job, mouth: Connection) -> None:
    """The life of a process: it ends with its job, whatever threads that leaves, and with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and ends this process
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # which was for the fork, and processes inherit
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    torch.set_num_threads(1)
    status = 0
    try:
        job(lambda said: mouth.send((False, said)))
        mouth.send((True, None))
    except KeyboardInterrupt:  # nobody's but the job's own
        status = INTERRUPTED
    except BaseException:
        mouth.send((True, traceback.format_exc()))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
