"""The long run, made short."""

from __future__ import annotations

import pytest
import torch
from long_certified import KINDS, chains, drawn, exponentially, judged, main, mass_safely

from pruning.fast.run import run_synflow
from pruning.schedule import one_shot


def test_a_few_chains_and_schedules_keep_the_theorem(capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    try:
        assert main(["--chains", "4", "--schedules", "8", "--seed", "1"]) == 0
    finally:
        torch.set_num_threads(threads)
    told = capsys.readouterr()
    assert "mass-safe: 4 runs, each with a certificate; 0 failed" in told.out
    assert "exponential: 8 runs, each with a certificate; 0 failed" in told.out
    assert "8 of 8" in told.err


def test_a_run_that_leaves_the_guarantee_fails() -> None:
    """The largest of a few chains, pruned to one weight per layer at once."""
    net = max((net for _, net in chains(4, 0, 4)), key=lambda net: net.initial.total)
    layers = len(net.graph.edges)
    ran = judged(net, run_synflow(net, one_shot(net.initial.total, layers)), [], 0.0)
    assert "could have emptied a cut" in ran.fault and ran.share >= 1


def test_every_kind_of_weights_has_a_path() -> None:
    _, net = next(chains(1, 3, 1))
    for seed in range(8):
        made = drawn(net, torch.Generator().manual_seed(seed))
        assert not mass_safely(made).fault
    assert len(KINDS) == 4
    assert not exponentially(made, torch.Generator().manual_seed(0)).fault
