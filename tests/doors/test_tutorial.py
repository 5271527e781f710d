"""The tutorial's code, as a reader would type it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_pruner_keeps_what_it_claims_by_every_door(folder: Path) -> None:
    narrow = ("--prunelaws-laws=B12a,B13,M1,M2,S2", "--prunelaws-examples=2", "-p", "no:cacheprovider")
    tests = run(folder, "-m", "pytest", "-q", *narrow, "--prunelaws-report=found", "test_mine.py")
    assert tests.returncode == 0, tests.stdout
    code = "from script import left, refuted, right, silent; print(refuted, silent, float(left), float(right))"
    script = run(folder, "-c", code)
    assert script.stdout == "[] [] 2.0 2.0\n", script.stderr
    options = ("--laws", "B12a,B13,M1,M2,S2", "--examples", "2")
    verified = run(folder, "-m", "prunelaws", "verify", "mine.py:mine", *options, "-o", "again", "--baseline", "found")
    assert verified.returncode == 0, verified.stderr
    assert "No regression" in verified.stderr


def test_the_others_keep_what_they_claim(folder: Path) -> None:
    code = """
from others import in_order, smallest, theirs
from flow import flow
from prunelaws import check_pruner
for pruner in (smallest, in_order, theirs):
    found = check_pruner(pruner, laws=["M0", "M1", "M2"], examples=2)
    print(pruner.name, sum(v.outcome == "held" for v in found) > 19, [v.where for v in found if v.failed])
found = check_pruner(flow, laws=["A1", "A2", "S2", "S4", "S6"], examples=2)
print({v.law for v in found if v.outcome == "held"}, [v.where for v in found if v.failed])
"""
    ended = run(folder, "-c", code)
    *others, flow = ended.stdout.splitlines()
    assert "[]" in flow and all(law in flow for law in ("neuron_conservation", "layer_conservation", "data_free"))
    assert others == [
        "zero small weights True []",
        "in order True []",
        "torch.nn.utils.prune.L1Unstructured, global True []",
    ], ended.stderr


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
