"""Memory of a sharded run: what each process holds at most above what it held after its imports, against one process.

Models are built on the meta device, sharded there and filled in where their parts lie, so that no process ever has the
whole model; the run is SynFlow's, in float64.

Run: make bench, or python tests/benchmarks/bench_sharded.py --model vgg16_bn --processes 2 --rounds 5
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

import pruning.sharded.traced  # noqa: F401 (what a run imports on its way is no memory of tensors)
from pruning.asked import problem
from pruning.engine import prune
from pruning.models import make
from pruning.pruners.synflow import synflow
from pruning.schedule import exponential

COMPRESSION = 100


def wide() -> tuple[nn.Module, Tensor]:
    """A perceptron whose layers are each a small part of it."""
    layers = [layer for _ in range(16) for layer in (nn.Linear(1024, 1024, bias=False), nn.ReLU())]
    return nn.Sequential(*layers), torch.ones(1, 1024)


def built(name: str) -> tuple[nn.Module, Tensor]:
    """On the meta device, in float64."""
    with torch.device("meta"):
        model, x = wide() if name == "perceptron" else make(name, 0)
    return model.double().eval(), torch.ones(x.shape, dtype=torch.float64)


def filled(model: nn.Module) -> None:
    """Memory for what each process holds, and numbers in it."""
    model.to_empty(device="cpu")
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    with torch.no_grad():
        for parameter in model.parameters():
            own: Tensor = getattr(parameter, "to_local", lambda p=parameter: p)()
            own.normal_().div_(max(parameter[0].numel(), 1) ** 0.5) if parameter.dim() > 1 else own.fill_(1)


def resident() -> int:
    """Bytes that the process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def one(name: str, rounds: int) -> None:
    """What a process does: prints its peak above its imports, the whole model's bytes, and seconds."""
    torch.set_num_threads(1)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    dist.init_process_group("gloo")
    before = resident()
    model, x = built(name)
    if processes > 1:
        from torch.distributed.fsdp import fully_shard

        for module in model.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                fully_shard(module)
        fully_shard(model)
    filled(model)
    asked = problem(model, x)
    size = asked.network.size
    start = time.perf_counter()
    prune(asked, synflow, exponential(size, size // COMPRESSION, rounds))
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    print(f"{peak} {8 * size} {seconds}", flush=True)
    dist.barrier()
    dist.destroy_process_group()


def measured(name: str, processes: int, rounds: int) -> list[tuple[int, int, float]]:
    """Of each process its peak, the whole model's bytes, and seconds."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    around = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
    command = [sys.executable, "-W", "ignore", __file__, "--model", name, "--rounds", str(rounds), "--alone"]
    running = [
        subprocess.Popen(command, env={**around, "RANK": str(rank)}, stdout=subprocess.PIPE, text=True)
        for rank in range(processes)
    ]
    lines = [process.communicate()[0].split() for process in running]
    return [(int(peak), int(size), float(seconds)) for peak, size, seconds in lines]


def main() -> None:
    """One line per model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.alone:
        return one(asked.model[0], asked.rounds)
    for name in asked.model or ["perceptron", "vgg16_bn"]:
        ((whole, size, before),) = measured(name, 1, asked.rounds)
        parts = measured(name, asked.processes, asked.rounds)
        peak, after = max(p for p, _, _ in parts), max(s for _, _, s in parts)
        print(
            f"{name:10} {size / 2**20:6,.0f} MB of weights, {asked.rounds} rounds"
            f"  one process {whole / 2**20:6,.0f} MB, {before:.1f} s"
            f"  each of {asked.processes} at most {peak / 2**20:6,.0f} MB = {peak / whole:.2f} x, {after:.1f} s",
            flush=True,
        )
    return None


if __name__ == "__main__":
    main()
