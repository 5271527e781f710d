"""The journal of a frontier: what was found, line by line, and the run in flight."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from theory.frontier.flight import Flight


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder. Raises OSError where it can't be written to, BlockingIOError where one is.

    The system lets go of it when the process ends, in whatever way; where it has no such locks, nobody is kept out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as held:
        with suppress(ImportError):  # on Windows
            import fcntl

            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


class Journal:
    """A folder with a line for each thing that was found; a line that was cut short is as if it were not there."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError where the folder can't be written to."""
        folder.mkdir(parents=True, exist_ok=True)
        self._lines, self.flight = folder / "found.jsonl", Flight(folder / "flight")
        self._found: dict[str, Any] = dict(_read(self._lines))
        _replace(self._lines, "".join(_line(*pair) for pair in self._found.items()).encode())

    def find(self, key: str, make: Callable[[], Any]) -> Any:
        """What is known under a key, or what `make` gives, which is then known: data, as JSON has it."""
        if key not in self._found:
            self.note(key, make())
            self.flight.end()
        return self._found[key]

    def note(self, key: str, value: Any) -> None:
        """Make something known."""
        with self._lines.open("a", encoding="utf-8") as file:
            file.write(_line(key, value))
        self._found[key] = json.loads(json.dumps(value))

    def known(self, key: str) -> Any:
        """What is known under a key. Raises KeyError where nothing is."""
        return self._found[key]


def _line(key: str, value: Any) -> str:
    return json.dumps([key, value]) + "\n"


def _read(path: Path) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    if not path.exists():
        return found
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            key, value = json.loads(line)
            found[key] = value
        except (ValueError, TypeError):  # cut short, or none of ours
            continue
    return found


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(path.name + ".part")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
