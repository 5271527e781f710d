"""Mutations of SynFlow's scores, selection and state, alone and composed: many pruners, each wrong in a known way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import combinations, product

import torch
from torch import Tensor

from pruning.masks import Masks, Tensors, global_top_k
from pruning.network import Network
from pruning.problem import Probe
from pruning.pruner import Pruner, Score, Select, State
from pruning.pruners.synflow import synflow
from theory.impostors import selections

Mutation = Callable[[Pruner], Pruner]
PAIRS = 60  # composed ones


# scores


def _changed(change: Callable[[dict[str, Tensor]], Tensors]) -> Mutation:
    """The scores, changed; the objective is still declared, as whoever changed them would leave it."""

    def mutate(pruner: Pruner) -> Pruner:
        def score(network: Network, state: State, probe: Probe) -> Tensors:
            assert pruner.score is not None
            return change(dict(pruner.score(network, state, probe)))

        return replace(pruner, score=score)

    return mutate


def _each(change: Callable[[Tensor], Tensor]) -> Mutation:
    return _changed(lambda scores: {n: change(s) for n, s in scores.items()})


def _first(change: Callable[[Tensor], Tensor]) -> Mutation:
    return _changed(lambda scores: {n: change(s) if i == 0 else s for i, (n, s) in enumerate(scores.items())})


def _over_largest(scores: dict[str, Tensor]) -> Tensors:
    return {n: s / s.amax().clamp(min=1e-300) for n, s in scores.items()}


def _moved_on(score: Tensor) -> Tensor:
    return score.flatten().roll(1).view(score.shape)


def _less_its_mean(score: Tensor) -> Tensor:
    return score - score.mean()


def _coarse(score: Tensor) -> Tensor:
    """Seven bits of mantissa, as bfloat16 holds."""
    return score.bfloat16().to(score.dtype)


def _without_first_unit(score: Tensor) -> Tensor:
    rows = torch.arange(len(score), device=score.device).view(-1, *[1] * (score.dim() - 1))
    return torch.where(rows == 0, 0, score)


SCORES: Mapping[str, Mutation] = {
    "first layer doubled": _first(lambda s: 2 * s),
    "first layer over its size": _first(lambda s: s / (1 + s.numel())),
    "layers over their largest": _changed(_over_largest),
    "layers less their means": _each(_less_its_mean),
    "squared": _each(torch.square),
    "root": _each(lambda s: s.abs().sqrt()),
    "logarithm": _each(lambda s: s.abs().log1p()),
    "plus one": _each(lambda s: s + 1),
    "negated": _each(torch.neg),
    "reciprocal": _each(lambda s: 1 / (s.abs() + 1)),
    "next weight's": _each(_moved_on),
    "bfloat16": _each(_coarse),
    "a millionth more in the first layer": _first(lambda s: s * (1 + 1e-6)),
    "first unit without": _first(_without_first_unit),
    "halves rounded away": _each(torch.floor),
    "divided by nothing": _each(lambda s: s / 0),
    "integers": _each(lambda s: s.long()),
}


# what is selected


def _selecting(select: Select) -> Mutation:
    return lambda pruner: replace(pruner, select=select)


def _one_too_few(scores: Tensors, masks: Masks, k: int) -> Masks:
    return global_top_k(scores, masks, min(k + 1, masks.kept))


def _smallest(scores: Tensors, masks: Masks, k: int) -> Masks:
    return global_top_k({n: -s for n, s in scores.items()}, masks, k)


def _by_index(scores: Tensors, masks: Masks, k: int) -> Masks:
    return global_top_k({n: torch.zeros_like(s) for n, s in scores.items()}, masks, k)


def _halves(scores: Tensors, masks: Masks, k: int) -> Masks:
    """Never below half of what there is."""
    return global_top_k(scores, masks, max(k, masks.kept // 2))


def _one_each(scores: Tensors, masks: Masks, k: int) -> Masks:
    """The largest of each layer stays, whatever is asked for."""
    found = global_top_k(scores, masks, k)
    largest = {n: global_top_k({n: scores[n]}, Masks({n: m}), min(1, int(m.sum())))[n] for n, m in masks.items()}
    return Masks({n: found[n] | largest[n] for n in masks})


def _unpinned(scores: Tensors, masks: Masks, k: int) -> Masks:
    """As if nothing had been pruned; ties go to the last."""
    backward = {n: scores[n].flatten().flip(0) for n in reversed(list(scores))}
    chosen = global_top_k(backward, Masks.full(backward), k)
    return Masks({n: chosen[n].flip(0).view(scores[n].shape) for n in masks})


SELECTIONS: Mapping[str, Mutation] = {
    "ties pruned": _selecting(selections.by_threshold.select),
    "one too many": _selecting(selections.one_too_many.select),
    "one too few": _selecting(_one_too_few),
    "layer by layer": _selecting(selections.layer_by_layer.select),
    "unpinned": _selecting(_unpinned),
    "nothing pruned": _selecting(selections.untouched.select),
    "smallest kept": _selecting(_smallest),
    "first ones kept": _selecting(_by_index),
    "half at most": _selecting(_halves),
    "one in each layer": _selecting(_one_each),
}


# what it reads, and what it leaves behind


def _wrapped(wrap: Callable[[Score], Score]) -> Mutation:
    def mutate(pruner: Pruner) -> Pruner:
        assert pruner.score is not None
        return replace(pruner, score=wrap(pruner.score))

    return mutate


def counting(inner: Score) -> Score:
    """Each score over the number of calls so far: a running mean whose state outlives the run."""
    calls = 0

    def score(network: Network, state: State, probe: Probe) -> Tensors:
        nonlocal calls
        calls += 1
        return {n: s / calls for n, s in inner(network, state, probe).items()}

    return score


def _stale(inner: Score) -> Score:
    """Scores of the network as it was before anything was pruned, pruned weights left out."""

    def score(network: Network, state: State, probe: Probe) -> Tensors:
        found = inner(network, State(state.weights, Masks.full(state.weights)), probe)
        return {n: torch.where(m, found[n], 0) for n, m in state.masks.items()}

    return score


def _unmasked(inner: Score) -> Score:
    return lambda network, state, probe: inner(network, State(state.weights, Masks.full(state.weights)), probe)


def _writing(inner: Score) -> Score:
    def score(network: Network, state: State, probe: Probe) -> Tensors:
        for weight in network.weights.values():
            weight.abs_()
        return inner(network, state, probe)

    return score


def _peeking(inner: Score) -> Score:
    def score(network: Network, state: State, probe: Probe) -> Tensors:
        probe.batch()
        return inner(network, state, probe)

    return score


def _seeding(inner: Score) -> Score:
    def score(network: Network, state: State, probe: Probe) -> Tensors:
        torch.manual_seed(0)
        return inner(network, state, probe)

    return score


def _noisy(inner: Score) -> Score:
    def score(network: Network, state: State, probe: Probe) -> Tensors:
        found = inner(network, state, probe)
        return {n: s * (1 + torch.rand(s.shape, dtype=s.dtype).to(s.device) / 100) for n, s in found.items()}

    return score


def _one_layer_less(inner: Score) -> Score:
    return lambda network, state, probe: dict(list(inner(network, state, probe).items())[1:])


def _frail(inner: Score) -> Score:
    def score(network: Network, state: State, probe: Probe) -> Tensors:
        if not all(bool(mask.any()) for mask in state.masks.values()):
            raise ZeroDivisionError("a layer is empty")
        return inner(network, state, probe)

    return score


STATES: Mapping[str, Mutation] = {
    "over the number of calls": _wrapped(counting),
    "the first round's": _wrapped(_stale),
    "masks not read": _wrapped(_unmasked),
    "weights written to": _wrapped(_writing),
    "batch read": _wrapped(_peeking),
    "torch seeded": _wrapped(_seeding),
    "noise": _wrapped(_noisy),
    "a layer forgotten": _wrapped(_one_layer_less),
    "empty layers not expected": _wrapped(_frail),
}


def mutants() -> dict[str, Pruner]:
    """SynFlow with each mutation, and with pairs of two kinds, by what is wrong; the same ones whenever it is asked."""
    return {name: replace(made, name=name) for name, made in _made()}


def _made() -> Iterator[tuple[str, Pruner]]:
    kinds = (SCORES, SELECTIONS, STATES)
    for kind in kinds:
        yield from ((f"SynFlow, {name}", mutate(synflow)) for name, mutate in kind.items())
    pairs = [pair for two in combinations(kinds, 2) for pair in product(*(kind.items() for kind in two))]
    source = torch.Generator().manual_seed(0)
    for i in torch.randperm(len(pairs), generator=source)[:PAIRS].sort().values.tolist():
        (first, one), (second, other) = pairs[i]
        yield f"SynFlow, {first}, {second}", other(one(synflow))
