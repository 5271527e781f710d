"""A small run, made by hand, in which every outcome occurs."""

import pytest
from handmade import a_run, a_verdict

from theory.verdict import Outcome, Run, RunRecord


@pytest.fixture
def record() -> RunRecord:
    return RunRecord(
        pruner="good",
        model="vgg16_bn",
        schedule="exponential",
        layers=["0.weight", "3.weight"],
        sizes=[100, 300],
        targets=[200, 50, 4],
        kept=[[80, 120], [30, 20], [4, 0]],
        mass=[1.5, float("inf"), float("nan")],
        cut=[float("nan"), 2.5, float("-inf")],
        digest="ab" * 32,
    )


@pytest.fixture
def run(record: RunRecord) -> Run:
    """Of two pruners: `good` keeps what it claims, `bad` breaks a claim and a contract."""
    held, broken, vacuous, outside = Outcome.HELD, Outcome.BROKEN, Outcome.VACUOUS, Outcome.OUT_OF_SCOPE
    return a_run(
        a_verdict("neuron_conservation", "good", held, claimed=True, margin=0.25),
        a_verdict("neuron_conservation", "good", vacuous, ground="vgg16_bn, round 3 of 3", claimed=True),
        a_verdict("leave_one_out", "good", outside),
        a_verdict("purity", "good", held),
        a_verdict("positivity", "good", held, gain=float("inf")),
        a_verdict("neuron_conservation", "bad", broken, claimed=True, margin=float("nan")),
        a_verdict("leave_one_out", "bad", vacuous, claimed=True),
        a_verdict("purity", "bad", broken),
        a_verdict("positivity", "bad", broken),
        claims={"good": ["neuron conserved"], "bad": ["neuron conserved", "leave one out"]},
        runs=[record],
    )


@pytest.fixture
def clean() -> Run:
    """Nothing to complain of, and nothing left out."""
    return a_run(
        a_verdict("neuron_conservation", "good", Outcome.HELD, claimed=True),
        a_verdict("purity", "good", Outcome.HELD),
        claims={"good": ["neuron conserved"]},
    )
