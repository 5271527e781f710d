"""The witnesses of a run as scripts, made in a process for each pruner: making one runs the pruner's own code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from pruning.pruner import Pruner
from theory.laws import catalogue
from theory.sidebyside import Say, processors, side_by_side
from theory.subjects import Subjected
from theory.verdict import Run, Witness
from theory.witness.files import witness_name
from theory.witness.scripts import script

Step = Callable[[str, int, int], None]


def scripts_of(run: Run, subjects: Mapping[str, Subjected], say: Step) -> dict[str, str]:
    """A script for each witness of a pruner, by file name; subjects: by the reference that a user would load them by.

    A pruner that can't be run any more, such as one that ends its process, has none. `say` is told how far this is.
    """
    found: dict[str, str] = {}
    for done, (reference, pruner) in enumerate(subjects.items()):
        own = {v.law: v.witness for v in run.verdicts if v.witness and v.pruner == pruner.name}
        if isinstance(pruner, Pruner) and own:
            say(f"witnesses of {pruner.name} as scripts", done, len(subjects))
            job = partial(_write, own, pruner, reference)
            try:
                side_by_side({pruner.name: job}, min(1, processors()), lambda said: found.update([said]))
            except (ChildProcessError, RuntimeError):
                continue
    return found


def _write(witnesses: Mapping[str, Witness], pruner: Pruner, reference: str, say: Say) -> None:
    for law, witness in witnesses.items():
        name = Path(witness_name(law, pruner.name)).with_suffix(".py").name
        say((name, script(witness, catalogue()[law], pruner, reference)))
