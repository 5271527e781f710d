"""What a user names: objects, pruners, claims and devices; one clear line where it can't be had."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pruning.errors import UsageError
from pruning.newer import newer
from pruning.pruner import Claim, Pruner, scored
from pruning.pruners import built_in


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
        raise UsageError(f"there is no file {str(path)!r}{'' if path.is_absolute() else f' in {Path.cwd()}'}")
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


def load_pruner(reference: str, beside: str | None = None) -> Pruner:
    """The pruner of a name, or of package.module:object or file.py:object. Raises UsageError where there is none.

    beside: the script that asks, as witnesses do. A file.py is then looked for above it, too, and where there is no
    such pruner the script ends, with status 2 and one line.
    """
    if beside is None:
        return load_held(reference, [])[0]
    where, _, attribute = reference.rpartition(":")
    above = (folder / where for folder in Path(beside).resolve().parents)
    if where.endswith(".py") and not Path(where).is_file():
        reference = next((f"{path}:{attribute}" for path in above if path.is_file()), reference)
    try:
        return load_held(reference, [])[0]
    except UsageError as error:
        sys.stderr.write(f"prunelaws: {error}\n")
        raise SystemExit(2) from error


def load_held(reference: str, claims: Iterable[str]) -> tuple[Pruner, bool]:
    """A pruner, held to more claims, and whether it is a bare function, which has no claims of its own."""
    if not isinstance(reference, str):
        raise UsageError(f"got {type(reference).__name__} for a reference, wanted a text such as file.py:object")
    extra = frozenset(load_claim(name) for name in claims)
    if ":" not in reference:
        known = {**built_in(), **newer()}
        if reference.endswith(".py"):
            held = ", ".join(_own(_module_of_file(Path(reference)))) or "nothing that prunes"
            raise UsageError(f"{reference} is a file; wanted the pruner in it as well, {reference}:NAME. It has {held}")
        if reference not in known:
            raise UsageError(
                f"there is no pruner {reference!r}; built in are {', '.join(sorted(known))}; "
                "yours is named as package.module:object or file.py:object"
            )
        return _with_claims(known[reference], extra), False
    return as_pruner(load_object(reference), reference, extra)


def as_pruner(value: object, reference: str = "it", claims: frozenset[Claim] = frozenset()) -> tuple[Pruner, bool]:
    """A pruner of what a user gives for one, and whether it is a bare function. Raises UsageError for anything else."""
    if isinstance(value, Pruner):
        return _with_claims(value, claims), False
    if isinstance(value, type) or not callable(value):
        raise UsageError(
            f"{reference} is a {type(value).__name__}, wanted a prunelaws.Pruner (see prunelaws.scored) "
            "or a function score(network, state, probe) that returns one tensor per weight"
        )
    return scored(getattr(value, "__name__", reference), value, claims=claims), True


def _with_claims(pruner: Pruner, extra: frozenset[Claim]) -> Pruner:
    return replace(pruner, claims=pruner.claims | extra)


def load_claim(name: str) -> Claim:
    """The claim of a name, however it is spelt. Raises UsageError."""
    plain = name.lower().replace("_", " ").replace("-", " ")
    try:
        return Claim(plain)
    except ValueError:
        raise UsageError(f"there is no claim {name!r}; wanted one of: {', '.join(c.value for c in Claim)}") from None


def load_device(name: str) -> torch.device:
    """A device that tensors can be computed on here. Raises UsageError."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"the device {name!r} can't be used here: {str(error).splitlines()[0]}") from None
    return device
