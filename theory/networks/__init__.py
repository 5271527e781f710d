"""Families of random networks: one file each, found by looking into this folder."""

import importlib
import pkgutil

from theory.networks.family import Family


def built_in() -> dict[str, Family]:
    """Every Family in this folder, by name, simplest first. Raises ValueError on a name used twice."""
    found: dict[str, Family] = {}
    for info in pkgutil.iter_modules(__path__):
        for value in vars(importlib.import_module(f"{__name__}.{info.name}")).values():
            if isinstance(value, Family) and found.setdefault(value.name, value) is not value:
                raise ValueError(f"two families are named {value.name!r}")
    return dict(sorted(found.items(), key=lambda item: item[1].order))
