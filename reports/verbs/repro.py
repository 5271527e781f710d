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
    try:
        raise typer.Exit(replayed.repro(record, pruner or record.pruner))
    except UsageError as error:
        if pruner:
            raise
        raise UsageError(
            f"the witness is of {record.pruner!r}, which is not built in; add --pruner file.py:object or module:object"
        ) from error


def _run(script: Path, pruner: str | None) -> int:
    """The script's own exit status; one that says nothing of the law where it ends in an error."""
    from reports.verbs.common import FAILED, UNVERIFIED
    from theory.witness.scripts import PROMISE

    if pruner:
        raise UsageError(f"the script {str(script)!r} names its pruner itself; --pruner is for the .json beside it")
    if not script.is_file():
        raise UsageError(f"the script {str(script)!r} can't be read: there is no such file")
    if PROMISE not in " ".join(script.read_text(encoding="utf-8", errors="replace").split()):
        raise UsageError(f"{str(script)!r} is no script that `verify` wrote for a witness")
    ended = subprocess.run([sys.executable, str(script)], check=False, stderr=subprocess.PIPE, text=True)
    sys.stderr.write(ended.stderr)
    return UNVERIFIED if ended.returncode == FAILED and "Traceback" in ended.stderr else ended.returncode
