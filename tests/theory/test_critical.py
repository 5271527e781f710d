"""Theorem 3 as it holds: on random chains, by random schedules, and on the networks that refute what is often said."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from subjects import chain, literal

from pruning.engine import prune
from pruning.pruners.synflow import synflow
from pruning.schedule import exponential
from theory.case import Case
from theory.impostors.scores import over_layer
from theory.judge import judge, out_of_scope
from theory.laws import catalogue
from theory.laws.critical import most_rounds, safe_rounds
from theory.networks import collapsing
from theory.networks.batch import Batch
from theory.networks.spec import NetSpec
from theory.numerics import gamma

CRITICAL = [catalogue()[name] for name in ("mass_safe_compression", "safe_number_of_rounds", "live_path_left")]
SAID = [
    (law, said)
    for law in catalogue().values()
    if law.id in ("M3", "M10", "M11", "M12")
    for said in law.corrects
    if said.breaks_on[1] is not collapsing.long_chain  # which takes a second
]


@st.composite
def chains(draw: st.DrawFn) -> Batch:
    """2 to 20 layers of 1 to 6 units, real weights or 0, 1 and -1, so that there are ties and dead units."""
    widths = draw(st.lists(st.integers(1, 6), min_size=3, max_size=21))
    shape, source = chain(*widths), torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    numbers = {n: torch.randn(s, generator=source).double() for n, s in shape.parameters().items()}
    if draw(st.booleans()):
        numbers = {n: w.round().clamp(-1, 1) for n, w in numbers.items()}
    return literal(shape, numbers, torch.ones(1, widths[0]), torch.ones(1, widths[-1]))


@settings(max_examples=8, deadline=None, derandomize=True)
@given(chains())
def test_the_laws_hold_on_chains_of_any_depth(batch: Batch) -> None:
    case = Case(batch, synflow)
    for law in CRITICAL:
        assert out_of_scope(law, case) is None
        judgement = judge(law, case)
        assert judgement is None or not judgement.failures


@settings(max_examples=8, deadline=None, derandomize=True)
@given(chains(), st.integers(0, 30), st.integers(0, 100))
def test_more_rounds_and_fewer_weights_to_prune_are_as_safe(batch: Batch, rounds: int, more: int) -> None:
    case, layers = Case(batch, synflow), len(batch.weights)
    keep = min(case.total, layers + more)
    plan = exponential(case.total, keep, safe_rounds(case.total, layers) + rounds)
    run = prune(batch.problem(0), synflow, plan)
    assert bool((run.mass < run.cut)[run.cut > 0].all())


@pytest.mark.parametrize(("total", "layers", "rounds"), [(14_761_664, 14, 232), (4500, 5, 43), (3, 2, 1), (4, 2, 2)])
def test_the_most_rounds_that_the_mass_may_take(total: int, layers: int, rounds: int) -> None:
    """laws.md 7: floor(L ln(N - L)) + 1, in which of e superfluous weights e/L go at least."""
    assert most_rounds(total, layers) == rounds
    left, taken = total, 0
    while left > layers:
        left, taken = left - max(1, -(-left // layers) - 1), taken + 1
    assert taken <= rounds


@pytest.mark.parametrize(("law", "said"), SAID, ids=[said.statement[:40] for _, said in SAID])
def test_a_law_holds_where_its_folklore_fails_or_does_not_speak_of_it(law, said) -> None:
    case = Case(said.breaks_on[1].batch(), synflow)
    judgement = judge(law, case) if out_of_scope(law, case) is None else None
    assert judgement is None or not judgement.failures


def test_the_axiom_is_met_by_magnitudes_over_their_layers_total() -> None:
    """Positive, and as much in every layer: what is refuted is what follows from that."""
    scores = Case(collapsing.crossed_net.batch(), over_layer).scores.values()
    totals = torch.stack([s.sum() for s in scores])
    assert all(bool((s > 0).all()) for s in scores)
    assert bool((totals - 1).abs().le(gamma(8, torch.float64)).all())


def test_a_hundred_rounds_are_half_of_what_that_chain_takes() -> None:
    total, layers = 160, 80
    assert safe_rounds(total, layers) == math.ceil(2 * layers * math.log(2)) == 111
    assert str(collapsing.long_chain.shape) == "-".join(["2", *["1", "2"] * 40])
    assert collapsing.long_chain.brief.endswith(", ... 80 layers in all)")
    assert len(collapsing.long_chain.brief) < 200


@pytest.mark.parametrize("spec", [s for s in vars(collapsing).values() if isinstance(s, NetSpec)], ids=str)
def test_a_network_that_can_be_read_is_shown_whole(spec: NetSpec) -> None:
    assert spec.brief == str(spec) or len(spec.shape.layers) > 8
