"""How the command ends when it is interrupted, has no room, or has a fault of its own."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Run


def test_interrupted_ends_with_130_and_leaves_nothing_half_written(folder: Path) -> None:
    # what runs in the background of a shell is started deaf to interrupts
    listening = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{listening}; import prunelaws; prunelaws.main()"
    command = [sys.executable, "-c", code, "verify", "--examples", "5000", "-o", "out"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    started = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    assert started.stderr is not None
    started.stderr.readline()  # the first place is being worked on
    time.sleep(0.2)
    started.send_signal(signal.SIGINT)
    out, err = started.communicate(timeout=60)
    assert started.returncode == 130
    assert b"interrupted" in err and b"Traceback" not in err
    assert out == b""
    assert list((folder / "out").iterdir()) == []


def test_a_full_disk_is_said_in_one_line(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = Path.write_text

    def full(path: Path, *rest: object, **more: object) -> int:
        if "run.json" in path.name:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return written(path, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "write_text", full)
    ended = run("verify", "magnitude", "--laws", "M1", "--examples", "10", "-o", "out")
    assert ended.status == 3
    assert "No space left on device" in ended.err and "Traceback" not in ended.err
    assert list((folder / "out").iterdir()) == []


def test_a_fault_of_our_own_is_called_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*anything: object, **more: object) -> None:
        raise AssertionError("not what we thought")

    monkeypatch.setattr("theory.verify.verify", broken)
    ended = run("verify", "magnitude")
    assert ended.status == 3
    assert "a fault of prunelaws itself" in ended.err and "not what we thought" in ended.err
