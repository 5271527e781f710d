"""The record of what was checked: plain data, so that everything after it is words and pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

SCHEMA_VERSION = 1


class Outcome(StrEnum):
    """What became of a law on one ground."""

    HELD = "held"
    BROKEN = "broken"
    VACUOUS = "vacuous"  # in scope, but every balance was trivial
    OUT_OF_SCOPE = "out of scope"


class Standing(StrEnum):
    """What an outcome means for the pruner."""

    KEPT = "held"
    UNDECLARED = "held, not claimed"
    BROKEN = "broken, not claimed"
    REFUTED = "claim refuted"
    VACUOUS = "vacuous"
    OUT_OF_SCOPE = "out of scope"


@dataclass(frozen=True)
class Witness:
    """A problem, written out, and the balance that it breaks. `spec` is theory.networks.spec.NetSpec as data.

    scores: what the pruner scores the weights there, by name, as nested lists; None where it gives none.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"ser_json_inf_nan": "strings"}

    law: str
    pruner: str
    spec: dict[str, Any]
    network: str
    shape: str
    minimised_from: str
    where: str
    left: float
    right: float
    relation: str
    scores: dict[str, Any] | None = None


@dataclass(frozen=True)
class Verdict:
    """One law, one pruner, one ground (a family of networks, or a model at a round).

    cases: problems checked; trivial: problems in which nothing flowed; balances: numbers compared;
    grades: balances by strength of evidence; margin: the largest residual over its bound, of those
    with a bound above 0; gain: fewest bits gained in an order test; looped: problems that vmap refused.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"ser_json_inf_nan": "strings"}

    law: str
    id: str
    pruner: str
    ground: str
    outcome: Outcome
    claim: str | None
    claimed: bool
    contract: bool
    cases: int = 0
    trivial: int = 0
    out_of_scope: int = 0
    balances: int = 0
    grades: dict[str, int] = field(default_factory=dict)
    margin: float | None = None
    gain: float | None = None
    looped: int = 0
    witness: Witness | None = None
    where: str | None = None
    reason: str | None = None
    seconds: float = 0.0

    @property
    def standing(self) -> Standing:
        """What the outcome means for the pruner's claims."""
        return standing(self.outcome, self.claimed or self.contract)

    @property
    def failed(self) -> bool:
        """Whether a claim was refuted or a contract broken."""
        return self.standing is Standing.REFUTED


def standing(outcome: Outcome, held_to_it: bool) -> Standing:
    """A broken law is not a refuted claim: it matters whether the pruner is held to it."""
    if outcome is Outcome.HELD:
        return Standing.KEPT if held_to_it else Standing.UNDECLARED
    if outcome is Outcome.BROKEN:
        return Standing.REFUTED if held_to_it else Standing.BROKEN
    return Standing.VACUOUS if outcome is Outcome.VACUOUS else Standing.OUT_OF_SCOPE


def overall(verdicts: list[Verdict]) -> Outcome:
    """One law and pruner over all grounds: broken anywhere is broken; else held anywhere is held."""
    outcomes = {v.outcome for v in verdicts}
    for outcome in (Outcome.BROKEN, Outcome.HELD, Outcome.VACUOUS):
        if outcome in outcomes:
            return outcome
    return Outcome.OUT_OF_SCOPE


def why_untested(verdicts: Sequence[Verdict]) -> str:
    """Why verdicts of which none held or broke say nothing."""
    return next(
        (v.reason for v in verdicts if v.reason), "nothing flowed" if verdicts else "no network is small enough"
    )


def untested(verdicts: Iterable[Verdict]) -> list[tuple[str, str, str]]:
    """(pruner, claim, why) of each claim that no law could test: nothing was refuted, nor was anything shown."""
    found: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.claimed and verdict.claim:
            found.setdefault((verdict.pruner, verdict.claim), []).append(verdict)
    silent = {pair: own for pair, own in found.items() if overall(own) not in (Outcome.HELD, Outcome.BROKEN)}
    return [(pruner, claim, why_untested(own)) for (pruner, claim), own in silent.items()]


@dataclass(frozen=True)
class RunRecord:
    """A pruning run of a model that was verified: targets and counts by round, mass and cut (NaN without one)."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"ser_json_inf_nan": "strings"}

    pruner: str
    model: str
    schedule: str
    layers: list[str]
    sizes: list[int]
    targets: list[int]
    kept: list[list[int]]
    mass: list[float]
    cut: list[float]
    digest: str


@dataclass(frozen=True)
class PrecisionRecord:
    """The same run of a model in float64 and in float32, round by round.

    kept, kept_float32: weights kept in each; exchanged: weights kept in float64 and not in float32; flat: rounds in
    which every alive score was 0 in float32 alone; drawn: whether random numbers were asked for, which need not be
    the same ones in both; ended: why the float32 run ended before the other, which has more rounds then, or "".
    """

    pruner: str
    model: str
    kept: list[int]
    kept_float32: list[int]
    exchanged: list[int]
    flat: list[int] = field(default_factory=list)
    drawn: bool = False
    ended: str = ""

    @property
    def differing(self) -> list[int]:
        """The rounds, from 1, after which the masks of the two are not the same."""
        pairs = zip(self.exchanged, self.kept, self.kept_float32, strict=False)  # kept has the rounds that did not come
        return [round_ for round_, (lost, kept, other) in enumerate(pairs, 1) if lost or kept != other]


@dataclass(frozen=True)
class MaskRecord:
    """What a pruner kept on each case of a ground, as digests: to see whether another version keeps the same."""

    pruner: str
    ground: str
    digests: list[str]


@dataclass(frozen=True)
class Run:
    """Everything one verification found, and where it came from.

    maps: what the theory says of each full-size model; masks: what was kept on random networks; precision: runs of
    models beside the same in float32, where these were asked for.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"ser_json_inf_nan": "strings"}

    provenance: dict[str, str]
    laws: list[dict[str, Any]]
    pruners: list[dict[str, Any]]
    verdicts: list[Verdict]
    runs: list[RunRecord] = field(default_factory=list)
    maps: list[dict[str, Any]] = field(default_factory=list)
    masks: list[MaskRecord] = field(default_factory=list)
    precision: list[PrecisionRecord] = field(default_factory=list)
    version: int = SCHEMA_VERSION

    @property
    def failures(self) -> list[Verdict]:
        """Refuted claims and broken contracts."""
        return [v for v in self.verdicts if v.failed]

    @property
    def checked(self) -> int:
        """Balances compared in all."""
        return sum(v.balances for v in self.verdicts)
