"""SynFlow at full size: the fast path against the published loop, in one process, taking turns; masks compared.

The published loop is that of the paper's repository in our own words, in its float32: the model's own weights are made
absolute and given their signs back, every score is kept of every weight, one kthvalue over all of them gives the
threshold, `where` the masks. Its float64 form is the oracle for masks where it is given time (--oracle).

Run: make bench, or python tests/benchmarks/bench_engine.py --model vgg16_bn --compression 100 --rounds 100 --turns 3
--public PATH: a checkout of the paper's repository, whose own loop on its own model takes turns with these too.
--alone: the fast path and nothing else, on larger models too (vgg19 and resnet152 of ImageNet's size, deep: a
perceptron of 1,000 layers); peak memory is above what the process held before. Beside it: how long the surviving
weights alone take to be read twice and written once in each round, at the bandwidth that is measured here.
--pruners: the other pruners, against the textbook loop, and their passes over the data in those of the model.
--sweep: 25 compressions by fixed steps, one run and its masks, against runs of their own.
--device NAME: the textbook loop there in float64, against the fast path; its masks are compared.
"""

from __future__ import annotations

import argparse
import importlib
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from pruning.engine import prune
from pruning.fast.best import prune_at_best
from pruning.fast.run import run_synflow
from pruning.models import make
from pruning.network import Network
from pruning.problem import Probe, Problem, cross_entropy
from pruning.pruners import built_in
from pruning.pruners.synflow import synflow
from pruning.rounds import Trace
from pruning.schedule import exponential, fixed_step
from pruning.trace import trace

ROUNDS = 100
RUNS = (("snip", 1), ("grasp", 1), ("magnitude", 1), ("magnitude", 20), ("random", 1), ("random", 20))  # of `others`


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


def public(name: str, keep: float, rounds: int) -> None:
    """The public code's loop (its prune.py) with its pruner, layers and model; keep: the share that is left."""
    model = {"vgg16_bn": ("lottery_vgg", (3, 32, 32), 100), "resnet18": ("tinyimagenet_resnet", (3, 64, 64), 200)}
    module, shape, classes = model[name]
    network = getattr(importlib.import_module(f"Models.{module}"), name)(shape, classes).eval()
    parameters = importlib.import_module("Utils.generator").masked_parameters(network)
    pruner = importlib.import_module("Pruners.pruners").SynFlow(parameters)
    for round_ in range(1, rounds + 1):
        pruner.score(network, None, [(torch.ones(1, *shape), None)], "cpu")
        pruner.mask(keep ** (round_ / rounds), "global")


def vgg19() -> nn.Module:
    """As for ImageNet: 143.65 million weights."""
    plan = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512, 512, 512, 512, 0)
    layers: list[nn.Module] = []
    channels = 3
    for width in plan:
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()] if width else [nn.MaxPool2d(2)]
        channels = width or channels
    dense = [nn.Linear(25088, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000)]
    return nn.Sequential(*layers, nn.Flatten(), *dense)


def resnet152() -> nn.Module:
    from transformers import ResNetConfig, ResNetForImageClassification

    return ResNetForImageClassification(ResNetConfig(depths=[3, 8, 36, 3], num_labels=1000))


