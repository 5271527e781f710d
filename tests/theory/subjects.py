"""Pruners and networks that several of these tests look at."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from pruning.network import Network
from pruning.pruner import Pruner, saliency
from pruning.pruners.snip import loss, snip
from pruning.pruners.synflow import synflow
from pruning.trace import trace
from theory.case import Case
from theory.laws import catalogue
from theory.networks import built_in
from theory.networks.batch import Batch, batch_of
from theory.networks.family import Family, examples
from theory.networks.shape import Act, Dense, Layer, Shape

signed = replace(snip, name="signed saliency", score=saliency(loss))
CORRECT = (synflow, signed)
CONSERVATION = [law for law in catalogue().values() if law.id in ("A1", "A1'", "A2", "A4")]
# where the four speak, with a bound
FAMILIES = [f for f in built_in().values() if f.name.startswith(("dense", "conv", "residual", "linear", "kinked"))]
squared = [replace(f, name=f"{f.name}, squared error", loss="squared-error") for f in FAMILIES if f.generic]


def cases(family: Family, pruner: Pruner, shapes: int, problems: int, seed: int = 0) -> Iterator[Case]:
    """Random problems of a family, in batches."""
    for shape, numbers in examples(family, shapes, seed):
        yield Case(family.batch(shape, numbers, problems), pruner, generic=family.generic)


def with_scores(case: Case, scores: dict[str, Tensor]) -> Case:
    """The case with other scores put in the place of the pruner's; its objective is the same, and so is the flow."""
    changed = Case(case.batch, case.pruner, generic=case.generic)
    vars(changed).update(scored=(scores, case.scored[1]), flow=case.flow)
    return changed


def chain(*widths: int, bias: bool = False, samples: int = 1) -> Shape:
    """Dense layers with ReLU between them."""
    layers: list[Layer] = []
    for i, (a, b) in enumerate(pairwise(widths)):
        layers += [Act("relu")] * bool(i) + [Dense(a, b, bias)]
    return Shape(tuple(layers), (widths[0],), samples)


def literal(
    shape: Shape, numbers: dict[str, Tensor], inputs: Tensor, targets: Tensor, loss: str = "squared-error"
) -> Batch:
    """One problem from tensors without a batch axis."""
    held = {n: t.double().unsqueeze(0) for n, t in numbers.items()}
    targets = targets if loss == "cross-entropy" else targets.double()
    return batch_of(shape, held, inputs.double().unsqueeze(0), targets.unsqueeze(0), loss, 0)


def traced(model: nn.Module, size: int, draw=torch.randn, seed: int = 0, inputs=(2, 2, 8, 8)) -> Batch:
    """Problems of a traced model, every number drawn anew; neutral scales stay positive."""
    return redrawn(trace(model.double(), torch.ones(inputs, dtype=torch.float64)), size, draw, seed)


def redrawn(network: Network, size: int, draw=torch.randn, seed: int = 0) -> Batch:
    """The same of a network that was traced before: nothing of it is kept but its graph and its shapes."""
    source = torch.Generator().manual_seed(seed)

    def drawn(tensors):
        return {n: draw((size, *t.shape), generator=source).double() for n, t in tensors.items()}

    outputs = network.forward(network.weights, network.example)
    neutral = {n: t.abs() * (network.neutral[n] != 0) for n, t in drawn(network.neutral).items()}
    data = drawn({"x": network.example, "y": outputs})
    weights, fixed = drawn(network.weights), drawn(network.fixed)
    return Batch(network, weights, fixed, neutral, data["x"], data["y"], "squared-error", seed, None)


class Scale(nn.Module):
    """One number times everything: two roundings and no weight."""

    def __init__(self) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.ones(1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.by


class Fork(nn.Module):
    """Four ways from one unit to its successor."""

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Conv2d(2, 1, 1, bias=False)
        self.ways = nn.ModuleList(nn.Conv2d(1, 1, 1, bias=False) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        v = self.start(x)
        a, b, c, d = (way(v) for way in self.ways)
        return (a + b + c + d).flatten(1)


class Block(nn.Module):
    """A residual block with a norm: forks, sums, scales and shifts."""

    def __init__(self, norm: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4) if norm else nn.Identity()
        self.second = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.short = nn.Conv2d(4, 4, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.second(torch.relu(self.norm(self.first(x)))) + self.short(x) + x)


class Mean(nn.Module):
    """The mean over some axes."""

    def __init__(self, axes: tuple[int, ...], keep: bool) -> None:
        super().__init__()
        self.axes, self.keep = axes, keep

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(self.axes, keepdim=self.keep)


def closed(*layers: nn.Module) -> nn.Sequential:
    """A stem, the layers, and a linear layer that fits."""
    stem = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), *layers, nn.Flatten())
    return stem.append(nn.Linear(stem.eval()(torch.ones(2, 2, 8, 8)).shape[1], 2))


MODELS = {
    "residual": lambda: closed(Block(), Block(), Block(), Mean((2, 3), False)),
    "norm": lambda: closed(nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4), nn.LeakyReLU(0.1)),
    "overlapping pools": lambda: closed(nn.MaxPool2d(3, 1, 1), nn.ReLU(), nn.AvgPool2d(3, 1, 1)),
    "dilated pool": lambda: closed(nn.MaxPool2d(2, 1, 0, 2), nn.ReLU(), nn.Conv2d(4, 3, 3, dilation=2)),
    "adaptive pools": lambda: closed(nn.AdaptiveAvgPool2d(3), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.AdaptiveAvgPool2d(5)),
    "pools with ceil": lambda: closed(nn.MaxPool2d(3, 2, ceil_mode=True), nn.AvgPool2d(3, 2, 1, ceil_mode=True)),
    "mean over one axis": lambda: closed(nn.ReLU(), Mean((3,), True), nn.Conv2d(4, 3, 1)),
}
