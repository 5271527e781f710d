"""Untouched: what asking a pruner something left changed, looked at in surroundings that nobody else sets."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import MappingProxyType

import torch
from torch import Tensor

from pruning.answers import ScoreError
from pruning.masks import Masks, Tensors
from pruning.network import Network
from pruning.problem import Probe, Problem
from pruning.pruner import State
from pruning.surroundings import as_they_were, differing, surroundings, unlike_any

Ask = Callable[[Network, State, Probe], None]
UNLIKE = 0x5EED_0DD5_EED5  # a seed that nobody sets


@contextlib.contextmanager
def elsewhere() -> Iterator[None]:
    """Random states and torch's modes as nobody sets them; afterwards all is as it was."""
    with as_they_were():
        unlike_any(UNLIKE)
        yield


def changed_by(ask: Ask, problem: Problem, masks: Masks, beside: Tensors = MappingProxyType({})) -> list[str]:
    """Names of what asking once changed, also where it raises; it is asked about copies.

    beside: tensors that it has from elsewhere, by name, looked at as they are.
    """
    network = problem.network
    held = {f"weight {n}": w.clone() for n, w in network.weights.items()}
    held |= {f"constant {n}": t.clone() for n, t in network.fixed.items()}
    held |= {f"neutral constant {n}": t.clone() for n, t in network.neutral.items()}
    held |= {"the example input": network.example.clone()}
    held |= {f"mask {n}": m.clone() for n, m in masks.items()}
    held |= {f"the batch's {n}": t.clone() for n, t in zip(("inputs", "targets"), problem.batch or (), strict=False)}
    held |= beside
    before = {n: t.clone() for n, t in held.items()}

    def part(prefix: str) -> dict[str, Tensor]:
        return {n.removeprefix(prefix): t for n, t in held.items() if n.startswith(prefix)}

    copy = replace(
        network,
        weights=part("weight "),
        fixed=part("constant "),
        neutral=part("neutral constant "),
        example=held["the example input"],
    )
    batch = (held["the batch's inputs"], held["the batch's targets"]) if problem.batch else None
    state = State(part("weight "), Masks(part("mask ")))
    with elsewhere():
        before_all = surroundings()
        with contextlib.suppress(ScoreError):  # whether it may raise is another contract
            ask(copy, state, Probe(replace(problem, network=copy, batch=batch)))
        found = [n for n, t in held.items() if not torch.equal(_bits(t), _bits(before[n]))]
        found += [f"requires_grad of {n}" for n, t in held.items() if t.requires_grad]
        return found + differing(before_all, surroundings())


def _bits(tensor: Tensor) -> Tensor:
    """The bytes: a NaN is what it was, and -0.0 is not 0.0."""
    return tensor.contiguous().view(torch.uint8)
