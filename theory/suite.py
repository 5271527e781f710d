"""The suite: every law about a pruner, for a call, for pytest and for the command alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from pruning.errors import UsageError
from pruning.pruner import Claim, Pruner
from pruning.references import as_pruner, load_claim, load_device
from theory.law import Law, kinds_of
from theory.laws import laws_named
from theory.networks import built_in as families
from theory.search import Budget, Ground, KnownGround, family_ground, search
from theory.subjects import Subjected
from theory.telling import four_lines, network_of
from theory.verdict import Outcome, Standing, Verdict, Witness, overall, standing, why_untested
from theory.verify import budget_for, one_thread
from theory.witness.files import Corpus, load_corpora

EXAMPLES = 320  # problems per law and family, unless more or fewer are asked for


@dataclass(frozen=True)
class Settings:
    """How much is checked, and where; None is what was not said.

    laws: names or ids, none for all; examples: problems per law and family; max_params: weights of a network, at most;
    corpus: a folder of witnesses to try besides those that came with the package.
    """

    laws: tuple[str, ...] | None = None
    examples: int | None = None
    max_params: int | None = None
    seed: int | None = None
    device: str | None = None
    corpus: str | None = None

    def or_else(self, other: Settings) -> Settings:
        """These, and what the others say of what these do not."""
        return replace(other, **{name: value for name, value in vars(self).items() if value is not None})


DEFAULTS = Settings((), EXAMPLES, None, 0, "cpu")


class Suite:
    """A pruner on every family of random networks, law by law; what was found once is kept."""

    def __init__(self, pruner: Pruner, settings: Settings) -> None:
        self.pruner = pruner
        self.settings = settings
        self.found: dict[str, list[Verdict]] = {}  # by law

    def configure(self, settings: Settings) -> None:
        """Fill in what was not said. Raises UsageError, ValueError for what can't be met."""
        self.settings = self.settings.or_else(settings)
        _ = self.budget, self.device, self.corpus  # which raise

    @cached_property
    def laws(self) -> dict[str, Law]:
        """The laws about it, in the order of the catalogue. Raises UsageError for a law that there is not."""
        chosen = laws_named(self.settings.or_else(DEFAULTS).laws or ())
        return {name: law for name, law in chosen.items() if law.subject in kinds_of(self.pruner)}

    @cached_property
    def grounds(self) -> list[Ground]:
        """The networks of the corpus, and those of every family.

        Raises UsageError, ValueError for settings that can't be met.
        """
        known = KnownGround(self.pruner, self.corpus, self.device)
        drawn = (family_ground(family, self.pruner, self.budget, self.device) for family in families().values())
        return [known, *drawn]

    @property
    def budget(self) -> Budget:
        """How much is checked. Raises ValueError for less than one."""
        told = self.settings.or_else(DEFAULTS)
        assert told.examples is not None and told.seed is not None
        return budget_for(told.examples, told.seed, told.max_params)

    @property
    def device(self) -> torch.device:
        """Where. Raises UsageError."""
        return load_device(self.settings.or_else(DEFAULTS).device or "cpu")

    @cached_property
    def corpus(self) -> Corpus:
        """Witnesses that came with the package, and those of the folder that was named. Raises ValueError."""
        return load_corpora([Path(self.settings.corpus)] if self.settings.corpus else [])

    @cached_property
    def known(self) -> dict[tuple[str, str], Witness]:
        """Witnesses: the corpus, and what was found since."""
        return dict(self.corpus)

    def verdicts(self, law: str) -> list[Verdict]:
        """One per family that the law has any network for."""
        if law not in self.found:
            with one_thread():
                self.found[law] = list(self._checked(self.laws[law]))
        return self.found[law]

    def _checked(self, law: Law) -> Iterator[Verdict]:
        for ground in self.grounds:
            if ground.suits(law):
                verdict = search(law, self.pruner, ground, self.known)
                if verdict.witness:
                    self.known[verdict.law, verdict.pruner] = verdict.witness
                yield verdict


def check_pruner(
    pruner: Pruner | Callable[..., Any],
    *,
    claims: Iterable[Claim | str] = (),
    laws: Iterable[str] = (),
    examples: int = EXAMPLES,
    max_params: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    corpus: str | None = None,
) -> list[Verdict]:
    """Hold a pruner to every law on random networks of every family, as `prunelaws verify` does.

    pruner: a prunelaws.Pruner, or a function score(network, state, probe). claims: promises to hold it to besides its
    own. laws: names or ids, all by default; examples: problems per law and family; max_params: weights of a network,
    at most; corpus: a folder of witnesses of your own, tried first as those that came with the package are. Verdicts
    come law by law; `verdict.failed` marks a refuted claim or a broken contract, which have a
    witness where a small network alone shows it. Nothing is printed, and nothing is raised for a pruner that is
    wrong; `untested` names claims that no law could test. Raises UsageError for a law, claim or device that there is
    not, ValueError for numbers out of range.
    """
    settings = Settings(_several(laws), examples, max_params, seed, device, corpus)
    suite = Suite(_pruner(pruner, claims), settings)
    return [verdict for law in suite.laws for verdict in suite.verdicts(law)]


