"""SynFlow at full size: the fast path against the published loop, in one process, taking turns; masks compared.

The published loop is that of the paper's repository in our own words, in its float32: the model's own weights are made
absolute and given their signs back, every score is kept of every weight, one kthvalue over all of them gives the
threshold, `where` the masks. Its float64 form is the oracle for masks where it is given time (--oracle).

Run: make bench, or python tests/benchmarks/bench_engine.py --model vgg16_bn --compression 100 --rounds 100 --turns 3
--public PATH: a checkout of the paper's repository, whose own loop on its own model takes turns with these too.
--alone: the fast path and nothing else, on larger models too (vgg19 and resnet152 of ImageNet's size, deep: a
perceptron of 1,000 layers); peak memory is above what the process held before.
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
    seconds = timed(lambda: run_synflow(net, exponential(total, round(total / compression), rounds)))
    above = peak() - before
    print(
        f"{name:10} compression {compression:6,.0f} {rounds:4} rounds  {total:,} weights  {seconds:7.2f} s"
        f"  peak above the model {above / 2**20:,.0f} MB = {above / (8 * total):.2f} x its float64 weights",
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
    parser.add_argument("--public", metavar="PATH")
    asked = parser.parse_args()
    if asked.public:
        sys.path.insert(0, asked.public)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}")
    for name in asked.model or ["vgg16_bn", "resnet18"]:
        for compression in asked.compression or [1e2, 1e4]:
            if asked.alone:
                alone(name, compression, asked.rounds)
            else:
                compare(name, compression, asked.rounds, asked.turns, asked.oracle, bool(asked.public))


if __name__ == "__main__":
    main()
