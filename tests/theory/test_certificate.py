"""Certificates: honest ones are found again, any that was altered is refused, and a failed hypothesis is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save
from torch import Tensor, nn

from pruning.certificate import Certificate, Origin, certificate, digest, read_certificate, write_certificate
from pruning.certified import count_safe, hybrid, mass_safe, rounding
from pruning.engine import prune
from pruning.fast.best import prune_at_best
from pruning.masks import Masks
from pruning.network import Network
from pruning.newer import newer
from pruning.problem import Problem, squared_error
from pruning.pruners.magnitude import magnitude
from pruning.pruners.synflow import synflow
from pruning.rounds import Trace
from pruning.schedule import Schedule, exponential
from pruning.trace import trace
from theory.certify import certify, why_no_certificate
from theory.oracles.certificate import Finding, Refused

ORIGIN = Origin("synflow", "a test", "a schedule", 0)


class Residual(nn.Module):
    """Two blocks: one round an identity, one whose shortcut is a convolution with a stride; batch norms."""

    def __init__(self) -> None:
        super().__init__()
        self.start, self.norm = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.first, self.second = nn.Conv2d(4, 4, 3, padding=1, groups=2), nn.Conv2d(4, 4, (1, 3), padding=(0, 1))
        self.wide, self.short = nn.Conv2d(4, 6, 3, 2, 2, dilation=2), nn.Conv2d(4, 6, 1, 2)
        self.last = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.start(x)).relu()
        x = (self.second(self.first(x).relu()) + x).relu()
        return self.last((self.wide(x) + self.short(x)).relu().mean((2, 3)))


def pooled() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(5, 4, 2),
        nn.LeakyReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Dropout(), nn.Linear(4, 3),
    )  # fmt: skip


def mlp(*widths: int) -> nn.Module:
    return nn.Sequential(*(layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())))


def network(model: nn.Module, *shape: int, seed: int = 0, whole: bool = False) -> Network:
    source = torch.Generator().manual_seed(seed)
    model = model.double().eval()
    for parameter in model.parameters():
        drawn = torch.randn(parameter.shape, generator=source, dtype=torch.float64)
        parameter.data = (drawn * 2).round() if whole else drawn
    return trace(model, torch.ones(1, *shape, dtype=torch.float64))


NETS: dict[str, Callable[[], Network]] = {
    "chain": lambda: network(mlp(3, 6, 5, 4, 2), 3),
    "pooled": lambda: network(pooled(), 2, 8, 8),
    "residual": lambda: network(Residual(), 2, 6, 6),
    "one weight": lambda: network(nn.Linear(1, 1), 1),
}
PLANS: dict[str, Callable[[Network], Schedule]] = {
    "mass-safe": mass_safe,
    "hybrid": lambda net: hybrid(net, 1, 4),
    "exponential": lambda net: exponential(net.initial.total, 1, 3),
    "one round of nothing": lambda net: exponential(net.initial.total, net.initial.total, 1),
}


def run(net: Network, plan: Schedule) -> Trace:
    return prune(Problem(net, None, squared_error, 0), synflow, plan)


def made(net: Network, plan: Schedule) -> Certificate:
    return certificate(net, run(net, plan), rounding(net), ORIGIN)


def found(net: Network, told: Certificate) -> Finding:
    return certify(net, told, lambda done, rounds: None)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("name", NETS)
def test_an_honest_certificate_is_found_again(name: str, plan: str, tmp_path: Path) -> None:
    net = NETS[name]()
    for way in (prune, prune_at_best):
        did = way(Problem(net, None, squared_error, 0), synflow, PLANS[plan](net))
        write_certificate(tmp_path / "c", certificate(net, did, rounding(net), ORIGIN))
        told = read_certificate(tmp_path / "c")
        assert told.origin == ORIGIN and told.rounds == did.rounds
        assert all(told.masks_at(r) == did.masks_at(r) for r in range(did.rounds + 1))
        seen = found(net, told)
        heavy = [r for r in range(1, did.rounds + 1) if did.mass[r - 1] >= did.cut[r - 1]]
        assert seen.failed == (heavy[0] if heavy else None)
        assert seen.failed is None or plan == "exponential"
        silent = [r for r in range(1, did.rounds) if did.cut[r] == 0]
        assert seen.died == (silent[0] if silent else did.rounds if plan == "exponential" and seen.died else None)
        assert np.allclose(seen.mass, did.mass.numpy(), 1e-12, 0) and np.allclose(seen.cut, did.cut.numpy(), 1e-12, 0)


def test_a_model_that_was_pruned_before_has_a_certificate(tmp_path: Path) -> None:
    net = NETS["chain"]()
    net = replace(net, initial=run(net, exponential(net.initial.total, 30, 5)).masks)
    told = made(net, mass_safe(net))
    assert (told.held["died"] == -1).sum() == net.initial.total - 30 and found(net, told).failed is None
    assert found(net, made(net, lambda r, kept, alive: None)).failed is None  # of no round at all


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=5), st.integers(0, 2**16), st.integers(1, 5), st.data())
def test_the_first_round_that_fails_is_that_of_whole_numbers(
    widths: list[int], seed: int, rounds: int, data: st.DataObject
) -> None:
    """In Python's own integers: what arrives at a unit, what leads on from it, and their product at a weight."""
    net = network(mlp(*widths), widths[0], seed=seed, whole=True)
    keep = data.draw(st.integers(1, net.initial.total))
    did = run(net, exponential(net.initial.total, keep, rounds))
    wanted = None
    for r in range(1, did.rounds + 1):
        before, after = did.masks_at(r - 1), did.masks_at(r)
        layers = [(w.abs() * before[n]).long().tolist() for n, w in net.weights.items()]
        falls = [(before[n] & ~after[n]).tolist() for n in net.weights]
        arrives = [[1] * widths[0]]
        for w in layers:
            arrives.append([sum(a * b for a, b in zip(row, arrives[-1], strict=True)) for row in w])
        leads = [[1] * widths[-1]]
        for w in reversed(layers):
            leads.insert(0, [sum(w[i][j] * leads[0][i] for i in range(len(w))) for j in range(len(w[0]))])
        mass = sum(
            w[i][j] * arrives[k][j] * leads[k + 1][i]
            for k, w in enumerate(layers) for i in range(len(w)) for j in range(len(w[0])) if falls[k][i][j]
        )  # fmt: skip
        if mass >= sum(arrives[-1]):
            wanted = r
            break
    assert found(net, certificate(net, did, rounding(net), ORIGIN)).failed == wanted