def _pruner(value: Pruner | Callable[..., Any], claims: Iterable[Claim | str]) -> Pruner:
    return as_pruner(value, repr(value), frozenset(load_claim(claim) for claim in _several(claims)))[0]


def _several(names: str | Iterable[str]) -> tuple[str, ...]:
    """One name is a list of one."""
    return (names,) if isinstance(names, str) else tuple(names)


@dataclass(frozen=True, eq=False)
class Check:
    """One law, or one claim, of one pruner: what a test made by `parametrize_with_laws` calls."""

    suite: Suite
    law: Law | None
    claim: Claim | None = None

    @property
    def name(self) -> str:
        """What is checked, in words without spaces."""
        return self.law.name if self.law else f"claim_{str(self.claim).replace(' ', '_')}"

    def __call__(self) -> None:
        """Fail the test that runs it where a claim is refuted or a contract broken, and where a claim can't be tested.

        It is skipped, with the reason, where nothing was claimed and the law is broken, and where there was nothing
        to check.
        """
        __tracebackhide__ = True
        import pytest

        if self.law is None:
            if untested := self._untested():
                pytest.fail(untested, pytrace=False)
            return
        verdicts = self.suite.verdicts(self.law.name)
        held_to_it = self.law.claim is None or self.law.claim in self.suite.pruner.claims
        stands = standing(overall(verdicts), held_to_it)
        if stands is Standing.REFUTED:
            pytest.fail(self.failure(), pytrace=False)
        if stands is Standing.BROKEN:
            pytest.skip(f"{stands.value}: {_first(verdicts, Outcome.BROKEN).where}")
        if stands in (Standing.VACUOUS, Standing.OUT_OF_SCOPE):
            pytest.skip(f"{stands.value}: {why_untested(verdicts)}")

    @property
    def found(self) -> list[Verdict]:
        """What was found of the law so far; nothing of a claim, whose laws are checks of their own."""
        return self.suite.found.get(self.law.name, []) if self.law else []

    def failure(self) -> str:
        """The four lines about a law that is broken."""
        assert self.law is not None
        verdict = _first(self.found, Outcome.BROKEN)
        told = self.suite.settings.or_else(DEFAULTS)
        network = network_of(verdict.witness) if verdict.witness else f"one of {verdict.ground}"
        rerun = f"check_pruner(..., laws=[{self.law.name!r}], examples={told.examples}, seed={told.seed})"
        return four_lines(verdict, f"{self.law.statement} [{self.law.source}]", network, rerun)

    def _untested(self) -> str | None:
        """Why no law could test the claim; None where one could, or none of those chosen is about it."""
        about = [law for law in self.suite.laws.values() if law.claim is self.claim]
        found: list[Verdict] = []
        for law in about:
            for verdict in self.suite.verdicts(law.name):
                if verdict.outcome in (Outcome.HELD, Outcome.BROKEN):
                    return None
                found.append(verdict)
        why = why_untested(found)
        return f"{self.suite.pruner.name} claims {str(self.claim)!r}, and no law could test that: {why}"


def _first(verdicts: Sequence[Verdict], outcome: Outcome) -> Verdict:
    return next(v for v in verdicts if v.outcome is outcome)


def checks(pruner: Pruner, settings: Settings) -> list[Check]:
    """A check for each law about a pruner, and one for each of its claims: that some law could test it."""
    suite = Suite(pruner, settings)
    about = [Check(suite, law) for law in suite.laws.values()]
    tested = {law.claim for law in suite.laws.values()}
    return about + [Check(suite, None, claim) for claim in sorted(pruner.claims) if claim in tested]


def refuse_twins(pruners: Iterable[Subjected]) -> None:
    """Raise UsageError where two go by one name: records and witnesses would be of either."""
    names = Counter(pruner.name for pruner in pruners)
    twice = sorted(name for name, count in names.items() if count > 1)
    if twice:
        raise UsageError(f"two of the pruners are named {twice[0]!r}; give one of them another name")


def parametrize_with_laws(
    pruners: Iterable[Pruner | Callable[..., Any]],
    *,
    claims: Iterable[Claim | str] = (),
    laws: Iterable[str] | None = None,
    examples: int | None = None,
    max_params: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    corpus: str | None = None,
) -> Callable[[Any], Any]:
    """A decorator that runs a pytest function once per pruner and law; it is given `check`, and calls it.

    What is not said here is what the command line and the ini file say (--prunelaws-examples, ...), and else the
    default of `check_pruner`. A test fails where a claim is refuted, a contract is broken, or a claim can't be tested.
    Raises UsageError for no pruners at all or two of one name, and as `check_pruner` does.
    """
    import pytest

    settings = Settings(None if laws is None else _several(laws), examples, max_params, seed, device, corpus)
    held = [_pruner(value, claims) for value in pruners]
    if not held:
        raise UsageError("parametrize_with_laws got no pruners: there would be nothing to check, and nothing to fail")
    refuse_twins(held)
    found = [check for pruner in held for check in checks(pruner, settings)]
    params = [pytest.param(c, id=f"{c.suite.pruner.name}-{c.name}", marks=pytest.mark.prunelaws) for c in found]
    return pytest.mark.parametrize("check", params)