def deep() -> nn.Module:
    layers = [layer for _ in range(1000) for layer in (nn.Linear(64, 64), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(64, 10))


LARGE = {"vgg19": (vgg19, (3, 224, 224)), "resnet152": (resnet152, (3, 224, 224)), "deep": (deep, (64,))}


def network(name: str) -> Network:
    if name in LARGE:
        torch.manual_seed(0)
        build, shape = LARGE[name]
        model, x = build().eval(), torch.ones(1, *shape)
    else:
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


def problem_of(name: str) -> Problem:
    """With a batch of 32 random samples, in float64."""
    net = network(name)
    torch.manual_seed(0)
    inputs = torch.randn(32, *net.example.shape[1:], dtype=torch.float64)
    return Problem(net, (inputs, torch.arange(32) % 10), cross_entropy, 0)


def others(name: str, turns: int) -> None:
    """The other pruners: a round each as published, and magnitude and random over many."""
    asked = problem_of(name)
    total = asked.network.initial.total
    probe, weights = Probe(asked), dict(asked.network.weights)
    passes = statistics.median(timed(lambda: probe.grad(asked.network, weights)) for _ in range(turns + 1))
    print(f"{name:10} a forward and backward pass over the batch of 32 takes {passes:.2f} s", flush=True)
    for pruner, rounds in (
        ("snip", 1),
        ("grasp", 1),
        ("magnitude", 1),
        ("magnitude", 100),
        ("random", 1),
        ("random", 10),
    ):
        method, plan = built_in()[pruner], exponential(total, total // 100, rounds)
        seconds: dict[str, list[float]] = {"best": [], "textbook": []}
        for _ in range(turns):
            seconds["best"].append(timed(lambda: prune_at_best(asked, method, plan)))  # noqa: B023
            seconds["textbook"].append(timed(lambda: prune(asked, method, plan)))  # noqa: B023
        best, textbook = (statistics.median(seconds[k]) for k in ("best", "textbook"))
        print(
            f"{name:10} {pruner:10} {rounds:4} rounds  {best:7.2f} s  textbook loop {textbook:7.2f} s"
            f"  {textbook / best:5.1f}x  = {best / passes:.2f} passes",
            flush=True,
        )


def sweep(name: str) -> None:
    """25 compressions, 10^0.16 to 10^4: one run and all masks, and the last of the runs of their own."""
    net = network(name)
    total = net.initial.total
    traces: list[Trace] = []
    shared = timed(lambda: traces.append(run_synflow(net, fixed_step(total, round(total * 1e-4), 25))))
    masks = timed(lambda: [traces[0].masks_at(4 * j) for j in range(1, 26)])
    print(f"{name:10} 25 compressions by one run {shared:.2f} s, their masks {masks:.2f} s", flush=True)
    alone = 0.0
    for j in range(1, 26):
        plan = fixed_step(total, round(total * 10 ** (-4 * j / 25)), 25)
        alone += timed(lambda: traces.append(run_synflow(net, plan)))  # noqa: B023
        assert traces.pop().masks == traces[0].masks_at(4 * j)
    print(f"{name:10} 25 runs of their own {alone:.2f} s, {alone / (shared + masks):.1f}x; masks equal", flush=True)


def on_device(name: str, compression: float, rounds: int, device: str) -> None:
    """The textbook loop on a device, against the fast path here."""
    net = network(name)
    total = net.initial.total
    plan = exponential(total, round(total / compression), rounds)
    traces: list[Trace] = []
    fast = timed(lambda: traces.append(run_synflow(net, plan)))
    there = Problem(net.to(device), None, cross_entropy, 0)
    prune(there, synflow, exponential(total, total // 2, 1))  # what is made at first use is no part of it
    seconds = timed(lambda: traces.append(prune(there, synflow, plan)))
    differ = differing([m.cpu() for m in traces[1].masks.values()], list(traces[0].masks.values()))
    print(
        f"{name:10} compression {compression:6,.0f} {rounds:4} rounds  textbook loop on {device} {seconds:7.2f} s"
        f"  fast path on the CPU {fast:7.2f} s  {fast / seconds:5.1f}x  differing entries {differ}",
        flush=True,
    )


def bandwidth() -> float:
    """Bytes per second that one pass over memory reads, by as many threads as torch has."""
    long = torch.ones(2**26, dtype=torch.float64)
    return 8 * long.numel() / min(timed(long.sum) for _ in range(5))


def compare(name: str, compression: float, rounds: int, turns: int, oracle: bool, beside: bool) -> None:
    """One line: seconds of both, the ratio, entries that differ from the float64 oracle."""
    net = network(name)
    total = net.initial.total
    keep = round(total / compression)
    seconds: dict[str, list[float]] = {"fast": [], "published": [], "public": []}
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
        if beside:
            seconds["public"].append(timed(lambda: public(name, 1 / compression, rounds)))
    ours, theirs = (statistics.median(seconds[k]) for k in ("fast", "published"))
    exchanged = differing(masks["published"], masks["fast"]) // 2
    line = (
        f"{name:10} compression {compression:6,.0f} {rounds:4} rounds  fast {ours:7.2f} s  published {theirs:7.2f} s"
        f"  {theirs / ours:5.1f}x  exchanged in float32 {exchanged:,} of {keep:,}"
    )
    if beside:
        code = statistics.median(seconds["public"])
        line += f"  public code {code:7.2f} s = {code / theirs:.2f} of the published loop"
    if oracle:
        loop(torch.float64, "oracle")
        line += f"  differing from float64 {differing(masks['fast'], masks['oracle'])}"
    print(line, flush=True)


def alone(name: str, compression: float, rounds: int) -> None:
    """Seconds and peak memory above the network's own, of the fast path in a process that did nothing else."""
    net = network(name)
    total = net.initial.total
    before = peak()
    traces: list[Trace] = []
    seconds = timed(lambda: traces.append(run_synflow(net, exponential(total, round(total / compression), rounds))))
    above = peak() - before
    passes = 3 * 8 * (total + int(traces[0].kept[:-1].sum()))
    floor = passes / bandwidth()
    print(
        f"{name:10} compression {compression:6,.0f} {rounds:4} rounds  {total:,} weights  {seconds:7.2f} s"
        f"  peak above the model {above / 2**20:,.0f} MB = {above / (8 * total):.2f} x its float64 weights"
        f"  {seconds / floor:.1f} x the bandwidth's floor of {floor:.2f} s",
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
    parser.add_argument("--pruners", action="store_true")
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--device")
    parser.add_argument("--public", metavar="PATH")
    asked = parser.parse_args()
    if asked.public:
        sys.path.insert(0, asked.public)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}")
    device = asked.device or ("cuda" if torch.cuda.is_available() else None)
    for name in asked.model or ["vgg16_bn", "resnet18"]:
        if asked.pruners:
            others(name, asked.turns)
            continue
        if asked.sweep:
            sweep(name)
            continue
        for compression in asked.compression or [1e2, 1e4]:
            if asked.alone:
                alone(name, compression, asked.rounds)
            elif device:
                on_device(name, compression, asked.rounds, device)
            else:
                compare(name, compression, asked.rounds, asked.turns, asked.oracle, bool(asked.public))


if __name__ == "__main__":
    main()
