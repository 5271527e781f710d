"""The files that the command writes and reads; each appears whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pruning.errors import UsageError
from reports.frontierpage import sections as frontier_sections
from reports.markdown import markdown
from reports.page import html, page
from reports.record import from_json, to_json
from theory.verdict import Run, Witness
from theory.witness.files import read_witness, save_witness


def prepare(folder: Path) -> None:
    """Make a folder and make sure it can be written to, before any work is done. Raises UsageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".prunelaws.part"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise UsageError(f"the folder {str(folder)!r} can't be written to: {error.strerror}") from error


def prepare_file(path: Path) -> None:
    """Make sure that a file can be put there, before any work is done. Raises UsageError."""
    if path.exists() and not path.is_file():
        raise UsageError(f"{str(path)!r} is no regular file; name a file, such as masks.safetensors")
    prepare(path.parent)


def write(run: Run, folder: Path, scripts: Mapping[str, str]) -> None:
    """run.json, report.html, report.md and witnesses/ in `folder`; each file appears whole or not at all.

    scripts: by file name, what lies beside the witnesses.
    """
    write_record(run, folder)
    for name, text in scripts.items():
        _put(folder / "witnesses" / name, text)
    _put(folder / "report.html", html(run))
    _put(folder / "report.md", markdown(run))


def write_record(run: Run, folder: Path) -> None:
    """run.json and witnesses/ alone. Raises UsageError where the folder can't be written to."""
    prepare(folder)
    _put(folder / "run.json", to_json(run))
    place = folder / "witnesses"
    place.mkdir(exist_ok=True)
    for witness in (v.witness for v in run.verdicts if v.witness):
        save_witness(witness, place)


def write_frontier(data: dict[str, Any], folder: Path) -> None:
    """frontier.json and frontier.html in `folder`; the same results give the same bytes."""
    _put(folder / "frontier.json", json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    _put(folder / "frontier.html", page(frontier_sections(data["results"], data["provenance"])))


def _put(path: Path, text: str) -> None:
    beside = path.with_name(path.name + ".part")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read_run(path: Path) -> Run:
    """The run in a file, or in a folder that `verify -o` wrote. Raises UsageError for anything else."""
    file = path / "run.json" if path.is_dir() else path
    try:
        return from_json(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"the run {str(file)!r} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{str(file)!r}: {error}") from error


def write_comparison(text: str, path: Path) -> None:
    """A comparison's Markdown. Raises UsageError where it can't be written."""
    prepare_file(path)
    _put(path, text)


def read_witness_named(path: Path) -> Witness:
    """The witness in a file the user named. Raises UsageError for one that is missing, cut short or something else."""
    try:
        return read_witness(path)
    except OSError as error:
        raise UsageError(f"the witness {str(path)!r} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(str(error)) from error
