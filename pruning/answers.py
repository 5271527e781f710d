"""What a pruner answers when it is asked for scores, a choice or its objective, held to a form that can be used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

import torch
from torch import Tensor

from pruning.errors import retold
from pruning.masks import Masks, Tensors, check_against, global_top_k
from pruning.network import Network
from pruning.problem import Probe, Problem
from pruning.pruner import Pruner, Saliency, State
from pruning.surroundings import as_they_were


class ScoreError(ValueError):
    """A scorer raised, or gave what can't be selected from: it broke the contract that binds every pruner."""


def check_asked(pruner: object, problem: object) -> None:
    """Raise TypeError unless they are a pruner and a problem."""
    if not isinstance(pruner, Pruner):
        raise TypeError(
            f"got {type(pruner).__name__} for a pruner; wanted a prunelaws.Pruner: see prunelaws.scored and load_pruner"
        )
    if not isinstance(problem, Problem):
        raise TypeError(
            f"got {type(problem).__name__} for a problem; wanted prunelaws.problem(module, inputs, targets)"
        )


@contextmanager
def _held_to_answer(who: str) -> Iterator[None]:
    """Whatever a user's function raises is its failure to answer, be it SystemExit; an interrupt is the user's own."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise ScoreError(f"{who} raised {retold(error)}") from error


def call_scorer(pruner: Pruner, network: Network, state: State, probe: Probe) -> dict[str, Tensor]:
    """The pruner's scores, one tensor per weight, with torch's modes and random states left as they were.

    Raises ScoreError where it raised or gave something else.
    """
    with as_they_were():
        return ask_scorer(pruner, network, state, probe)


def ask_scorer(pruner: Pruner, network: Network, state: State, probe: Probe) -> dict[str, Tensor]:
    """The same, with whatever the scorer does to torch's modes and random states."""
    assert pruner.score is not None
    with _held_to_answer(_scorer(pruner.name)):
        scores = pruner.score(network, state, probe)
    return _formed(pruner.name, network.weights, scores)


def call_scorer_with_cut(
    pruner: Pruner, network: Network, state: State, probe: Probe
) -> tuple[dict[str, Tensor], Tensor | None]:
    """The pruner's scores as `call_scorer` gives them, and its objective R where the same pass gives that too."""
    if not isinstance(pruner.score, Saliency) or pruner.score.objective is not pruner.objective:
        return call_scorer(pruner, network, state, probe), None
    with as_they_were(), _held_to_answer(_scorer(pruner.name)):
        scores, cut = pruner.score.with_objective(network, state, probe)
    return _formed(pruner.name, network.weights, scores), cut.detach()


def _scorer(name: str) -> str:
    return f"the scorer of {name!r}"


def _formed(name: str, weights: Tensors, scores: object) -> dict[str, Tensor]:
    """One detached tensor per weight. Raises ScoreError for anything else."""
    who = _scorer(name)
    if not isinstance(scores, Mapping):
        raise ScoreError(f"{who} returned {type(scores).__name__}, wanted a mapping from weight name to tensor")
    for layer, score in scores.items():
        if not isinstance(score, Tensor):
            raise ScoreError(f"{who} returned {type(score).__name__} for {layer!r}, wanted a tensor")
        if score.layout is not torch.strided:
            raise ScoreError(f"{who} returned a tensor of {score.layout} for {layer!r}, wanted a dense one")
    try:
        check_against(weights, scores, "score")
    except ValueError as error:
        raise ScoreError(f"{who} returned scores that don't fit: {error}") from None
    return {layer: scores[layer].detach() for layer in weights}


def check_scores(name: str, weights: Tensors, scores: Tensors) -> None:
    """Raise ScoreError unless the scores are finite and of the weights' dtype and device."""
    check_kinds(name, weights, scores)
    for layer, score in scores.items():
        if not torch.isfinite(score).all():
            refuse_infinite(name, layer, score.numel(), int(score.isnan().sum()), int(score.isinf().sum()), score.dtype)


def check_kinds(name: str, weights: Tensors, scores: Tensors) -> None:
    """Raise ScoreError unless the scores are of the weights' dtype and device; no number is read."""
    for layer, weight in weights.items():
        score = scores[layer]
        if score.dtype != weight.dtype or score.device != weight.device:
            raise ScoreError(
                f"{_scorer(name)} returned {score.dtype} on {score.device} for {layer!r}, "
                f"wanted the weights' {weight.dtype} on {weight.device}"
            )


def refuse_infinite(name: str, layer: str, size: int, nans: int, infinite: int, dtype: torch.dtype) -> NoReturn:
    """Raise the ScoreError that says which scores of a layer are not finite."""
    raise ScoreError(
        f"{_scorer(name)} returned {nans} NaN and {infinite} infinite scores "
        f"of {size} for {layer!r}; with finite weights the usual causes are overflow (products "
        f"of weights along a path leave the range of {dtype}), a division by a zero total, "
        "and biases, statistics or data that are not finite"
    )


def call_choice(
    pruner: Pruner, network: Network, state: State, scores: Tensors | None, keep: int, probe: Probe
) -> Masks:
    """The masks that the pruner chooses, of `keep` weights, with torch's modes and random states left as they were.

    Raises ScoreError where it raised or gave something else.
    """
    if pruner.choose is None and pruner.select is global_top_k:  # touches none of them; to copy them takes longer
        return ask_choice(pruner, network, state, scores, keep, probe)
    with as_they_were():
        return ask_choice(pruner, network, state, scores, keep, probe)


def ask_choice(
    pruner: Pruner, network: Network, state: State, scores: Tensors | None, keep: int, probe: Probe
) -> Masks:
    """The same, with whatever the choice does to torch's modes and random states."""
    who = f"the selection of {pruner.name!r}"
    with _held_to_answer(who):
        if pruner.choose is None:
            assert scores is not None
            after: object = pruner.select(scores, state.masks, keep)
        else:
            after = pruner.choose(network, state, keep, probe)
    if not isinstance(after, Masks if pruner.choose is None else Mapping):
        raise ScoreError(
            f"{who} returned {type(after).__name__}, wanted "
            + ("Masks" if pruner.choose is None else "a mapping from weight name to boolean tensor")
        )
    try:
        found = after if isinstance(after, Masks) else Masks(dict(after))
        check_against(network.weights, found, "mask")
    except (TypeError, ValueError) as error:
        raise ScoreError(f"{who} returned masks that don't fit: {error}") from None
    return Masks({n: found[n] for n in network.weights})


def call_objective(pruner: Pruner, network: Network, weights: Tensors, probe: Probe) -> Tensor:
    """The pruner's objective R as a tensor of no dimensions. Raises ScoreError where it raised or gave no number."""
    who = f"the objective of {pruner.name!r}"
    assert pruner.objective is not None
    with _held_to_answer(who):
        value = pruner.objective(network, weights, probe)
    if not isinstance(value, Tensor) or value.numel() != 1:
        got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ScoreError(f"{who} returned {got}, wanted a tensor of one number")
    return value.reshape(())
