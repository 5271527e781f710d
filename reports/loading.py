"""What a user names on the command line: pruners, models, data, laws, devices; one clear line where it can't be had."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pruning.errors import ModelError
from pruning.models import built_in as built_in_models
from pruning.models import make
from pruning.network import check_finite
from pruning.problem import LOSSES, Loss, Problem
from pruning.pruner import Claim, Pruner, scored
from pruning.pruners import built_in as built_in_pruners
from pruning.trace import trace
from theory.law import Law, kinds_of
from theory.laws import catalogue
from theory.subjects import Subjected
from theory.subjects import built_in as built_in_subjects

SAMPLES = 2  # in the synthetic batch that data-driven pruners get when no data is named


class UsageError(Exception):
    """What the user asked for can't be done; the message says what was got, what was wanted and what to do."""


def load_object(reference: str) -> Any:
    """What `package.module:object` or `file.py:object` names; the working directory is searched last."""
    where, _, attribute = reference.rpartition(":")
    if not where or not attribute:
        raise UsageError(f"{reference!r} is no reference; wanted package.module:object or file.py:object")
    module = _module_of_file(Path(where)) if where.endswith(".py") else _module_named(where)
    try:
        value = module
        for part in attribute.split("."):
            value = getattr(value, part)
    except AttributeError:
        raise UsageError(f"{where} has no {attribute!r}; it has {', '.join(_own(module)) or 'nothing'}") from None
    return value


def _own(module: Any) -> list[str]:
    """What the module defines and a command could use: pruners, and functions and classes of its own."""
    found = ((name, value) for name, value in vars(module).items() if not name.startswith("_"))
    return sorted(n for n, v in found if isinstance(v, Pruner) or getattr(v, "__module__", "") == module.__name__)


def _module_of_file(path: Path) -> Any:
    if not path.is_file():
        raise UsageError(f"there is no file {str(path)!r}")
    spec = importlib.util.spec_from_file_location(f"prunelaws_user_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    if str(path.resolve().parent) not in sys.path:
        sys.path.append(str(path.resolve().parent))  # last, as a script would find its neighbours
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    return _imported(str(path), lambda: (spec.loader.exec_module(module), module)[1])  # type: ignore[union-attr]


def _module_named(name: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    return _imported(name, lambda: importlib.import_module(name))


def _imported(name: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except (Exception, SystemExit) as error:
        raise UsageError(f"{name} can't be imported: {type(error).__name__}: {error}") from error


def load_pruner(reference: str, claims: Iterable[str]) -> tuple[Pruner, bool]:
    """The pruner that a name or reference means, and whether it is a bare function, which has no claims of its own."""
    extra = frozenset(_claim(name) for name in claims)
    if ":" not in reference:
        known = built_in_pruners()
        if reference not in known:
            raise UsageError(
                f"there is no pruner {reference!r}; built in are {', '.join(sorted(known))}; "
                "yours is named as package.module:object or file.py:object"
            )
        return _with_claims(known[reference], extra), False
    value = load_object(reference)
    if isinstance(value, Pruner):
        return _with_claims(value, extra), False
    if isinstance(value, type) or not callable(value):
        raise UsageError(
            f"{reference} is a {type(value).__name__}, wanted a prunelaws.Pruner (see prunelaws.scored) "
            "or a function score(network, state, probe) that returns one tensor per weight"
        )
    return scored(getattr(value, "__name__", reference), value, claims=extra), True


def load_subject(reference: str) -> Subjected:
    """A pruner, or one of the subjects that are none, by name."""
    return built_in_subjects().get(reference) or load_pruner(reference, [])[0]


def other_subjects(laws: Mapping[str, Law]) -> list[Subjected]:
    """The subjects that are no pruners, as far as any of the laws is about them."""
    about = {law.subject for law in laws.values()}
    return [subject for subject in built_in_subjects().values() if kinds_of(subject) & about]


def _with_claims(pruner: Pruner, extra: frozenset[Claim]) -> Pruner:
    return scored(
        pruner.name,
        pruner.score,
        select=pruner.select,
        objective=pruner.objective,
        claims=pruner.claims | extra,
        rounds=pruner.rounds,
    )


def _claim(name: str) -> Claim:
    plain = name.lower().replace("_", " ").replace("-", " ")
    try:
        return Claim(plain)
    except ValueError:
        raise UsageError(f"there is no claim {name!r}; wanted one of: {', '.join(c.value for c in Claim)}") from None


def load_laws(names: Iterable[str]) -> Mapping[str, Law]:
    """The laws of these names or ids, or all laws where no name is given."""
    known = catalogue()
    called = {name.lower(): n for n, law in known.items() for name in (n, law.id)}
    wanted = [part.strip() for name in names for part in name.split(",")]
    for name in wanted:
        if name.lower() not in called:
            near = get_close_matches(name.lower(), called, n=3)
            meant = f"; did you mean {' or '.join(near)}?" if near else ""
            raise UsageError(f"there is no law {name!r}{meant}; `prunelaws list --laws` shows them all")
    chosen = {called[name.lower()] for name in wanted}
    return {n: law for n, law in known.items() if not wanted or n in chosen}


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
    return Problem(network, (moved, wanted), loss, seed)


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


def load_device(name: str) -> torch.device:
    """A device that tensors can be computed on here."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"the device {name!r} can't be used here: {str(error).splitlines()[0]}") from None
    return device


def _kind(value: object) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(type(v).__name__ for v in value)})"
    return type(value).__name__
