"""The collapse frontier: both edges against every mask in between, and what is left of it after a kill."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pruning.answers import ScoreError, call_scorer
from pruning.engine import prune
from pruning.masks import Masks, global_top_k
from pruning.network import Network
from pruning.newer import newer
from pruning.problem import Probe, Problem, squared_error
from pruning.pruner import Pruner, State, scored
from pruning.pruners import built_in
from pruning.rounds import Standing
from pruning.schedule import exponential, fixed_step, one_shot
from pruning.trace import trace
from theory.collapse import Paths
from theory.frontier.flight import Flight
from theory.frontier.found import Contender, Frontier
from theory.frontier.journal import Journal
from theory.frontier.onerun import by_one_run
from theory.frontier.ranks import best_ranks, by_ranks, least
from theory.frontier.runs import Books
from theory.frontier.search import APART, by_search


class Added(nn.Module):
    """A block with an identity, and one whose shortcut has weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner, self.outer = nn.Linear(3, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.wide, self.short, self.last = nn.Linear(6, 5), nn.Linear(6, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        x = x + self.outer(self.inner(x).relu()).relu()
        return self.last((self.wide(x) + self.short(x)).relu())


def chain() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 7), nn.ReLU(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 4))


def problem(model: nn.Module, seed: int) -> Problem:
    source = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=source)
    network = trace(model, torch.ones(1, 3)).to(dtype=torch.float64)
    batch = torch.randn(4, 3, generator=source, dtype=torch.float64)
    wanted = torch.randn(4, network.forward(network.weights, batch).shape[1], generator=source, dtype=torch.float64)
    return Problem(network, (batch, wanted), squared_error, seed)


def books(folder: Path, key: str = "it") -> Books:
    return Books(Journal(folder), key, lambda text: None)


def alive(network: Network, masks: dict[str, Tensor]) -> bool:
    """By ones in place of weights, in whole numbers."""
    present = {n: (masks[n] & (w != 0)).to(w) for n, w in network.weights.items()}
    return float(network.neutralised().forward(present, torch.ones_like(network.example)).sum()) > 0


@pytest.mark.parametrize("build", [chain, Added])
@pytest.mark.parametrize("name", sorted(built_in()))
@pytest.mark.parametrize("seed", [0, 1])
def test_by_ranks_both_edges_are_those_of_looking_at_every_number(build, name: str, seed: int, tmp_path: Path) -> None:
    own = problem(build(), seed)
    pruner: Pruner = built_in()[name]
    contender = Contender(own, pruner, lambda keep: one_shot(own.network.initial.total, keep))
    found = by_ranks(contender, books(tmp_path), Paths(own.network))
    kept: dict[str, Any] = {}
    assert pruner.score
    scores = call_scorer(pruner, own.network, State(own.network.weights, own.network.initial), Probe(own))
    for keep in range(1, contender.total + 1):
        masks = global_top_k(scores, own.network.initial, keep)
        kept.setdefault("whole", keep) if all(masks.kept_by_layer()) else None
        kept.setdefault("connected", keep) if alive(own.network, dict(masks)) else None
    assert found.exact
    assert (found.whole.held, found.whole.lost) == (kept["whole"], kept["whole"] - 1)
    assert (found.connected.held, found.connected.lost) == (kept["connected"], kept["connected"] - 1 or None)
    assert found.whole.what and set(found.whole.what) < set(contender.layers)


def test_ranks_are_counted_by_index_among_equals() -> None:
    scores = {"a": torch.tensor([1.0, 3.0]), "b": torch.tensor([3.0, 2.0]), "c": torch.tensor([2.0, 9.0])}
    masks = {
        "a": torch.ones(2, dtype=torch.bool),
        "b": torch.ones(2, dtype=torch.bool),
        "c": torch.tensor([True, False]),
    }
    assert best_ranks(scores, Masks(masks)) == {"a": 1, "b": 2, "c": 4}


