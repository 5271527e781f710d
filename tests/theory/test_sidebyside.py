"""Jobs side by side: what is heard of them, and how they end."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pruning.pruners import built_in as pruners
from theory.laws import catalogue
from theory.networks import built_in as families
from theory.search import Budget
from theory.sidebyside import processors, side_by_side
from theory.verdict import Verdict
from theory.verify import verify

forking = pytest.mark.skipif(not processors(), reason="nothing can be forked here")
WORKERS = [0, pytest.param(1, marks=forking), pytest.param(3, marks=forking)]


def heard(jobs, workers):
    said = []
    side_by_side({f"job {i}": job for i, job in enumerate(jobs)}, workers, said.append)
    return said


def counting(number: int):
    def job(say):
        for i in range(3):
            time.sleep(0.01 * (3 - number % 3))
            say((number, i))

    return job


@pytest.mark.parametrize("workers", WORKERS)
def test_each_job_is_heard_in_its_order(workers):
    found = heard([counting(n) for n in range(7)], workers)
    assert len(found) == 21
    assert all([i for n, i in found if n == number] == [0, 1, 2] for number in range(7))
    assert heard([], workers) == []
    assert not multiprocessing.active_children()


@forking
def test_jobs_run_at_the_same_time_in_processes_of_their_own():
    def job(say):
        start = time.monotonic()
        time.sleep(0.2)
        say((os.getpid(), start, time.monotonic()))

    (a, start, end), (b, other_start, other_end) = heard([job, job], 2)
    assert len({a, b, os.getpid()}) == 3
    assert start < other_end and other_start < end


@pytest.mark.parametrize("workers", WORKERS)
def test_a_fault_of_a_job_is_told_and_nothing_is_left_running(workers):
    def faulty(say):
        say("so far")
        raise ValueError("the fault")

    with pytest.raises((ValueError, RuntimeError), match="the fault"):
        heard([faulty, counting(1), lambda say: time.sleep(60 if workers == 3 else 0)], workers)
    assert not multiprocessing.active_children()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("workers", WORKERS)
def test_a_job_may_have_processes_of_its_own(workers):
    """As a scorer has that loads its data in workers."""

    def job(say):
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(0,))
        child.start()
        child.join()
        say(child.exitcode)

    assert heard([job, job], workers) == [0, 0]


def killed(say):
    os.kill(os.getpid(), signal.SIGKILL)


def leaving(say):
    os._exit(0)


def interrupting(say):
    raise KeyboardInterrupt


def crashing(say):
    os.kill(os.getpid(), signal.SIGTERM)


@forking
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    "job, how",
    [(killed, "was killed.*memory"), (leaving, "status 0"), (interrupting, "status 130"), (crashing, "SIGTERM")],
)
def test_a_process_that_ends_too_soon_is_named(job, how, workers):
    with pytest.raises(ChildProcessError, match=f"job 0 .*{how}"):
        heard([job, counting(1)], workers)
    assert not multiprocessing.active_children()


@forking
def test_a_thread_that_a_job_leaves_behind_holds_nothing_up():
    start = time.monotonic()
    assert heard([lambda say: threading.Thread(target=time.sleep, args=(60,)).start()], 1) == []
    assert time.monotonic() - start < 30


@forking
def test_an_interrupt_ends_every_process():
    def interrupt(what):
        raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        side_by_side({"a": counting(0), "b": lambda say: time.sleep(60)}, 2, interrupt)
    assert time.monotonic() - start < 30 and not multiprocessing.active_children()


ORPHANS = """
import os, time
from theory.sidebyside import side_by_side
def job(say):
    say(os.getpid())
    time.sleep(600)
side_by_side({"a": job, "b": job}, 2, lambda pid: print(pid, flush=True))
"""


AT_A_FORK = """
import multiprocessing, os, signal, time
from theory.sidebyside import side_by_side
signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background of a shell it is ignored
os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), signal.SIGINT))
start = time.perf_counter()
try:
    side_by_side({"long": lambda say: time.sleep(60)}, 1, print)
except KeyboardInterrupt:
    print("interrupted", multiprocessing.active_children(), time.perf_counter() - start < 30)
"""


@forking
def test_an_interrupt_in_the_middle_of_a_fork_is_not_lost():
    """Python drops what is raised by the hooks that run there."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run(
        [sys.executable, "-c", AT_A_FORK], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.stdout == "interrupted [] True\n", ended.stderr


@forking
def test_no_process_outlives_a_parent_that_is_killed():
    parent = subprocess.Popen([sys.executable, "-c", ORPHANS], stdout=subprocess.PIPE, text=True)
    children: set[int] = set()
    while len(children) < 2:
        children.add(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + 30
    while any(map(alive, children)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(alive, children))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_is_found_does_not_depend_on_the_number_of_workers():
    """Verdicts and witnesses, in their order; seconds aside."""
    subjects = [pruners()[name] for name in ("magnitude", "grasp", "synflow")]
    laws = {name: catalogue()[name] for name in ("neuron_conservation", "positivity", "exact_budget")}
    places = [families()[name] for name in ("dense, integer", "conv, real")]

    def found(workers: int) -> list[Verdict]:
        told: list[Verdict] = []
        run = verify(
            subjects, laws, places, [], Budget(3, 4), {}, torch.device("cpu"), lambda *a: None, told.append,
            workers=workers,
        )  # fmt: skip
        assert len(told) == len(run.verdicts) == 18
        return [replace(v, seconds=0) for v in run.verdicts]

    alone, together = found(0), found(processors())
    assert alone == together and any(v.witness for v in alone)
    assert [v.pruner for v in alone] == ["magnitude"] * 6 + ["grasp"] * 6 + ["synflow"] * 6
