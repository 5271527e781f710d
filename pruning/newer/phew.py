"""PHEW: keep what biased random walks from input to output and back have taken (Patil and Dovrolis 2021).

The abstract (arXiv 2010.11354): "PHEW is a probabilistic network formation method based on biased random walks that
only depends on the initial weights". The rest is from the authors' repository: forward and backward walks take turns,
each from the next input or output unit, and step on with probability |w| over the sum at the unit. Each walk is kept
whole, so that nearly a walk more may be kept than was asked for: the exact budget is not claimed. What the paper says
of layer collapse is not quoted: the text was not at hand.

On graphs that are no chain a unit may be read by several layers: the walk takes one of those that are still to come,
each as likely, and an identity branch is to pass some by. Where something else than a weight joins units, such as a
norm, a product or attention, walks end, and others begin behind it. Left out: of a channel that was flattened the
repository first chooses a place; here all weights behind the channel compete.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle

import torch
from torch import Tensor

from pruning.graph import Graph
from pruning.masks import Tensors
from pruning.network import Network
from pruning.problem import Probe
from pruning.pruner import Claim, State, masking

PATIENCE = 100  # walks in a row that add nothing, after which there are no more: our own, some are hardly ever taken

Taken = set[tuple[str, int]]  # weights, by the name of the layer and the place in it
Steps = list[tuple[Tensor, Tensor]]  # per layer in the order of the walk: of each weight the unit before and behind it


@dataclass(frozen=True)
class Layer:
    """A layer as a walk comes to it: by unit the weights that lead on, the running sum of their sizes, and whereto."""

    weight: str
    ways: dict[int, tuple[Tensor, Tensor]]
    onto: Tensor


def walked(network: Network, state: State, keep: int, probe: Probe) -> Tensors:
    """Masks of whole walks, as many as it takes to keep `keep` weights; what is masked is not walked on."""
    if keep >= state.masks.kept:
        return state.masks
    starts, forward, ends, backward = _both_ways(network.graph, {n: w.abs().cpu() for n, w in state.effective.items()})
    taken, idle = Taken(), 0
    turns = cycle([(cycle(starts), forward), (cycle(ends), backward)])
    while starts and len(taken) < keep and idle < PATIENCE:
        units, layers = next(turns)
        walk = _walk(next(units), layers, probe)
        idle = idle + 1 if walk <= taken else 0
        taken |= walk
    masks = {name: torch.zeros_like(mask) for name, mask in state.masks.items()}
    for name, place in taken:
        masks[name].view(-1)[place] = True
    return masks


def _walk(unit: int, layers: list[Layer], probe: Probe) -> Taken:
    taken, position = Taken(), 0
    chances = iter(probe.rand({"walk": torch.zeros(2 * len(layers), dtype=torch.float64)})["walk"].tolist())
    while reading := [i for i in range(position, len(layers)) if unit in layers[i].ways]:
        at = reading[int(next(chances) * len(reading))]
        entries, sums = layers[at].ways[unit]
        place = int(torch.searchsorted(sums, next(chances) * sums[-1], right=True))
        entry = int(entries[min(place, len(entries) - 1)])
        taken.add((layers[at].weight, entry))
        unit, position = int(layers[at].onto[entry]), at + 1
    return taken


def _both_ways(graph: Graph, sizes: Tensors) -> tuple[list[int], list[Layer], list[int], list[Layer]]:
    """Where walks begin and what is ahead of them, forward and backward: what lies on a way from end to end alone."""
    numbers = torch.arange(graph.units)
    edges = [(e.weight, e.per_tail(numbers).flatten(), e.per_head(numbers).flatten()) for e in graph.edges]
    onward = [(tails, heads) for _, tails, heads in edges]
    homeward = [(heads, tails) for _, tails, heads in reversed(edges)]
    first, last = _ends(graph.inputs, numbers, onward), _ends(graph.outputs, numbers, homeward)
    there = _reached(first, onward, [sizes[name].flatten() > 0 for name, _, _ in edges])
    back = _reached(last, homeward, there[::-1])[::-1]
    forward = [Layer(n, _ways(t, on, sizes[n]), h) for (n, t, h), on in zip(edges, back, strict=True)]
    backward = [Layer(n, _ways(h, on, sizes[n]), t) for (n, t, h), on in zip(edges, back, strict=True)][::-1]
    return _busy(first, forward), forward, _busy(last, backward), backward


def _ends(named: Tensor, numbers: Tensor, steps: Steps) -> Tensor:
    """Per unit: whether it is one of the named, or walks come from it before they could have come to it."""
    ends, met = torch.isin(numbers, named), torch.zeros_like(numbers, dtype=torch.bool)
    for source, onto in steps:
        ends[source[~met[source]]] = True
        met[onto] = True
    return ends


def _reached(first: Tensor, steps: Steps, present: list[Tensor]) -> list[Tensor]:
    """Per layer the present weights that a walk from the first units can come to."""
    reached, found = first.clone(), []
    for (source, onto), there in zip(steps, present, strict=True):
        found.append(there & reached[source])
        reached[onto[found[-1]]] = True
    return found


def _ways(units: Tensor, walkable: Tensor, sizes: Tensor) -> dict[int, tuple[Tensor, Tensor]]:
    entries = walkable.nonzero().flatten()
    entries = entries[units[entries].argsort(stable=True)]
    owners, counts = torch.unique_consecutive(units[entries], return_counts=True)
    pieces = torch.split(entries, counts.tolist())
    return {u: (e, sizes.flatten()[e].cumsum(0)) for u, e in zip(owners.tolist(), pieces, strict=True)}


def _busy(ends: Tensor, layers: list[Layer]) -> list[int]:
    return [u for u in ends.nonzero().flatten().tolist() if any(u in layer.ways for layer in layers)]


phew = masking(
    "phew",
    walked,
    claims={Claim.DATA_FREE, Claim.NESTED_MASKS, Claim.IDEMPOTENT, Claim.DETERMINISTIC},
)