def test_the_least_is_found_from_any_guess() -> None:
    for most in (1, 2, 3, 10, 1000):
        for answer in {1, 2, most // 2 + 1, most, most + 1}:
            for guess in (0, 1, most // 3, most, most + 5):
                if answer <= most + 1:
                    assert least(lambda k, answer=answer: k >= answer, most, guess) == answer  # type: ignore[misc]


def searched(own: Problem, name: str, rounds: int, folder: Path) -> Frontier:
    total = own.network.initial.total
    contender = Contender(own, built_in()[name], lambda keep: exponential(total, keep, rounds))
    return by_search(contender, books(folder), Paths(own.network))


@pytest.mark.parametrize("build", [chain, Added])
def test_by_search_each_look_is_what_a_run_of_its_own_ends_with(build, tmp_path: Path) -> None:
    own = problem(build(), 2)
    found = searched(own, "synflow", 2, tmp_path)
    total = own.network.initial.total
    for look in found.looks[1:]:
        run = prune(own, built_in()["synflow"], exponential(total, look.total, 2))
        assert run.masks.kept_by_layer() == list(look.kept)
        assert alive(own.network, dict(run.masks)) == look.connected
        shares = [None if not c else float(m / c) for m, c in zip(run.mass, run.cut, strict=True)]
        assert look.masses == pytest.approx(shares)
    for edge in (found.whole, found.connected):
        assert edge.held is not None
        assert edge.lost is None or edge.held <= max(APART * edge.lost, edge.lost + 1)


def test_by_one_run_each_look_is_a_round(tmp_path: Path) -> None:
    own = problem(Added(), 3)
    total = own.network.initial.total
    for name in ("synflow", "magnitude", "random"):
        contender = Contender(own, built_in()[name], lambda keep: fixed_step(total, keep, 8))
        paths = Paths(own.network)
        found = by_one_run(contender, books(tmp_path, name), paths, paths.shortest)
        run = prune(own, built_in()[name], fixed_step(total, paths.shortest, 8))
        assert [list(look.kept) for look in found.looks] == [
            run.masks_at(r).kept_by_layer() for r in range(run.rounds + 1)
        ]
        assert [look.connected for look in found.looks] == [
            alive(own.network, dict(run.masks_at(r))) for r in range(run.rounds + 1)
        ]


def as_data(found: Frontier) -> str:
    return json.dumps([found.whole.__dict__, found.connected.__dict__, [look.__dict__ for look in found.looks]])


def test_a_rerun_makes_no_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = problem(chain(), 4)
    first = searched(own, "synflow", 3, tmp_path)
    monkeypatch.setattr("theory.frontier.runs.prune_at_best", None)
    assert as_data(searched(own, "synflow", 3, tmp_path)) == as_data(first)


class Killed(BaseException):
    """What stops everything."""


def test_stopped_before_any_write_it_goes_on_to_the_same_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At any write of a whole search: what was on disk by then is all that a rerun has."""
    own = problem(chain(), 5)
    whole = as_data(searched(own, "synflow", 3, tmp_path / "whole"))
    real, left = Path.open, [0]

    def opened(self: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
        left[0] -= mode != "r"
        if left[0] < 0:
            raise Killed
        return real(self, mode, *rest, **more)

    monkeypatch.setattr(Path, "open", opened)
    for moment in range(0, 200, 5):
        folder = tmp_path / str(moment)
        left[0] = moment
        try:
            searched(own, "synflow", 3, folder)
            break
        except Killed:
            left[0] = 10**9
            assert as_data(searched(own, "synflow", 3, folder)) == whole
    else:
        raise AssertionError("200 writes were not enough")


def test_what_is_on_disk_may_be_cut_short_or_foreign(tmp_path: Path) -> None:
    own = problem(chain(), 6)
    whole = searched(own, "synflow", 3, tmp_path)
    lines = tmp_path / "found.jsonl"
    text = lines.read_text()
    for damage in (text[: len(text) // 2], text[:-3], text + '["half', "\x00" + text, "3\n" + text, ""):
        lines.write_text(damage)
        (tmp_path / "flight").write_bytes(b"no rounds")
        assert as_data(searched(own, "synflow", 3, tmp_path)) == as_data(whole)


@pytest.mark.parametrize("name", ["synflow", "force"])
def test_a_flight_cut_short_at_any_byte_stands_at_its_last_whole_round(name: str, tmp_path: Path) -> None:
    """Of weights that come back, too: FORCE revives."""
    own, stood = problem(chain(), 7), list[Standing]()
    flight, pruner = Flight(tmp_path / "flight"), {**built_in(), **newer()}[name]
    assert flight.begin("this", own.network) == (None, ())

    def note(standing: Standing) -> None:
        stood.append(standing)
        flight.add(standing, 0.5)

    run = prune(own, pruner, exponential(own.network.initial.total, 5, 4), on_standing=note)
    assert any(run.revived) == (name == "force")
    whole = (tmp_path / "flight").read_bytes()
    for size in range(0, len(whole) + 1, 3):
        (tmp_path / "flight").write_bytes(whole[:size])
        standing, shares = Flight(tmp_path / "flight").begin("this", own.network)
        if standing is None:
            assert shares == () and size < len(whole)
            continue
        wanted = stood[standing.round - 1]
        assert len(shares) == standing.round and all(torch.equal(standing.died[n], d) for n, d in wanted.died.items())
        assert (standing.kept, standing.mass, dict(standing.calls)) == (wanted.kept, wanted.mass, dict(wanted.calls))
        assert (tmp_path / "flight").stat().st_size <= size
    assert size > len(whole) - 3 and standing and standing.round >= 3
    (tmp_path / "flight").write_bytes(whole)
    assert Flight(tmp_path / "flight").begin("that", own.network) == (None, ())


def test_killed_at_20_moments_it_goes_on_to_the_same_table(tmp_path: Path) -> None:
    """By SIGKILL, in processes of their own: see frontier_killed.py."""
    script = Path(__file__).with_name("frontier_killed.py")
    ended = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert told["kills"] == 20 and told["equal"] and told["done again"] <= 1, told


def test_a_scorer_that_fails_is_told(tmp_path: Path) -> None:
    own = problem(chain(), 8)
    broken = scored("broken", lambda network, state, probe: {n: w * float("nan") for n, w in state.weights.items()})
    contender = Contender(own, broken, lambda keep: one_shot(own.network.initial.total, keep))
    with pytest.raises(ScoreError, match="NaN"):
        by_ranks(replace(contender), books(tmp_path), Paths(own.network))
