"""The sections of a report: one file each, found by looking into this folder."""

import importlib
import pkgutil
from collections.abc import Callable

from reports.blocks import Section
from theory.verdict import Run

Make = Callable[[Run], Section | None]


def sections(run: Run) -> list[Section]:
    """What each module of this folder makes of a run with its function `section`; None where it has nothing to say."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__))
    makers: list[Make] = [importlib.import_module(f"{__name__}.{name}").section for name in names]
    made = (make(run) for make in makers)
    return sorted((s for s in made if s is not None), key=lambda s: (s.order, s.anchor))