def test_certified_schedules_by_counts_are_found_safe() -> None:
    net = NETS["chain"]()
    assert found(net, made(net, count_safe(net))).failed is None


@pytest.fixture(scope="module")
def honest() -> tuple[Network, Certificate]:
    net = NETS["chain"]()
    return net, made(net, mass_safe(net))


def refused_by(net: Network, path: Path) -> str:
    """What refuses a file: reading it, or finding it again; empty where nothing does."""
    try:
        found(net, read_certificate(path))
    except ValueError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def test_no_byte_can_be_altered(honest: tuple[Network, Certificate], tmp_path: Path) -> None:
    net, told = honest
    write_certificate(tmp_path / "c", told)
    whole = (tmp_path / "c").read_bytes()
    assert not refused_by(net, tmp_path / "c")
    source = np.random.default_rng(0)
    places = {*source.integers(0, len(whole), 300).tolist(), *range(len(whole) - 40, len(whole))}
    for place in places:
        other = bytearray(whole)
        other[place] ^= 1 << int(source.integers(8))
        (tmp_path / "c").write_bytes(bytes(other))
        assert refused_by(net, tmp_path / "c") or same(told, tmp_path / "c"), place
    for size in [*range(0, len(whole), 97), len(whole) - 1]:
        (tmp_path / "c").write_bytes(whole[:size])
        assert "cut short" in refused_by(net, tmp_path / "c")


def same(told: Certificate, path: Path) -> bool:
    """Whether a file still says the very same: its own padding and the order of JSON say nothing."""
    other = read_certificate(path)
    return other.said == told.said and all(np.array_equal(other.held[n], a) for n, a in told.held.items())


