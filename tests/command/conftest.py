"""The command, run in this process: what it prints and how it ends."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from typer.main import get_command

from reports.cli import main
from theory.networks import built_in

USERS_FILE = """
import os
from dataclasses import replace
import torch
from prunelaws import Claim, masking, scored
from pruning.masks import global_top_k
from pruning.pruners import built_in

def magnitude(network, state, probe):
    return {n: w.abs() for n, w in state.effective.items()}

def raises(network, state, probe):
    raise RuntimeError("boom")

def wrong_shapes(network, state, probe):
    return {n: w.abs().sum() for n, w in state.effective.items()}

def not_a_number(network, state, probe):
    return {n: w.abs() * float("nan") for n, w in state.effective.items()}

def raises_once_pruned(network, state, probe):
    if state.masks.density < 0.5:
        raise RuntimeError("late")
    return {n: w.abs() for n, w in state.effective.items()}

def nothing(network, state, probe):
    return None

def changes_weights(network, state, probe):
    for weight in network.weights.values():
        weight.mul_(2)
    return {n: w.abs() for n, w in state.effective.items()}

def in_double(network, state, probe):
    return {n: w.abs().double() for n, w in state.effective.items()}

def prints(network, state, probe):
    print("noise")
    return magnitude(network, state, probe)

def quits(network, state, probe):
    raise SystemExit(0)

def gives_up(network, state, probe):
    raise GeneratorExit

def leaves(network, state, probe):
    os._exit(0)

def one_less(scores, masks, keep):
    return global_top_k(scores, masks, max(keep - 1, 0))

meagre = replace(built_in()["synflow"], name="meagre", select=one_less, rounds=5)

def writes_masked_weights(network, state, probe):
    for name, weight in state.weights.items():
        weight.mul_(state.masks[name])
    return magnitude(network, state, probe)

def refills_masks(network, state, probe):
    for mask in state.masks.values():
        mask.fill_(True)
    return magnitude(network, state, probe)

def reads_data_once_pruned(network, state, probe):
    if state.masks.density < 1:
        probe.batch()
    return magnitude(network, state, probe)

def changes_default_dtype(network, state, probe):
    torch.set_default_dtype(torch.float64)
    return magnitude(network, state, probe)

def quitting_model():
    raise SystemExit(0)

def curved():
    layers = torch.nn.Linear(4, 3), torch.nn.Softmax(1), torch.nn.Linear(3, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2)
    return torch.nn.Sequential(*layers), torch.ones(1, 4)

class Turning(torch.nn.Linear):
    def forward(self, x):
        return super().forward(x) if x.mean() > 0 else -super().forward(x)

def turning():
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), Turning(3, 2)), torch.ones(1, 4)

KEEPS = {Claim.EXACT_BUDGET, Claim.NESTED_MASKS, Claim.POSITIVE}
faithful = replace(built_in()["synflow"], name="mine", claims=frozenset(KEEPS))
off_by_one = replace(faithful, select=one_less)

def sets_the_seed(network, state, probe):
    torch.manual_seed(0)
    return magnitude(network, state, probe)

def sparse(network, state, probe):
    return {n: w.abs().to_sparse() for n, w in state.effective.items()}

def first(network, state, keep, probe):
    order = {n: -torch.arange(w.numel()).view(w.shape).double() for n, w in state.weights.items()}
    return global_top_k(order, state.masks, keep)

masks_alone = masking("masks alone", first)
double_liar = scored("double liar", in_double, claims={Claim.NEURON_CONSERVED})
late_reader = scored("late reader", reads_data_once_pruned, claims={Claim.DATA_FREE})
untestable = scored("untestable", magnitude, claims={Claim.LEAVE_ONE_OUT})

class Squeezed(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = torch.nn.Linear(3, 4), torch.nn.Linear(4, 4), torch.nn.Linear(4, 2)
    def forward(self, x):
        h = self.a(x).relu()
        return self.c(h * self.b(h.mean(1)).sigmoid()[:, None])

def squeezed():
    torch.manual_seed(0)
    return Squeezed(), torch.randn(2, 3, 3)

class Compared(torch.nn.Linear):
    def forward(self, x):
        return torch.nn.functional.linear(x, self.weight / self.weight.norm(dim=1, keepdim=True))

def compared():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.ReLU(), Compared(5, 3)), torch.randn(3, 4)

class Largest(torch.nn.Module):
    def forward(self, x):
        return x.view(-1, 5, 2).max(-1).values

def largest():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 10), Largest(), torch.nn.Linear(5, 2)), torch.randn(3, 4)

class Waves(torch.nn.Linear):
    def forward(self, x):
        return torch.fft.fft(super().forward(x))

def waves():
    return Waves(4, 5), torch.ones(3, 4)

class Joined(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = torch.nn.Linear(4, 3), torch.nn.Linear(4, 3), torch.nn.Linear(6, 3)
    def forward(self, x):
        return self.c(torch.cat([self.a(x).relu(), self.b(x).relu()], 1))

def joined():
    return Joined(), torch.ones(1, 4)

liar = scored("liar", magnitude, claims={Claim.NEURON_CONSERVED})
honest = scored("honest", magnitude, claims={Claim.POSITIVE, Claim.SIGN_INVARIANT})
number = 3

def small():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)), torch.ones(1, 6)

def tokens():
    return torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 5)), torch.ones(1, 3, 4)

def indices():
    return torch.nn.Sequential(torch.nn.Embedding(7, 4), *tokens()[0]), torch.tensor([[0, 3, 6]])

def pictures():
    layers = torch.nn.Conv2d(2, 3, 3), torch.nn.ReLU(), torch.nn.Conv2d(3, 2, 1)
    return torch.nn.Sequential(*layers), torch.ones(1, 2, 5, 5)

def one_number():
    return torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 1)), torch.ones(1, 4)

def no_layers():
    return torch.nn.ReLU(), torch.ones(1, 6)

def broken_weights(value=float("nan")):
    model, example = small()
    with torch.no_grad():
        model[0].weight[0, 0] = value
    return model, example

def infinite_weights():
    return broken_weights(float("inf"))

def not_a_model():
    return 1, 2

def data():
    return torch.ones(2, 6), torch.tensor([0, 2]), torch.nn.functional.cross_entropy

def not_data():
    return torch.ones(2, 6)
"""


@dataclass(frozen=True)
class Ended:
    """How one call of the command ended."""

    status: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the user's file mine.py in it."""
    (tmp_path / "mine.py").write_text(USERS_FILE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


made_once = cache(get_command)  # read off the verbs' annotations, which takes 30 ms: the same for every call
FEW = ("dense, integer", "dense, real", "conv, real", "hostile (tanh, GELU)")


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Call `prunelaws` with these arguments; it knows few families here, since tests/laws tries them all."""
    few = {name: built_in()[name] for name in FEW}
    monkeypatch.setattr("theory.networks.built_in", lambda: few)
    monkeypatch.setattr("typer.main.get_command", made_once)

    def call(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["prunelaws", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        captured = capfd.readouterr()
        assert isinstance(end.value.code, int)
        return Ended(end.value.code, captured.out, captured.err)

    return call
