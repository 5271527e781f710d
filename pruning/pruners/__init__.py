"""The built-in pruners: one file each, found by looking into this folder."""

import importlib
import pkgutil

from pruning.pruner import Pruner


def built_in() -> dict[str, Pruner]:
    """Every Pruner that a module of this folder holds, by name. Raises ValueError on a name used twice."""
    found: dict[str, Pruner] = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for value in vars(module).values():
            if not isinstance(value, Pruner):
                continue
            if found.setdefault(value.name, value) is not value:
                raise ValueError(f"two pruners are named {value.name!r}; the second is in {module.__name__}")
    return found
