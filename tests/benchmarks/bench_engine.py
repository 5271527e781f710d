"""SynFlow at full size: the fast path against the published loop, in one process, taking turns; masks compared.

The published loop is that of the paper's repository in our own words, in its float32: the model's own weights are made
absolute and given their signs back, every score is kept of every weight, one kthvalue over all of them gives the
threshold, `where` the masks. Its float64 form is the oracle for masks where it is given time (--oracle).

Run: make bench, or python tests/benchmarks/bench_engine.py --model vgg16_bn --compression 100 --rounds 100 --turns 3
Peak memory is above what the process held before the run; --alone runs the fast path and nothing else.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from pruning.fast.run import run_synflow
from pruning.models import make
from pruning.network import Network
from pruning.schedule import exponential
from pruning.trace import trace

ROUNDS = 100


class Masked(nn.Module):
    """A linear or convolution layer whose weight is masked in the forward pass."""

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("mask", torch.ones_like(layer.weight))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.layer.weight * self.mask
        if isinstance(self.layer, nn.Linear):
            return nn.functional.linear(x, weight, self.layer.bias)
        return self.layer._conv_forward(x, weight, self.layer.bias)


def masked(model: nn.Module) -> list[Masked]:
    """The model's layers, each put into a masked one in its place."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, (nn.Linear, nn.Conv2d)) and not isinstance(parent, Masked):
                setattr(parent, name, Masked(child))
    return [m for m in model.modules() if isinstance(m, Masked)]


def published(model: nn.Module, x: Tensor, keep: int, rounds: int) -> list[Tensor]:
    """The published loop; returns the masks, in the order of the modules. Biases stay in the model, as there."""
    layers = masked(model.eval())
    total = sum(la.mask.numel() for la in layers)
    for round_ in range(1, rounds + 1):
        signs = {}
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                signs[name] = torch.sign(tensor)
                tensor.abs_()
        model(torch.ones_like(x[:1])).sum().backward()
        scores = []
        for la in layers:
            scores.append((la.layer.weight.grad * la.layer.weight).detach().abs_().clone())
            la.layer.weight.grad.zero_()
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                tensor.mul_(signs[name])
            flat = torch.cat([s.flatten() for s in scores])
            drop = total - round(total * (keep / total) ** (round_ / rounds))
            if drop >= 1:
                threshold = torch.kthvalue(flat, drop).values
                for la, score in zip(layers, scores, strict=True):
                    zero, one = torch.tensor([0.0]).to(score), torch.tensor([1.0]).to(score)
                    la.mask.copy_(torch.where(score <= threshold, zero, one))
    return [la.mask for la in layers]


def without_biases(model: nn.Module) -> nn.Module:
    """As our scores see it, so that the published loop scores the same: biases and shifts 0, statistics neutral."""
    for module in model.modules():
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    return model


def network(name: str) -> Network:
    model, x = make(name, 0)
    return trace(without_biases(model), x).to(dtype=torch.float64)


def peak() -> int:
    """Bytes that the process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def timed(what: Callable[[], object]) -> float:
    start = time.perf_counter()
    what()
    return time.perf_counter() - start


def differing(found: list[Tensor], wanted: list[Tensor]) -> int:
    return sum(int((a.bool() != b.bool()).sum()) for a, b in zip(found, wanted, strict=True))


def compare(name: str, compression: float, rounds: int, turns: int, oracle: bool) -> None:
    """One line: seconds of both, the ratio, entries that differ from the float64 oracle."""
    net = network(name)
    total = net.initial.total
    keep = round(total / compression)
    seconds: dict[str, list[float]] = {"fast": [], "published": []}
    masks: dict[str, list[Tensor]] = {}

    def fast() -> None:
        masks["fast"] = list(run_synflow(net, exponential(total, keep, rounds)).masks.values())

    def loop(dtype: torch.dtype, key: str) -> None:
        model, x = make(name, 0)
        model, x = without_biases(model).to(dtype), x.to(dtype)
        masks[key] = published(model, x, keep, rounds)

    for _ in range(turns):
        seconds["published"].append(timed(lambda: loop(torch.float32, "published")))
        seconds["fast"].append(timed(fast))
    ours, theirs = (statistics.median(seconds[k]) for k in ("fast", "published"))
    exchanged = differing(masks["published"], masks["fast"]) // 2
    line = (
        f"{name:10} compression {compression:6,.0f} {rounds:4} rounds  fast {ours:7.2f} s  published {theirs:7.2f} s"
        f"  {theirs / ours:5.1f}x  exchanged in float32 {exchanged:,} of {keep:,}"
    )
    if oracle:
        loop(torch.float64, "oracle")
        line += f"  differing from float64 {differing(masks['fast'], masks['oracle'])}"
    print(line, flush=True)


def alone(name: str, compression: float, rounds: int) -> None:
    """Seconds and peak memory above the network's own, of the fast path in a process that did nothing else."""
    net = network(name)
    total = net.initial.total
    before = peak()
    seconds = timed(lambda: run_synflow(net, exponential(total, round(total / compression), rounds)))
    above = peak() - before
    print(
        f"{name:10} alone {seconds:7.2f} s  peak above the model {above / 2**20:.0f} MB = {above / (8 * total):.2f} x",
        flush=True,
    )


def main() -> None:
    """The table, or one line of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append")
    parser.add_argument("--compression", type=float, action="append")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--oracle", action="store_true")
    parser.add_argument("--alone", action="store_true")
    asked = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}")
    for name in asked.model or ["vgg16_bn", "resnet18"]:
        for compression in asked.compression or [1e2, 1e4]:
            if asked.alone:
                alone(name, compression, asked.rounds)
            else:
                compare(name, compression, asked.rounds, asked.turns, asked.oracle)


if __name__ == "__main__":
    main()