def forged(told: Certificate, path: Path, said: dict[str, Any], held: dict[str, Any]) -> None:
    """A file with other entries and the digests that go with them."""
    arrays = {**told.held, **held}
    died, start, parts = arrays["died"], 0, []
    for name, shape in told.said["layers"]:
        size = int(np.prod(shape))
        parts.append((name, died[start : start + size].reshape(shape) == 0))
        start += size
    words = {k: v for k, v in {**told.said, "masks": digest(parts), **said}.items() if k != "contents"}
    text = json.dumps(words, sort_keys=True)
    bound = digest([(text, np.zeros(0)), *sorted(arrays.items())])
    path.write_bytes(save(arrays, {"certificate": json.dumps({**words, "contents": bound}, sort_keys=True)}))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.sampled_from(["mass", "cut", "margin", "left", "died"]), st.data())
def test_what_is_altered_with_its_digests_is_found_out_by_numbers(
    honest: tuple[Network, Certificate], tmp_path_factory: pytest.TempPathFactory, field: str, data: st.DataObject
) -> None:
    net, told = honest
    path = tmp_path_factory.mktemp("forged") / "c"
    forged(told, path, {}, {})
    assert not refused_by(net, path)
    array = told.held[field].copy()
    place = data.draw(st.integers(0, len(array) - 1))
    if field in ("left", "died"):
        array[place] = data.draw(st.integers(-2, told.rounds + 2).filter(lambda value: value != array[place]))
    else:
        size = array[place] or told.held["cut"][place]  # a round of weights that score nothing has a mass of 0
        array[place] += size * data.draw(st.sampled_from([1e-9, -1e-9, 0.5, -2, float("nan")]))
    forged(told, path, {}, {field: array})
    assert refused_by(net, path), (field, place)


def test_two_weights_that_change_their_rounds_are_found_out(
    honest: tuple[Network, Certificate], tmp_path: Path
) -> None:
    net, told = honest
    died = told.held["died"].copy()
    first, second = np.flatnonzero(died == 1)[0], np.flatnonzero(died == 2)[0]
    died[[first, second]] = died[[second, first]]
    forged(told, tmp_path / "c", {}, {"died": died})
    assert "in round 1 its mass" in refused_by(net, tmp_path / "c")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"format": 2}, "format 2"),
        ({"network": "0" * 64}, "another network"),
        ({"masks": "0" * 64}, "masks are not those"),
        ({"rounding": 1e-3}, "roundings of 0.001"),
        ({"rounding": "small"}, ""),
        ({"layers": []}, ""),
        ({"layers": [["0.weight", [71]]]}, ""),
        ({"layers": 3}, ""),
        ({"origin": {"pruner": "synflow"}}, ""),
        ({"origin": None}, ""),
    ],
)
def test_no_word_can_be_altered(
    honest: tuple[Network, Certificate], tmp_path: Path, said: dict[str, Any], why: str
) -> None:
    net, told = honest
    forged(told, tmp_path / "c", said, {})
    assert why in refused_by(net, tmp_path / "c") and refused_by(net, tmp_path / "c")


def test_another_weight_norm_or_name_is_another_network(honest: tuple[Network, Certificate], tmp_path: Path) -> None:
    net, told = honest
    weights = {n: w.clone() for n, w in net.weights.items()}
    weights["0.weight"][0, 0] = torch.nextafter(weights["0.weight"][0, 0], torch.tensor(9.0, dtype=torch.float64))
    write_certificate(tmp_path / "c", told)
    assert "another network" in refused_by(net.with_weights(weights), tmp_path / "c")
    assert "another network" in refused_by(NETS["pooled"](), tmp_path / "c")
    forged(told, tmp_path / "c", {"network": digest(sorted(_arrays(net.with_weights(weights))))}, {})
    assert not refused_by(net.with_weights(weights), tmp_path / "c")  # a change that no rounding bound can see
    weights["0.weight"][0, 0] *= 1.01
    forged(told, tmp_path / "c", {"network": digest(sorted(_arrays(net.with_weights(weights))))}, {})
    assert "is found" in refused_by(net.with_weights(weights), tmp_path / "c")


def _arrays(net: Network) -> list[tuple[str, Any]]:
    return [(n, t.double().numpy()) for n, t in {**net.neutral, **net.weights}.items()]


