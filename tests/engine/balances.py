"""What enters and what leaves each unit, by plain autograd, and which units that holds for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from pruning.graph import Graph, Junction
from pruning.masks import Tensors

EPS = torch.finfo(torch.float64).eps


class Net(nn.Module):
    """A forward function over named layers and parameters."""

    def __init__(self, function: Callable[..., Tensor], **layers: nn.Module | nn.Parameter) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


@dataclass
class Balance:
    """Per unit what enters and leaves, and the rounding that sums of so many terms of that size may suffer."""

    into: Tensor
    out: Tensor
    rounding: float
    slopes: dict[str, Tensor] = field(default_factory=dict)

    @property
    def gap(self) -> Tensor:
        return (self.into - self.out).abs()

    def alive(self, junctions: Iterable[Junction]) -> bool:
        """Whether anything that is more than rounding enters these units."""
        return any(bool((self.into[j.span].abs() > 100 * self.rounding).any()) for j in junctions)


def random_like(tensors: Tensors, source: torch.Generator) -> dict[str, Tensor]:
    """Numbers drawn anew; whole ones, truth values and the tensor that only tells a type stay."""

    def drawn(tensor: Tensor) -> Tensor:
        return torch.randn(tensor.shape, generator=source, dtype=tensor.dtype)

    return {n: drawn(t) if t.is_floating_point() and n != "dtype" else t for n, t in tensors.items()}


def balance(graph: Graph, params: Tensors, x: Tensor, source: torch.Generator) -> Balance:
    """For a random smooth loss; the rounding is eps times the terms of all sums times the sum of their sizes."""
    known = {n: p.clone().requires_grad_(p.is_floating_point()) for n, p in params.items()}
    values: dict[str, Tensor] = {}

    def keep(name: str, value: Tensor) -> Tensor:
        values[name] = value if value.requires_grad or not value.is_floating_point() else value.requires_grad_()
        return values[name]

    made = graph.run(known, x.clone(), keep)
    first, second = (torch.randn(made.shape, generator=source, dtype=torch.float64) for _ in range(2))
    everything = {**known, **{f"value {n}": v for n, v in values.items()}}
    asked = {n: t for n, t in everything.items() if t.requires_grad}
    found = torch.autograd.grad((first * made + second * made.square()).sum(), list(asked.values()), allow_unused=True)
    slopes = {n: torch.zeros_like(asked[n]) if s is None else s for n, s in zip(asked, found, strict=True)}
    flows = {n: (asked[n] * slopes[n]).detach() for n in asked}
    assert all(bool(f.isfinite().all()) for f in flows.values())
    entering = torch.stack([s.into(flows[s.name], graph.units) for s in graph.entering] or [torch.zeros(1)]).sum(0)
    terms = sum(t.numel() for t in everything.values())
    size = sum(float(f.abs().sum()) for f in flows.values())
    return Balance(graph.incoming(flows) + entering, graph.outgoing(flows), EPS * terms * size, flows)


def told(junctions: Iterable[Junction]) -> str:
    """The layers that feed these units, and how many units each."""
    counts: Counter[str] = Counter()
    for j in junctions:
        counts[j.name] += j.units
    return ", ".join(f"{name} {count}" for name, count in counts.items())
