"""Live: progress and refuted claims on stderr while the command works."""

from __future__ import annotations

import os
import sys
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


class Live:
    """A progress bar on stderr with the failures as they come; a line for each new place where nobody watches."""

    def __init__(self) -> None:
        console = Console(stderr=True, highlight=False, markup=False)
        self._watched = console.is_terminal and not os.environ.get("CI")
        columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=24), TimeElapsedColumn())
        self._bar = Progress(*columns, console=console, transient=True, disable=not self._watched)
        self._task = self._bar.add_task("starting", total=None)
        self._told: set[str] = set()

    def __enter__(self) -> Live:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def step(self, what: str, done: int, steps: int) -> None:
        """Say what is being done; unwatched, only for each pruner and network that is new."""
        self._bar.update(self._task, description=what, completed=done, total=steps)
        place = what.split(": ")[0]
        if not self._watched and place not in self._told:
            self._told.add(place)
            sys.stderr.write(f"{place} ({done} of {steps} done)\n")

    def verdict(self, verdict: Any) -> None:
        """Show a refuted claim at once."""
        if verdict.failed:
            self._bar.console.print(f"{verdict.pruner}: {verdict.law} fails on {verdict.ground}: {verdict.where}")