@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 100, b"{}", save({"a": np.zeros(3)}), save({"died": np.zeros(3)}, {"certificate": "{"})]
)
def test_what_is_no_certificate_is_told_as_that(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(content)
    with pytest.raises(ValueError, match="no certificate"):
        read_certificate(tmp_path / "c")
    with pytest.raises(FileNotFoundError):
        read_certificate(tmp_path / "none")


@pytest.mark.parametrize("other", ["f4", "2d", "short", "more", "less"])
def test_tensors_of_other_kinds_are_refused(other: str, honest: tuple[Network, Certificate], tmp_path: Path) -> None:
    _, told = honest
    write_certificate(tmp_path / "c", told)
    held = load((tmp_path / "c").read_bytes())
    changes: dict[str, Callable[[], Any]] = {
        "f4": lambda: held.update(mass=held["mass"].astype("f4")),
        "2d": lambda: held.update(mass=held["mass"][None]),
        "short": lambda: held.update(cut=held["cut"][1:]),
        "more": lambda: held.update(extra=held["cut"]),
        "less": lambda: held.pop("left"),
    }
    changes[other]()
    (tmp_path / "c").write_bytes(save(held, {"certificate": json.dumps(told.said)}))
    with pytest.raises(ValueError, match="does not hold the tensors"):
        read_certificate(tmp_path / "c")


class Lesser(nn.Module):
    def __init__(self, how: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.last, self.how = nn.Linear(3, 4), nn.Linear(4, 2), how

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.how(self.first(x).relu()))


@pytest.mark.parametrize(
    ("how", "name"),
    [
        (lambda x: torch.minimum(x, x.flip(1)), "minimum"),
        (lambda x: x.sort(1).values, "sort"),
        (lambda x: x - x.mean(1, keepdim=True), "sub"),
        (lambda x: torch.tanh(x), "tanh"),
    ],
)
def test_networks_that_the_theorem_does_not_speak_of_are_refused_by_name(how, name: str) -> None:
    net = network(Lesser(how), 3)
    assert name in why_no_certificate(net, synflow)
    plain = NETS["chain"]()
    with pytest.raises(ValueError, match=name):
        found(net, made(plain, mass_safe(plain)))


def test_a_network_that_the_checker_does_not_know_is_refused_by_name() -> None:
    net = network(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Unflatten(1, (2, 2)), nn.ConvTranspose1d(2, 2, 1)), 3)
    told = certificate(net, run(net, exponential(net.initial.total, 4, 3)), rounding(net), ORIGIN)
    assert not why_no_certificate(net, synflow)
    with pytest.raises(Refused, match=r"conv_transpose1d|unflatten"):
        found(net, told)


def test_runs_without_the_flow_of_synflow_have_none() -> None:
    net = NETS["chain"]()
    assert "has others" in why_no_certificate(net, magnitude)
    did = prune(Problem(net, None, squared_error, 0), magnitude, exponential(net.initial.total, 4, 3))
    with pytest.raises(ValueError, match="without an R"):
        certificate(net, did, 0.0, ORIGIN)
    with pytest.raises(ValueError, match="came back"):
        certificate(net, replace(did, revived=(1, 0, 0)), 0.0, ORIGIN)
    assert "has others" in why_no_certificate(net, newer()["path-magnitude"])


def test_an_r_beyond_float64_is_told() -> None:
    net = network(mlp(*[2] * 12), 2)
    big = net.with_weights({n: w * 2.0**100 for n, w in net.weights.items()})
    did = prune_at_best(Problem(big, None, squared_error, 0), synflow, exponential(48, 12, 2))
    with pytest.raises(ValueError, match=r"beyond float64"):
        certificate(big, did, 0.0, ORIGIN)


def test_of_equal_maxima_the_first_is_followed_as_torch_does() -> None:
    net = network(pooled(), 2, 8, 8)
    ones = net.with_weights({n: torch.ones_like(w) for n, w in net.weights.items()})
    assert found(ones, made(ones, mass_safe(ones))).failed is None


def test_a_disk_that_is_full_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = NETS["chain"]()
    told = made(net, mass_safe(net))
    write_certificate(tmp_path / "c", told)
    whole = (tmp_path / "c").read_bytes()

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        write_certificate(tmp_path / "c", told)
    assert (tmp_path / "c").read_bytes() == whole and [p.name for p in tmp_path.iterdir()] == ["c"]


def test_masks_at_a_round_out_of_range_is_everything_that_died() -> None:
    net = NETS["chain"]()
    told = made(net, mass_safe(net))
    assert told.masks_at(0) == Masks.full(net.weights) and told.masks_at(told.rounds).kept == 4
