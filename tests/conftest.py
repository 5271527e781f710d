"""Tests that run side by side get one thread each: with more they would wait for each other."""

import gc
import os

import pytest
import torch

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the commands that tests start
    torch.set_num_threads(1)


def pytest_collection_finish() -> None:
    """What is loaded by now stays: to look through it for garbage again and again is a twentieth of all the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)


@pytest.fixture(autouse=True)
def _same_numbers_in_every_run() -> None:
    """Whatever ran before in the same process: a red test can be run again alone."""
    torch.manual_seed(0)
