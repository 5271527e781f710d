"""The laws: one file per family of laws, found by looking into this folder."""

import importlib
import pkgutil
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from types import ModuleType

from pruning.errors import UsageError
from pruning.pruner import Claim
from theory.law import Law, laws_in


def catalogue() -> dict[str, Law]:
    """Every law of this folder by name, in the order of their numbers. Raises ValueError on a name used twice."""
    found: dict[str, Law] = {}
    for module in _modules():
        for law in laws_in(module):
            if found.setdefault(law.name, law) is not law:
                raise ValueError(f"two laws are named {law.name!r}")
    return dict(sorted(found.items(), key=lambda item: _order(item[1].id)))


@cache
def _modules() -> list[ModuleType]:
    return [importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]


def laws_named(names: Iterable[str]) -> dict[str, Law]:
    """The laws of these names or ids, several with commas between, or all where none is given. Raises UsageError."""
    known = catalogue()
    called = {name.lower(): n for n, law in known.items() for name in (n, law.id)}
    given = list(names)
    wanted = [part.strip() for name in given for part in name.split(",") if part.strip()]
    if given and not wanted:
        raise UsageError(f"{', '.join(map(repr, given))} names no law; `prunelaws list --laws` shows them all")
    for name in wanted:
        if name.lower() not in called:
            near = get_close_matches(name.lower(), called, n=3)
            meant = f"; did you mean {' or '.join(near)}?" if near else ""
            raise UsageError(f"there is no law {name!r}{meant}; `prunelaws list --laws` shows them all")
    chosen = {called[name.lower()] for name in wanted}
    return {n: law for n, law in known.items() if not wanted or n in chosen}


def of_claim(claim: Claim) -> list[Law]:
    """The laws that say what a claim means: each tests it."""
    return [law for law in catalogue().values() if law.claim is claim]


def _order(id: str) -> tuple[str, int, str]:
    digits = "".join(c for c in id if c.isdigit())
    return id[0], int(digits), id
