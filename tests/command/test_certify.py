"""`prunelaws prune --certificate` and `prunelaws certify`: from end to end, and how they end."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Run
from safetensors.numpy import save_file

from pruning.certificate import read_certificate

SAFE = "no cut could have been emptied"
MORE = """

class Least(torch.nn.Module):
    def forward(self, x):
        return torch.minimum(x, x.flip(1))

def least():
    return torch.nn.Sequential(torch.nn.Linear(4, 5), Least(), torch.nn.Linear(5, 2)), torch.ones(1, 4)

def transposed():
    return torch.nn.ConvTranspose2d(1, 2, 2), torch.ones(1, 1, 3, 3)

def silent():
    model, example = small()
    torch.nn.init.zeros_(model[2].weight)
    return model, example

def beyond():
    model, example = small()
    with torch.no_grad():
        model[0].weight.mul_(1e-38)
        model[2].weight.mul_(1e-38)
    return torch.nn.Sequential(*model, *[m for _ in range(9) for m in (torch.nn.Linear(3, 3), Faint())]), example

def above():
    model, example = beyond()
    for layer in model[3::2]:
        torch.nn.init.constant_(layer.weight, 1e38)
    for layer in model[4::2]:
        torch.nn.init.constant_(layer.weight, 1e38)
    return model, example

class Faint(torch.nn.Linear):
    def __init__(self):
        super().__init__(3, 3)
        torch.nn.init.constant_(self.weight, 1e-38)

def halved():
    model, example = small()
    torch.nn.utils.prune.random_unstructured(model[0], "weight", 0.5)
    return model, example

def bounded(network, state, probe):
    return {n: w.abs() for n, w in state.effective.items()}

bound = scored("bound", bounded, claims={Claim.UNION_BOUND})
"""


@pytest.fixture
def small(folder: Path) -> Path:
    """The user's file, with more models in it."""
    with (folder / "mine.py").open("a") as file:
        file.write(MORE)
    return folder


def pruned(run: Run, model: str, *more: str, file: str = "c") -> None:
    wanted = more or ("--schedule", "mass-safe", "--compression", "max")
    ended = run("prune", "synflow", "--model", model, *wanted, "--certificate", file)
    assert ended.status == 0, ended.err


def test_the_mlp_is_pruned_to_one_weight_per_layer_and_certified(run: Run, folder: Path) -> None:
    ended = run("prune", "synflow", "--model", "mlp", "--schedule", "mass-safe", "--compression", "max", "--seed", "3",
                "--classes", "7", "--certificate", "c", "-o", "masks", "--json")  # fmt: skip
    assert ended.status == 0, ended.err
    told = json.loads(ended.out)
    assert [layer["kept"] for layer in told["layers"]] == [1] * 5 and told["collapse"]["connected"]
    made = read_certificate(folder / "c")
    assert (made.origin.seed, made.origin.classes, made.origin.schedule) == (3, 7, "mass-safe")
    found = run("certify", "mlp", "c", "--json")  # of the certificate's own seed and classes
    assert found.status == 0, found.err
    data = json.loads(found.out)
    assert data["safe"] and data["failed_round"] is None and data["emptied_then"] == []
    assert [r["left"] for r in data["rounds"]] == [r["kept"] for r in told["rounds"]]
    assert all(r["pruned_mass"] < r["cut_mass"] and r["margin"] > 0 for r in data["rounds"])
    assert data["collapse"] == told["collapse"]
    for other in (("--seed", "4"), ("--classes", "8")):
        refused = run("certify", "mlp", "c", *other)
        assert refused.status == 2 and "is of another network" in refused.err and refused.err.count("refused") == 1
    assert "another network" in run("certify", "conv", "c").err
    shown = run("certify", "mlp", "c")
    assert shown.status == 0 and SAFE in shown.out and "live path: there is one" in shown.out


@pytest.mark.parametrize("schedule", ["mass-safe", "count-safe", "hybrid"])
def test_a_model_of_the_user_s_own_is_certified(schedule: str, run: Run, small: Path) -> None:
    for model in ("mine.py:small", "mine.py:halved"):
        pruned(run, model, "--schedule", schedule, "--compression", "max")
        ended = run("certify", model, "c")
        assert ended.status == 0 and SAFE in ended.out and "to 2;" in ended.out, ended.err
    assert "masked from the start" in run("certify", "mine.py:small", "c").err


