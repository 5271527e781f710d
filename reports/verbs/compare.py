"""`prunelaws compare`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from reports.verbs.common import FAILED, OK, AsJson, print_json


def compare(
    old: Annotated[Path, typer.Argument(help="The older run: the folder that `verify -o` wrote, or its run.json.")],
    new: Annotated[Path, typer.Argument(help="The newer run.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Also write it as Markdown, of at most 64 KB, to this file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what changed between two runs; exit 1 where anything that held does not, or is not known to, any more."""
    from reports import files
    from reports.compared import as_text, sections_of
    from reports.comparison import compare_runs, refuse_strangers
    from reports.markdown import written

    runs = files.read_run(old), files.read_run(new)
    refuse_strangers(runs[0], [str(p["name"]) for p in runs[1].pruners])
    found = compare_runs(*runs)
    if out is not None:
        files.write_comparison(written(sections_of(found, *runs)), out)
    if as_json:
        print_json(asdict(found) | {"regressed": found.regressed})
    else:
        sys.stdout.write(as_text(found))
    raise typer.Exit(FAILED if found.regressed else OK)
