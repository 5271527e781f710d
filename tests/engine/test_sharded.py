"""Sharded models: parts of 2 and 4 processes are pruned to the masks of the whole model, without gathering it."""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
import traceback
import warnings
from pathlib import Path

import pytest
import sharded_run
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from pruning.sharded.select import kth_largest, ordered


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def together(processes: int, folder: Path, *models: str) -> list[str]:
    """What each of so many processes says of the models; all must end well.

    They are forked: to load torch and what it has for shards takes each of them longer than all that it does.
    """
    import torch.distributed.fsdp
    import torch.distributed.tensor.parallel  # noqa: F401 (both loaded before the fork)

    context, port = multiprocessing.get_context("fork"), free_port()
    said = [folder / f"{rank} of {processes}.txt" for rank in range(processes)]
    around = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
    around |= {"GLOO_SOCKET_IFNAME": "lo"}
    arguments = ((around | {"RANK": str(r), "LOCAL_RANK": str(r)}, said[r], folder, models) for r in range(processes))
    running = [context.Process(target=_one_of_them, args=each, daemon=True) for each in arguments]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)  # as in sidebyside
        for process in running:
            process.start()
    try:
        for process in running:
            process.join(400)
    finally:
        for process in running:
            process.kill()
            process.join()
    told = [path.read_text() for path in said]
    assert [process.exitcode for process in running] == [0] * processes, "\n".join(told)
    return told


def _one_of_them(around: dict[str, str], said: Path, folder: Path, models: tuple[str, ...]) -> None:
    os.environ |= around
    with said.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout = sys.stderr = open(1, "w", closefd=False)  # noqa: SIM115 (pytest's own are not of a child's)
    warnings.simplefilter("ignore")
    status = 1
    try:
        sharded_run.main(folder, *models)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)  # gloo's threads now and then abort a process that leaves in order


@pytest.fixture(scope="module")
def unsharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the round in which each weight falls, of each case."""
    folder = tmp_path_factory.mktemp("unsharded")
    for model, make in sharded_run.MODELS.items():
        for case, _, trace in sharded_run.runs(model, *make()):
            save_file({n: d.contiguous() for n, d in trace.died.items()}, folder / f"{case}.safetensors")
    return folder


@pytest.mark.parametrize(("processes", "models", "cases"), [(2, ("mlp", "vgg", "llama"), 26), (4, ("mlp", "vgg"), 21)])
def test_parts_are_pruned_to_the_masks_of_the_whole(processes, models, cases, unsharded) -> None:
    """By fully_shard, two copies of it, and tensor parallelism; and what can't be done in parts all of them refuse."""
    said = together(processes, unsharded, *models)
    assert all(f"{cases} cases are equal" in text for text in said), said


def test_the_example_of_the_documentation_runs_by_torchrun(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "sharded.md").read_text()
    lines = [line.removeprefix("    ") for line in text.splitlines() if line.startswith("    ") or not line]
    (tmp_path / "prune_sharded.py").write_text("\n".join(lines))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--master-port", str(free_port()), "prune_sharded.py"]
    around = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run(command, cwd=tmp_path, env=around, capture_output=True, text=True, timeout=300, check=False)
    # gloo's threads now and then abort a process that has done all and leaves, which is none of the example's doing
    assert ended.returncode == 0 or "terminate called without an active exception" in ended.stderr, ended.stderr
    assert (tmp_path / "masks.safetensors").is_file()
    assert ended.stdout == "kept 189 of 18944 weights\n"


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.lists(st.floats(allow_nan=False), max_size=9), min_size=1, max_size=4), st.data())
def test_the_kth_of_all_parts_is_that_of_the_sorted_whole(parts: list[list[float]], data: st.DataObject) -> None:
    """Counts are summed one process after the other: each gives the digits of its own numbers."""
    whole = sorted((x for part in parts for x in part), reverse=True)
    if not whole:
        return
    k = data.draw(st.integers(1, len(whole)))
    keys = [ordered(torch.tensor(part, dtype=torch.float64)) for part in parts]
    found, above = kth_largest(keys, k, lambda counts: counts)
    wanted = ordered(torch.tensor([whole[k - 1]], dtype=torch.float64))
    assert found == int(wanted)
    assert above == sum(x > whole[k - 1] for x in whole)


def test_numbers_keep_their_order_as_integers() -> None:
    ends = torch.finfo(torch.float64)
    numbers = torch.tensor(
        [-torch.inf, ends.min, -1.5, -1, -ends.tiny, -5e-324, 0, 5e-324, ends.tiny, 1, ends.max], dtype=torch.float64
    )
    keys = ordered(numbers)
    assert bool((keys[1:] > keys[:-1]).all())
    assert ordered(torch.tensor([-0.0])) == ordered(torch.tensor([0.0]))
    single = torch.tensor([-2.5, -0.0, 1e-30, 3.0])
    assert torch.equal(ordered(single), ordered(single.double()))


def test_a_plain_model_is_not_taken_for_a_sharded_one() -> None:
    from pruning.asked import problem

    assert problem(nn.Linear(2, 1), torch.ones(1, 2)).network.together is None
