"""`prunelaws repro`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from reports.verbs.common import FAILED, OK, UNVERIFIED, note


def repro(
    witness: Annotated[Path, typer.Argument(help="A witness file, as `verify` writes them.")],
    pruner: Annotated[
        str | None, typer.Option(help="The pruner, if it is not built in: package.module:object or file.py:object.")
    ] = None,
) -> None:
    """Run a witness again, from its own text: exit 1 where it still breaks its law, 0 where it no longer does."""
    from reports import files, loading, terminal
    from theory.laws import laws_named
    from theory.search import replay
    from theory.verdict import Outcome

    record = files.read_witness_named(witness)
    law = next(iter(laws_named([record.law]).values()))
    method = loading.load_subject(pruner or record.pruner)
    verdict = replay(record, law, method)
    if verdict.outcome is Outcome.HELD:
        sys.stdout.write(f"{method.name} keeps {law.name} on {record.network}: the failure is gone\n")
        raise typer.Exit(OK)
    if verdict.outcome is Outcome.BROKEN:
        sys.stdout.write(terminal.failure_text(law, method.name, record, verdict.where or ""))
        raise typer.Exit(FAILED)
    note(f"{law.name} says nothing of {method.name} on {record.network}: {verdict.reason or 'nothing flows'}")
    raise typer.Exit(UNVERIFIED)
