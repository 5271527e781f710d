"""Tests that run side by side get one thread each: with more they would wait for each other."""

import gc
import os

if "PYTEST_XDIST_WORKER" in os.environ:  # before numpy and torch, which make their threads as they are imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
import torch


def pytest_collection_finish() -> None:
    """What is loaded by now stays: to look through it for garbage again and again is a twentieth of all the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)


@pytest.fixture(autouse=True)
def _same_numbers_in_every_run() -> None:
    """Whatever ran before in the same process: a red test can be run again alone."""
    torch.default_generator.manual_seed(0)  # torch.manual_seed writes out the stack for each kind of device it has not
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(0)
