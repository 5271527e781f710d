"""Certificates under attack: what a checker finds that takes no bound, no mask and no type from the file itself."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save
from torch import Tensor, nn
from torch.nn import functional

from pruning.certificate import Certificate, Origin, certificate, digest, read_certificate, write_certificate
from pruning.certified import mass_safe, rounding
from pruning.engine import prune
from pruning.fast.best import prune_at_best
from pruning.network import Network
from pruning.problem import Problem, squared_error
from pruning.pruners.synflow import synflow
from pruning.rounds import Trace
from pruning.schedule import Schedule, exponential
from pruning.trace import trace
from theory.certify import certify, why_unknown
from theory.networks.conv import conv_integer
from theory.networks.dense import dense_integer
from theory.networks.family import Family, examples
from theory.networks.residual import residual_integer
from theory.networks.shape import parameter_count
from theory.networks.spec import NetSpec
from theory.oracles.certificate import Finding, Refused
from theory.oracles.paths import path_sums

ORIGIN = Origin("synflow", "a test", "a schedule", 0)


class Of(nn.Module):
    """A function of modules by name."""

    def __init__(self, how: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        self.how, self.parts = how, nn.ModuleDict(parts)

    def forward(self, x: Tensor) -> Any:
        return self.how(x, **self.parts)


def network(model: nn.Module, *shape: int) -> Network:
    source = torch.Generator().manual_seed(0)
    model = model.double().eval()
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=source, dtype=torch.float64)
    return trace(model, torch.ones(1, *shape, dtype=torch.float64))


def chain() -> Network:
    return network(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), 3)


def run(net: Network, plan: Schedule, way: Any = prune) -> Trace:
    found: Trace = way(Problem(net, None, squared_error, 0), synflow, plan)
    return found


def made(net: Network, plan: Schedule, way: Any = prune) -> Certificate:
    return certificate(net, run(net, plan, way), rounding(net), ORIGIN)


def found(net: Network, told: Certificate) -> Finding:
    return certify(net, told, lambda done, rounds: None)


def forged(told: Certificate, path: Path, said: dict[str, Any] | None = None, **held: Any) -> None:
    """A file with other entries, and the digests that go with them."""
    arrays, parts, start = {**told.held, **held}, [], 0
    for name, shape in told.said["layers"]:
        parts.append((name, arrays["died"][start : start + math.prod(shape)].reshape(shape) == 0))
        start += math.prod(shape)
    words = {k: v for k, v in {**told.said, "masks": digest(parts), **(said or {})}.items() if k != "contents"}
    bound = digest([(json.dumps(words, sort_keys=True), np.zeros(0)), *sorted(arrays.items())])
    path.write_bytes(save(arrays, {"certificate": json.dumps({**words, "contents": bound}, sort_keys=True)}))


def masked(spec: NetSpec, masks: Any) -> NetSpec:
    """With 0 where weights are pruned."""
    there = {n: (np.array(spec.values[n]) * mask.numpy()).tolist() for n, mask in masks.items()}
    return replace(spec, values={**spec.values, **there})


def fallen(spec: NetSpec, did: Trace, round_: int) -> tuple[Fraction, Fraction]:
    """The scores that a round pruned, and R before it: sums over paths, in exact fractions."""
    before, after = did.masks_at(round_ - 1), did.masks_at(round_)
    cut, scores = path_sums(masked(spec, before))
    falls = {n: before[n] & ~after[n] for n in before}
    return sum((s for n, of in scores.items() for place, s in of.items() if falls[n][place]), Fraction()), cut


@pytest.mark.parametrize("family", [dense_integer, conv_integer, residual_integer], ids=lambda f: f.name)
def test_the_first_round_that_fails_is_that_of_sums_over_paths(family: Family) -> None:
    seen, safe = 0, 0
    for shape, seed in examples(family, 60, 5):
        spec = NetSpec.of(family.batch(shape, seed, 1), 0)
        net = spec.batch().problem(0).network
        if parameter_count(shape) > 120 or why_unknown(net):
            continue
        total = net.initial.total
        for plan in (exponential(total, max(1, total // 6), 3), mass_safe(net)):
            did = run(net, plan)
            try:
                exact = [fallen(spec, did, r) for r in range(1, did.rounds + 1)]
            except ValueError:  # R is no sum over paths of this network
                break
            told = found(net, certificate(net, did, rounding(net), ORIGIN))
            assert told.failed == next((r for r, (mass, cut) in enumerate(exact, 1) if mass >= cut), None)
            for mine, other in zip(
                (*told.mass, *told.cut), (*(m for m, _ in exact), *(c for _, c in exact)), strict=True
            ):
                assert abs(Fraction(float(mine)) - other) <= other * Fraction(rounding(net))
            safe += told.failed is None
            seen += 1
        if seen >= 16:
            break
    assert seen >= 8 and 0 < safe < seen


@settings(max_examples=8, deadline=None, derandomize=True)
@given(st.integers(0, 2**16), st.integers(0, 2), st.sampled_from(["normal", "one size", "few sizes"]))
def test_equal_maxima_are_never_told_apart_wrongly(seed: int, kind: int, sizes: str) -> None:
    """Weights of one size make ties everywhere, which torch, the fast path and numpy sum up in different orders."""
    net, source = POOLED[kind], torch.Generator().manual_seed(seed)
    drawn = {n: torch.randn(w.shape, generator=source, dtype=w.dtype) for n, w in net.weights.items()}
    made_of: dict[str, Callable[[Tensor], Tensor]] = {
        "normal": lambda w: w,
        "one size": lambda w: w.sign() / 10,
        "few sizes": lambda w: w.round() * 0.3,
    }
    net = net.with_weights({n: made_of[sizes](w) for n, w in drawn.items()})
    for way in (prune, prune_at_best):
        for plan in (mass_safe(net), exponential(net.initial.total, 4, 5)):
            told = made(net, plan, way)
            first = next((r for r, margin in enumerate(told.held["margin"], 1) if margin <= 0), None)
            assert found(net, told).failed == first


POOLED = [
    network(
        nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(*pool), nn.Conv2d(4, 4, 2, padding=1),
            nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        ),
        2, 6, 6,
    )
    for pool in ((2, 2), (3, 1, 1), (3, 2, 1))
]  # fmt: skip


def test_no_bit_of_a_file_can_be_altered(tmp_path: Path) -> None:
    told = made(chain(), mass_safe(chain()))
    write_certificate(tmp_path / "c", told)
    whole = (tmp_path / "c").read_bytes()
    for place in range(8 * len(whole)):
        other = bytearray(whole)
        other[place // 8] ^= 1 << place % 8
        (tmp_path / "c").write_bytes(bytes(other))
        with pytest.raises(ValueError, match=r"certificate|altered|format"):
            read_certificate(tmp_path / "c")
    for other in (whole + b"\0", b"\0" + whole, whole[:-1], whole.replace(b": ", b":", 1)):
        (tmp_path / "c").write_bytes(other)
        with pytest.raises(ValueError, match=r"certificate|altered"):
            read_certificate(tmp_path / "c")


WRONG: list[dict[str, Any]] = [
    {"format": True}, {"format": "1"}, {"format": None}, {"rounding": 0}, {"rounding": "0"}, {"rounding": None},
    {"rounding": math.nan}, {"rounding": math.inf}, {"rounding": -1.0}, {"rounding": 0.5}, {"rounding": 0.0},
    {"network": 3}, {"network": ""}, {"masks": None}, {"masks": []}, {"layers": {}}, {"layers": [["0.weight"]]},
    {"layers": [["0.weight", [4.0, 3]], ["2.weight", [2, 4]]]},
    {"layers": [["0.weight", [-4, -3]], ["2.weight", [2, 4]]]},
    {"layers": [["2.weight", [2, 4]], ["0.weight", [4, 3]]]}, {"layers": [["0.weight", [3, 4]], ["2.weight", [2, 4]]]},
    {"layers": [["0.weight", [20]]]}, {"layers": [["nobody", [4, 3]], ["2.weight", [2, 4]]]},
    {"layers": [["0.weight", [4, 3]], ["0.weight", [4, 3]]]}, {"layers": [[0, [4, 3]], ["2.weight", [2, 4]]]},
    {"layers": [["0.weight", ["a"]], ["2.weight", [2, 4]]]}, {"layers": "0.weight"}, {"more": 1},
    {"origin": []}, {"origin": "synflow"}, {"origin": {}},
    *({"origin": {"pruner": "p", "model": "m", "schedule": "s", "seed": 0, "classes": None, **other}} for other in (
        {"seed": -1}, {"seed": 2**32}, {"seed": "0"}, {"seed": 0.5}, {"seed": None}, {"seed": True}, {"classes": 0},
        {"classes": "ten"}, {"classes": 1e3}, {"pruner": 3}, {"model": None}, {"schedule": ["s"]}, {"more": 1},
        {"pruner": "\x1b[2J"}, {"pruner": "\ud800"}, {"model": "two\nlines"},
    )),
]  # fmt: skip


@pytest.mark.parametrize("said", WRONG, ids=str)
def test_words_of_wrong_kinds_are_refused_in_a_line(said: dict[str, Any], tmp_path: Path) -> None:
    forged(HONEST, tmp_path / "c", said)
    with pytest.raises(ValueError) as refused:
        found(CHAIN, read_certificate(tmp_path / "c"))
    assert "\n" not in str(refused.value)


CHAIN = chain()
HONEST = made(CHAIN, mass_safe(CHAIN))


@pytest.mark.parametrize("name", ["format", "rounding", "layers", "network", "masks", "origin", "contents"])
def test_no_word_can_be_missing(name: str, tmp_path: Path) -> None:
    said = {k: v for k, v in HONEST.said.items() if k != name}
    (tmp_path / "c").write_bytes(save(HONEST.held, {"certificate": json.dumps(said, sort_keys=True)}))
    with pytest.raises(ValueError, match="certificate"):
        read_certificate(tmp_path / "c")


@pytest.mark.parametrize("text", ["", "[]", "3", "null", "[" * 100_000, '{"format": 1}', "{}"])
def test_headers_that_are_no_certificate_are_told_as_that(text: str, tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(save(HONEST.held, {"certificate": text}))
    with pytest.raises(ValueError, match="certificate"):
        read_certificate(tmp_path / "c")
    with pytest.raises(FileNotFoundError):
        read_certificate(tmp_path)


def test_what_else_the_header_holds_is_an_alteration(tmp_path: Path) -> None:
    forged(HONEST, tmp_path / "c")
    read_certificate(tmp_path / "c")
    words = {"certificate": json.dumps(HONEST.said, sort_keys=True)}
    for other in ({**words, "note": "approved"}, {"certificate": json.dumps(HONEST.said, sort_keys=True, indent=1)}):
        (tmp_path / "c").write_bytes(save(HONEST.held, other))
        with pytest.raises(ValueError, match="altered"):
            read_certificate(tmp_path / "c")


NUMBERS = st.one_of(
    st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, 1e308, -1e308, 1.0]), st.floats(0, 10)
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from(["mass", "cut", "margin", "left", "died"]), st.integers(0, 99), st.data())
def test_no_number_can_be_altered_even_with_its_digests(
    tmp_path_factory: pytest.TempPathFactory, field: str, place: int, data: st.DataObject
) -> None:
    path, array = tmp_path_factory.getbasetemp() / "forged", HONEST.held[field].copy()
    place %= len(array)
    ends = np.iinfo(array.dtype) if array.dtype.kind == "i" else None
    wrong = st.one_of(st.integers(-3, 9), st.integers(int(ends.min), int(ends.max))) if ends else NUMBERS
    was = array[place].item()
    array[place] = data.draw(wrong)
    if array[place].item() == was or (ends is None and abs(array[place] - was) <= 1e-12 * abs(was)):
        return
    forged(HONEST, path, **{field: array})
    with pytest.raises(ValueError):
        found(CHAIN, read_certificate(path))


def test_the_bound_for_roundings_is_not_the_forgers_to_choose(tmp_path: Path) -> None:
    """With a bound of 1 any mass would do; the margin is made to go with it."""
    mass, wide = HONEST.held["mass"] / 2, 1.0
    forged(HONEST, tmp_path / "c", {"rounding": wide}, mass=mass, margin=1 - mass / HONEST.held["cut"] - wide)
    with pytest.raises(Refused, match=r"allows roundings of 1.0 of R"):
        found(CHAIN, read_certificate(tmp_path / "c"))


def test_what_fell_can_not_be_passed_off_as_masked_from_the_start(tmp_path: Path) -> None:
    """A round that pruned the whole cut would vanish: the run that is told is an honest one of another model."""
    died = np.where(HONEST.held["died"] == 1, -1, HONEST.held["died"]).astype("i2")
    died[died > 0] -= 1
    rest = {n: a[1:] for n, a in HONEST.held.items() if n != "died"}
    forged(HONEST, tmp_path / "c", died=died, **rest)
    told = read_certificate(tmp_path / "c")
    with pytest.raises(Refused, match="masked from the start"):
        found(CHAIN, told)
    assert found(replace(CHAIN, initial=told.masks_at(0)), told).failed is None


def test_a_count_that_wraps_around_is_another_count(tmp_path: Path) -> None:
    left = HONEST.held["left"].copy()
    left[0] -= 2**63 - 1
    left[0] -= 1
    forged(HONEST, tmp_path / "c", left=left)
    with pytest.raises(Refused, match="its left is"):
        found(CHAIN, read_certificate(tmp_path / "c"))


@pytest.mark.parametrize("dtype", ["f2", "f4", "i4", "i8", "u2", "u8", "bool"])
@pytest.mark.parametrize("field", ["died", "mass", "left"])
def test_tensors_of_other_types_are_refused(dtype: str, field: str, tmp_path: Path) -> None:
    if np.dtype(dtype) == HONEST.held[field].dtype:
        return
    forged(HONEST, tmp_path / "c", **{field: HONEST.held[field].astype(dtype)})
    with pytest.raises(ValueError, match="does not hold the tensors"):
        read_certificate(tmp_path / "c")


def test_a_weight_on_no_live_path_may_fall_in_any_round_that_it_is_there() -> None:
    """What no mass tells apart is a certificate of another run, and an honest one."""
    weights = {n: w.clone() for n, w in CHAIN.weights.items()}
    weights["0.weight"][0] = 0
    net = CHAIN.with_weights(weights)
    did = run(net, exponential(20, 4, 4))
    other = {n: d.clone() for n, d in did.died.items()}
    other["2.weight"][:, 0] = 2  # out of a unit that nothing reaches
    kept = torch.stack([torch.tensor([int(((d == 0) | (d > r)).sum()) for d in other.values()]) for r in range(1, 5)])
    ends = [
        found(net, certificate(net, one, rounding(net), ORIGIN)) for one in (did, replace(did, died=other, kept=kept))
    ]
    assert ends[0].failed == ends[1].failed and ends[0].after == ends[1].after


class Gain(nn.Module):
    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(shape))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain.abs()


def strideless(x: Tensor, a: nn.Module, b: nn.Module) -> Any:
    return b(functional.max_pool2d(a(x), 3, padding=1).flatten(1))


def five_axes(x: Tensor, a: nn.Module, b: nn.Module) -> Any:
    return b(a(x).view(-1, 2, 3, 2, 3).mean((-1, -2)).flatten(1))


KNOWN: dict[str, Callable[[], Network]] = {
    "the output is not the last operator": lambda: network(
        Of(lambda x, a, b: (a(x), b(a(x).relu())), a=nn.Linear(3, 4), b=nn.Linear(4, 2)), 3
    ),
    "a pool without a stride": lambda: network(
        Of(strideless, a=nn.Conv2d(1, 2, 3), b=nn.Linear(8, 2)), 1, 6, 6
    ),
    "a mean of tokens": lambda: network(
        Of(lambda x, a, b: b(a(x).relu().mean(1)), a=nn.Linear(3, 4), b=nn.Linear(4, 2)), 5, 3
    ),
    "a mean of the last of five axes": lambda: network(
        Of(five_axes, a=nn.Linear(3, 36), b=nn.Linear(6, 2)), 3
    ),
    "a number as a factor": lambda: network(
        Of(lambda x, a, b: b(0.5 * a(x)) + x, a=nn.Linear(3, 4), b=nn.Linear(4, 3)), 3
    ),
    "side by side": lambda: network(
        Of(lambda x, a, b: b(torch.cat([a(x), x], -1)), a=nn.Linear(3, 4), b=nn.Linear(7, 3)), 3
    ),
    "a gain": lambda: network(nn.Sequential(nn.Linear(3, 4), Gain(1, 4), nn.Linear(4, 2)), 3),
    "used twice": lambda: network(Of(lambda x, a, b: b(a(a(x))), a=nn.Linear(3, 3), b=nn.Linear(3, 2)), 3),
    "many outputs": lambda: network(nn.Sequential(nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Conv2d(2, 3, 2)), 1, 4, 4),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_honest_certificates_are_accepted_of(name: str) -> None:
    net = KNOWN[name]()
    assert not why_unknown(net)
    for way in (prune, prune_at_best):
        assert found(net, made(net, mass_safe(net), way)).failed is None


@pytest.mark.parametrize(
    ("model", "shape", "why"),
    [
        (nn.Sequential(nn.Conv2d(1, 1, 2, padding="same")), (1, 3, 3), "conv2d with .*same.* is not known here"),
        (nn.Sequential(nn.Conv2d(1, 1, 1), nn.MaxPool2d(2, ceil_mode=True)), (1, 3, 3), "max_pool2d .* not known here"),
        (nn.Conv2d(1, 1, 2, padding=1, padding_mode="circular"), (1, 3, 3), "pad with .* not known here"),
        (nn.ConvTranspose2d(1, 1, 2), (1, 3, 3), "conv_transpose2d"),
        (nn.Sequential(nn.Linear(3, 2), nn.PReLU()), (3,), "prelu"),
    ],
)  # fmt: skip
def test_operators_that_the_checker_does_not_know_are_named_before_a_run(
    model: nn.Module, shape: tuple[int, ...], why: str
) -> None:
    net = network(model, *shape)
    with pytest.raises(Refused, match=why):
        raise Refused(why_unknown(net))


def test_underflow_is_no_verdict() -> None:
    """Of 20 layers of 1e-20 nothing flows in float64; the fast path, which scales, prunes them none the less."""
    deep = network(nn.Sequential(*[layer for _ in range(20) for layer in (nn.Linear(2, 2), nn.ReLU())]), 2)
    for size in (1e-20, 2e-16):
        tiny = deep.with_weights({n: w * size for n, w in deep.weights.items()})
        for way in (prune, prune_at_best):
            did = run(tiny, exponential(80, 20, 3), way)
            with pytest.raises(ValueError, match=r"beyond float64|underflow"):
                found(tiny, certificate(tiny, did, rounding(tiny), ORIGIN))
    none = certificate(tiny, run(tiny, lambda r, kept, alive: None), rounding(tiny), ORIGIN)
    with pytest.raises(Refused, match="underflow"):
        found(tiny, none)


def test_overflow_is_told_before_a_run_and_refused_after_it() -> None:
    deep = network(nn.Sequential(*[layer for _ in range(12) for layer in (nn.Linear(2, 2), nn.ReLU())]), 2)
    large = deep.with_weights({n: w * 2.0**100 for n, w in deep.weights.items()})
    assert "R overflows" in why_unknown(large)
    did = run(deep, exponential(48, 12, 3))
    told = certificate(large, did, rounding(large), ORIGIN)
    with pytest.raises(Refused, match="R overflows float64 in round 1"):
        found(large, told)


def test_masses_of_float32_are_held_to_its_roundings() -> None:
    net = replace(CHAIN.to(dtype=torch.float32))
    assert rounding(net) == pytest.approx(rounding(CHAIN) * 2**29, 1e-4)
    for way in (prune, prune_at_best):
        assert found(net, made(net, mass_safe(net), way)).failed is None
    with pytest.raises(ValueError, match="bfloat16 have no bound"):
        mass_safe(network(nn.Linear(300, 300), 300).to(dtype=torch.bfloat16))


def test_a_dead_model_keeps_nothing_and_certifies_nothing() -> None:
    dead = CHAIN.with_weights({n: w * 0 for n, w in CHAIN.weights.items()})
    told = found(dead, made(dead, exponential(20, 4, 3)))
    assert told.failed == 1 and told.after == 0
    assert found(dead, made(dead, mass_safe(dead))).after == 0  # of no round
