"""`prunelaws repro`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from pruning.errors import UsageError


def repro(
    witness: Annotated[
        Path, typer.Argument(help="A witness that `verify` wrote: .json, or the script beside it, .py.")
    ],
    pruner: Annotated[
        str | None, typer.Option(help="The pruner, if it is not built in: package.module:object or file.py:object.")
    ] = None,
) -> None:
    """Run a witness again, from its own text: exit 1 where it still breaks its law, 0 where it no longer does."""
    from reports import files, replayed

    if witness.suffix == ".py":
        raise typer.Exit(_run(witness, pruner))
    record = files.read_witness_named(witness)
    raise typer.Exit(replayed.repro(record, pruner or record.pruner))


def _run(script: Path, pruner: str | None) -> int:
    """The script's own exit status."""
    if pruner:
        raise UsageError(f"the script {str(script)!r} names its pruner itself; --pruner is for the .json beside it")
    if not script.is_file():
        raise UsageError(f"the script {str(script)!r} can't be read: there is no such file")
    return subprocess.run([sys.executable, str(script)], check=False).returncode