def test_the_first_round_that_could_empty_a_cut_is_told_with_what_happened(run: Run, small: Path) -> None:
    pruned(run, "mine.py:small", "--schedule", "one-shot", "--compression", "36")
    ended = run("certify", "mine.py:small", "c", "--json")
    assert ended.status == 1
    data = json.loads(ended.out)
    assert not data["safe"] and data["failed_round"] == 1 and len(data["rounds"]) == 1
    assert data["rounds"][0]["pruned_mass"] >= data["rounds"][0]["cut_mass"]
    shown = run("certify", "mine.py:small", "c")
    assert shown.status == 1 and "round 1 could have emptied a cut" in shown.out and "Traceback" not in shown.err


def test_nothing_to_prune_is_certified_too(run: Run, small: Path) -> None:
    pruned(run, "mine.py:small", "--schedule", "mass-safe", "--compression", "1")
    ended = run("certify", "mine.py:small", "c")
    assert ended.status == 0 and "0 rounds" in ended.out


@pytest.mark.parametrize("kind", ["none", "folder", "empty", "cut short", "foreign", "altered", "too short"])
def test_what_is_no_certificate_ends_in_one_line_and_2(kind: str, run: Run, small: Path) -> None:
    pruned(run, "mine.py:small")
    whole = (small / "c").read_bytes()
    if kind == "foreign":
        save_file(dict(read_certificate(small / "c").held), small / "c")
    other = {"empty": b"", "cut short": whole[:-3], "altered": whole[:-1] + b"\x01", "too short": whole[:20]}
    if kind in other:
        (small / "c").write_bytes(other[kind])
    (small / "folder").mkdir()
    ended = run("certify", "mine.py:small", {"none": "nothing", "folder": "folder"}.get(kind, "c"))
    assert ended.status == 2 and not ended.out and "Traceback" not in ended.err
    assert ended.err.strip().splitlines()[-1].startswith("prunelaws: ")
    assert len([line for line in ended.err.splitlines() if line.startswith("prunelaws:")]) == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("synflow", "--model", "mine.py:least"), "minimum is not convex"),
        (("magnitude", "--model", "mine.py:small"), "which 'magnitude' does not claim"),
        (("mine.py:bound", "--model", "mine.py:small"), "'bound' has no objective"),
        (("synflow", "--model", "mine.py:small", "--certificate", "."), "no regular file"),
        (("synflow", "--model", "mine.py:small", "--certificate", "x", "-o", "./x"), "can't hold both"),
        (("synflow", "--model", "mine.py:transposed", "--certificate", "x"), "conv_transpose2d"),
        (("synflow", "--model", "mine.py:beyond", "--certificate", "x"), "underflow float64"),
        (("synflow", "--model", "mine.py:above", "--certificate", "x"), "R overflows float64"),
    ],
)
def test_what_can_not_be_certified_is_told_before_the_run(
    words: tuple[str, ...], told: str, run: Run, small: Path
) -> None:
    ended = run("prune", *words, "--schedule", "mass-safe", "--compression", "max")
    assert ended.status == 2 and told in ended.err and "Traceback" not in ended.err
    assert not (small / "x").exists()


def test_a_model_through_which_nothing_flows_is_told_as_that(run: Run, small: Path) -> None:
    words = "prune", "synflow", "--model", "mine.py:silent", "--schedule", "mass-safe", "--compression", "10"
    ended = run(*words, "--certificate", "c")
    assert ended.status == 1 and "7 weights were asked for, and nothing flows here" in ended.err
    shown = run("certify", "mine.py:silent", "c")
    assert shown.status == 3 and "nothing flowed through this network from the start" in shown.out


def test_a_full_disk_is_said_and_leaves_no_half_of_a_certificate(
    run: Run, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[:10])
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    words = "prune", "synflow", "--model", "mine.py:small", "--schedule", "mass-safe", "--compression", "max"
    ended = run(*words, "--certificate", "c")
    assert ended.status == 3 and "No space left on device" in ended.err and "Traceback" not in ended.err
    assert not [p.name for p in small.iterdir() if p.name.startswith("c")]


def test_interrupted_ends_with_130(run: Run, small: Path) -> None:
    pruned(run, "mlp", "--compression", "100")
    # what runs in the background of a shell is started deaf to interrupts
    listening = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{listening}; import prunelaws; prunelaws.main()"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", code, "certify", "mlp", "c"]
    started = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    assert started.stderr is not None
    assert b"tracing" in started.stderr.readline()
    started.send_signal(signal.SIGINT)
    out, err = started.communicate(timeout=60)
    assert started.returncode == 130 and b"interrupted" in err and b"Traceback" not in err and out == b""
