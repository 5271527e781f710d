"""The laws: one file per family of laws, found by looking into this folder."""

import importlib
import pkgutil

from theory.law import Law, laws_in


def catalogue() -> dict[str, Law]:
    """Every law of this folder by name, in the order of their numbers. Raises ValueError on a name used twice."""
    found: dict[str, Law] = {}
    for info in pkgutil.iter_modules(__path__):
        for law in laws_in(importlib.import_module(f"{__name__}.{info.name}")):
            if found.setdefault(law.name, law) is not law:
                raise ValueError(f"two laws are named {law.name!r}")
    return dict(sorted(found.items(), key=lambda item: _order(item[1].id)))


def _order(id: str) -> tuple[str, int, str]:
    digits = "".join(c for c in id if c.isdigit())
    return id[0], int(digits), id
