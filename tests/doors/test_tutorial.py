"""The tutorial's code, as a reader would type it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from prunelaws import check_pruner, main
from pruning.surroundings import as_they_were

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.S)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files: dict[str, str] = {}
    for code in PYTHON:
        named = re.match(r"# (\w+\.py)(, continued)?\n", code)
        name = named.group(1) if named else "script.py"
        files[name] = files.get(name, "") + code
    assert set(files) == {"mine.py", "test_mine.py", "script.py", "others.py", "train.py", "flow.py"}
    for name, code in files.items():
        (tmp_path / name).write_text(code.replace("examples=40", "examples=2, laws=['B12a', 'M1', 'M2', 'S2']"))
    return tmp_path


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """That folder as where a session of Python was started, in this process: to start another takes longer."""
    names = [path.stem for path in folder.glob("*.py")]
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    before = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    with as_they_were():  # a script sets torch's default type
        yield folder
    for name in names:
        sys.modules.pop(name, None)
    sys.modules.update(before)


def command(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The exit status of `prunelaws` with these words."""
    monkeypatch.setattr(sys, "argv", ["prunelaws", *words])
    with pytest.raises(SystemExit) as end:
        main()
    assert isinstance(end.value.code, int)
    return end.value.code


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_pruner_keeps_what_it_claims_by_every_door(
    here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    narrow = ("--prunelaws-laws=B12a,B13,M1,M2,S2", "--prunelaws-examples=2", "-p", "no:cacheprovider")
    tests = run(here, "-m", "pytest", "-q", *narrow, "--prunelaws-report=found", "test_mine.py")
    assert tests.returncode == 0, tests.stdout
    script = import_module("script")
    assert (script.refuted, script.silent, float(script.left), float(script.right)) == ([], [], 2.0, 2.0)
    options = ("--laws", "B12a,B13,M1,M2,S2", "--examples", "2")
    capfd.readouterr()
    status = command(monkeypatch, "verify", "mine.py:mine", *options, "-o", "again", "--baseline", "found")
    said = capfd.readouterr().err
    assert status == 0, said
    assert "No regression" in said


@pytest.mark.usefixtures("here")
def test_the_others_keep_what_they_claim() -> None:
    others, flow = import_module("others"), import_module("flow").flow
    named = {pruner.name: pruner for pruner in (others.smallest, others.in_order, others.theirs)}
    assert list(named) == ["zero small weights", "in order", "torch.nn.utils.prune.L1Unstructured, global"]
    for pruner in named.values():
        found = check_pruner(pruner, laws=["M0", "M1", "M2"], examples=2)
        assert sum(v.outcome == "held" for v in found) > 19
        assert not [v.where for v in found if v.failed]
    found = check_pruner(flow, laws=["A1", "A2", "S2", "S4", "S6"], examples=2)
    assert not [v.where for v in found if v.failed]
    assert {v.law for v in found if v.outcome == "held"} >= {"neuron_conservation", "layer_conservation", "data_free"}


FACTORY = """
import torch
from torch import nn

def factory():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.ones(2, 4)
"""


def test_the_masks_that_the_command_writes_are_put_on_the_model(folder: Path) -> None:
    (folder / "mylab.py").write_text(FACTORY)
    (line,) = re.findall(r"^\$ prunelaws (prune .*)$", TEXT, re.M)
    pruned = run(folder, "-m", "prunelaws", *line.split())
    assert pruned.returncode == 0, pruned.stderr
    trained = run(folder, "-c", "from train import masks, made_by; print(masks.kept, masks.total, made_by['pruner'])")
    assert trained.stdout == "12 48 mine\n", trained.stderr


def test_the_readmes_test_file_is_the_tutorials() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    code = next(code for code in PYTHON if code.startswith("# test_mine.py"))
    for line in filter(None, code.splitlines()[1:]):
        assert f"    {line}\n" in readme
