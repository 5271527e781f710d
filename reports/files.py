"""The files that the command writes and reads; each appears whole or not at all."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from reports.failure import witness_name
from reports.loading import UsageError
from reports.markdown import markdown
from reports.page import html
from reports.record import to_json
from theory.verdict import Run, Witness


def prepare(folder: Path) -> None:
    """Make a folder and make sure it can be written to, before any work is done. Raises UsageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".prunelaws.part"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise UsageError(f"the folder {str(folder)!r} can't be written to: {error.strerror}") from error


def write(run: Run, folder: Path) -> None:
    """run.json, report.html, report.md and witnesses/ in `folder`; each file appears whole or not at all."""
    _put(folder / "run.json", to_json(run))
    _put(folder / "report.html", html(run))
    _put(folder / "report.md", markdown(run))
    witnesses = {witness_name(v.law, v.pruner): v.witness for v in run.verdicts if v.witness}
    (folder / "witnesses").mkdir(exist_ok=True)
    for stale in (folder / "witnesses").glob("*.json"):
        if stale.name not in witnesses:
            stale.unlink()
    for name, witness in witnesses.items():
        _put(folder / "witnesses" / name, json.dumps(asdict(witness), indent=1) + "\n")


def _put(path: Path, text: str) -> None:
    beside = path.with_name(path.name + ".part")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read_witness(path: Path) -> Witness:
    """The witness in a file. Raises UsageError for a file that is missing, cut short or something else."""
    try:
        return Witness(**json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"the witness {str(path)!r} can't be read: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path} is no witness that prunelaws wrote: {error}") from error
