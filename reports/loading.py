"""What a user names on the command line: pruners, models, data, laws, devices; one clear line where it can't be had."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from pruning.errors import ModelError, UsageError
from pruning.models import built_in as built_in_models
from pruning.models import make
from pruning.network import check_finite
from pruning.problem import LOSSES, Loss, Problem, check_batch
from pruning.references import load_object, load_pruner
from pruning.trace import trace
from theory.law import Law, kinds_of
from theory.subjects import Subjected
from theory.subjects import built_in as built_in_subjects

SAMPLES = 2  # in the synthetic batch that data-driven pruners get when no data is named


def load_subject(reference: str) -> Subjected:
    """A pruner, or one of the subjects that are none, by name."""
    return built_in_subjects().get(reference) or load_pruner(reference)


def other_subjects(laws: Mapping[str, Law]) -> list[Subjected]:
    """The subjects that are no pruners, as far as any of the laws is about them."""
    about = {law.subject for law in laws.values()}
    return [subject for subject in built_in_subjects().values() if kinds_of(subject) & about]


def load_models(
    references: Iterable[str], seed: int, device: torch.device, data: str | None, classes: int | None
) -> dict[str, Problem]:
    """The problems of several models by reference. Raises UsageError that tells of every one that can't be had."""
    found, faults = dict[str, Problem](), list[str]()
    for reference in references:
        try:
            found[reference] = load_model(reference, seed, device, data, classes)
        except UsageError as error:
            faults.append(str(error))
    if faults:
        raise UsageError("; ".join(faults))
    return found


def load_model(reference: str, seed: int, device: torch.device, data: str | None, classes: int | None) -> Problem:
    """The problem of a model: in float64, on the device, with a batch of data for the pruners that ask for one."""
    model, example = _model_and_example(reference, seed, classes)
    try:
        network = trace(model, example).to(device=device, dtype=torch.float64)
        check_finite(network.weights)
    except (ModelError, ValueError) as error:
        raise UsageError(f"the model {reference!r} can't be scored: {error}") from error
    output = network.forward(network.weights, network.example)
    if not output.is_floating_point():
        raise UsageError(f"the model {reference!r} gives {output.dtype}, wanted real numbers, which have a slope")
    inputs, targets, loss = _synthetic(example, output, seed) if data is None else _data(data)
    moved = inputs.to(device, torch.float64 if inputs.is_floating_point() else None)
    wanted = targets.to(device, torch.float64 if targets.is_floating_point() else None)
    problem = Problem(network, (moved, wanted), loss, seed)
    try:
        check_batch(problem)
    except ValueError as error:
        raise UsageError(f"the model {reference!r} and its data don't fit: {error}") from error
    return problem


def load_learned(reference: str, seed: int, classes: int | None) -> frozenset[str]:
    """Names of the parameters that a model learns: not its masks, positions and other constants."""
    return frozenset(name for name, _ in _model_and_example(reference, seed, classes)[0].named_parameters())


def _model_and_example(reference: str, seed: int, classes: int | None) -> tuple[nn.Module, Tensor]:
    if ":" not in reference:
        if reference not in built_in_models():
            raise UsageError(
                f"there is no model {reference!r}; built in are {', '.join(sorted(built_in_models()))}; "
                "yours is named as module:factory, which returns (model, example input)"
            )
        return make(reference, seed, classes)
    if classes is not None:
        raise UsageError(f"--classes is for built-in models; {reference!r} decides its outputs itself")
    factory = load_object(reference)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = factory()
    except (Exception, SystemExit) as error:
        raise UsageError(f"the factory {reference} raised {type(error).__name__}: {error}") from error
    if not (isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], nn.Module)):
        raise UsageError(f"the factory {reference} returned {_kind(made)}, wanted (model, example input)")
    example = made[1][0] if isinstance(made[1], (tuple, list)) and len(made[1]) == 1 else made[1]
    if not isinstance(example, Tensor) or example.dim() < 2:
        raise UsageError(
            f"the example input of {reference} is {_kind(example)}, wanted one tensor (batch, ...): "
            "a model of several inputs is wrapped in one that holds the others"
        )
    return made[0], example


def _data(reference: str) -> tuple[Tensor, Tensor, Loss]:
    factory = load_object(reference)
    try:
        made = factory()
    except (Exception, SystemExit) as error:
        raise UsageError(f"the data factory {reference} raised {type(error).__name__}: {error}") from error
    if not (isinstance(made, tuple) and len(made) == 3 and isinstance(made[0], Tensor) and callable(made[2])):
        raise UsageError(f"the data factory {reference} returned {_kind(made)}, wanted (inputs, targets, loss)")
    return made


def _synthetic(example: Tensor, output: Tensor, seed: int) -> tuple[Tensor, Tensor, Loss]:
    """Random inputs and labels, decided by the seed: no real data, and said so in reports.

    Inputs are normal, or indices from among the example's. An output of (batch, classes) or (batch, tokens,
    classes) gets labels and cross-entropy, any other normal targets and the squared error.
    """
    source = torch.Generator().manual_seed(seed)
    shape = (SAMPLES, *example.shape[1:])
    if example.is_floating_point():
        inputs = torch.randn(shape, generator=source, dtype=torch.float64)
    else:
        inputs = example.flatten()[torch.randint(example.numel(), shape, generator=source)]
    *places, classes = output.shape[1:] or (1,)
    if len(places) > 1 or classes == 1:
        targets = torch.randn((SAMPLES, *output.shape[1:]), generator=source, dtype=torch.float64)
        return inputs, targets, LOSSES["squared-error"]
    return inputs, torch.randint(classes, (SAMPLES, *places), generator=source), LOSSES["cross-entropy"]


def _kind(value: object) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(type(v).__name__ for v in value)})"
    return type(value).__name__
