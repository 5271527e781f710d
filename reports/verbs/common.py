"""What verbs share: how they end, their common options, and notes on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from pruning.errors import UsageError

OK, FAILED, USAGE, UNVERIFIED, INTERRUPTED = 0, 1, 2, 3, 130
DEFAULT_OUT = Path("reports/out")

Pruners = Annotated[
    list[str] | None,
    typer.Argument(help="Built-in names, package.module:object or file.py:object. Default: all built-in pruners."),
]
Out = Annotated[Path, typer.Option("-o", "--out", help="Folder for run.json, report.html, report.md, witnesses/.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Seed = Annotated[int, typer.Option(help="Decides every random number.", min=0, max=2**32 - 1)]
Device = Annotated[str, typer.Option(help="Where tensors live: cpu, cuda, cuda:1, ...")]
Data = Annotated[
    str | None, typer.Option(help="module:factory returning (inputs, targets, loss). Default: a synthetic batch.")
]
Classes = Annotated[int | None, typer.Option(help="Outputs of a built-in model.", min=1)]


def usage(make: Any) -> Any:
    """What `make` gives; its ValueError is the user's mistake."""
    try:
        return make()
    except ValueError as error:
        raise UsageError(str(error)) from error


def print_json(value: object) -> None:
    """Data on stdout."""
    sys.stdout.write(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def print_table(columns: list[str], rows: Iterable[list[Any]]) -> None:
    """A table for people on stdout."""
    from reports.terminal import WIDTH

    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else WIDTH).print(table)


def note_objections(name: str, network: Any) -> None:
    """Say which parts of a model the laws can't speak of, and which of its layers are not counted."""
    from reports.inspection import alike

    shown = alike([*network.turns, *network.graph.objections])
    for text in shown[:5]:
        note(f"{name}: {text}")
    if len(shown) > 5:
        note(f"{name}: and {len(shown) - 5} more such places")


def note(text: str) -> None:
    """A line on stderr."""
    sys.stderr.write(f"prunelaws: {text}\n")
