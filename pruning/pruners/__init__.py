"""The built-in pruners: one file each, found by looking into this folder."""

import importlib
import pkgutil
from collections.abc import Iterable

from pruning.pruner import Pruner


def built_in() -> dict[str, Pruner]:
    """Every Pruner that a module of this folder holds, by name. Raises ValueError on a name used twice."""
    return pruners_in(__name__, __path__)


def pruners_in(package: str, path: Iterable[str]) -> dict[str, Pruner]:
    """Every Pruner that a module of a package holds, by name. Raises ValueError on a name used twice."""
    found: dict[str, Pruner] = {}
    for info in pkgutil.iter_modules(path):
        module = importlib.import_module(f"{package}.{info.name}")
        for value in vars(module).values():
            if not isinstance(value, Pruner):
                continue
            if found.setdefault(value.name, value) is not value:
                raise ValueError(f"two pruners are named {value.name!r}; the second is in {module.__name__}")
    return found
