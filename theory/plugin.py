"""The pytest plugin: a pruner's laws as tests, and what they found as data. It is loaded when there are such tests."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import pytest

from pruning.errors import UsageError
from pruning.pruner import scored
from pruning.references import load_held
from theory.described import described, provenance, subject_record
from theory.laws import catalogue, laws_named
from theory.networks import built_in as families
from theory.search import KNOWN
from theory.suite import DEFAULTS, Check, Settings, Suite, checks, refuse_twins
from theory.verdict import Outcome, Run, Verdict, Witness


class LawItem(pytest.Item):
    """A law, or a claim, of a pruner that was named on the command line or in the ini file."""

    def __init__(self, *, check: Check, **rest: Any) -> None:
        super().__init__(**rest)
        self.check = check
        self.add_marker(pytest.mark.prunelaws)

    def runtest(self) -> None:
        """Check it."""
        self.check()

    def reportinfo(self) -> tuple[Any, None, str]:
        """Where it comes from: no file of the user's."""
        return self.config.rootpath, None, self.name


class Laws(pytest.Collector):
    """The laws of one pruner."""

    def __init__(self, *, found: Sequence[Check], **rest: Any) -> None:
        super().__init__(**rest)
        self.found = found

    def collect(self) -> Iterator[LawItem]:
        """An item per check."""
        for check in self.found:
            yield LawItem.from_parent(self, name=f"{check.suite.pruner.name}[{check.name}]", check=check)


def checked(references: Iterable[str], claims: Iterable[str], settings: Settings) -> None:
    """Raises pytest.UsageError for settings and pruners that can't be had."""
    try:
        laws_named(settings.laws or ())
        nobody = Suite(scored("nobody", _nothing), settings.or_else(DEFAULTS))
        nobody.configure(settings)
        refuse_twins([load_held(reference, claims)[0] for reference in references])
    except (UsageError, ValueError) as error:
        raise pytest.UsageError(f"prunelaws: {error}") from error


def _nothing(*_: object) -> dict[str, Any]:
    return {}


def collected(
    session: pytest.Session,
    items: list[pytest.Item],
    references: Iterable[str],
    claims: Iterable[str],
    settings: Settings,
) -> None:
    """Add the laws of the pruners that are named, and leave what was not said to the settings, in place.

    Raises pytest.UsageError for what can't be had.
    """
    try:
        wanted = laws_named(settings.laws or ())
        held = [load_held(reference, claims)[0] for reference in references]
        refuse_twins(held)
        for pruner in held:
            laws = Laws.from_parent(session, name="prunelaws", nodeid="prunelaws", found=checks(pruner, settings))
            own = list(laws.collect())
            # what is not reported as collected is not counted where pytest says how many tests there are
            session.ihook.pytest_collectreport(report=pytest.CollectReport("prunelaws", "passed", None, [*own]))
            items.extend(own)
        for check in map(check_of, items):
            if check:
                check.suite.configure(settings)
    except (UsageError, ValueError) as error:
        raise pytest.UsageError(f"prunelaws: {error}") from error
    _deselect(session, items, {*wanted, *(law.claim for law in wanted.values())})


def _deselect(session: pytest.Session, items: list[pytest.Item], wanted: Container[str | None]) -> None:
    """Leave out the checks of other laws, and of claims that none of these is about."""
    others = [item for item in items if (check := check_of(item)) and _law_or_claim(check) not in wanted]
    items[:] = [item for item in items if item not in others]
    if others:
        session.config.hook.pytest_deselected(items=others)


def _law_or_claim(check: Check) -> str | None:
    return check.law.name if check.law else check.claim


def check_of(item: pytest.Item) -> Check | None:
    """What an item checks; None of a test that is not ours."""
    if isinstance(item, LawItem):
        return item.check
    callspec = getattr(item, "callspec", None)
    found = callspec.params.get("check") if callspec else None
    return found if isinstance(found, Check) else None


def finding(check: Check) -> str:
    """What a check found, as text that a worker can send."""
    return json.dumps(
        {
            "provenance": provenance(check.suite.budget, check.suite.device),
            "pruner": subject_record(check.suite.pruner),
            "verdicts": [asdict(verdict) for verdict in check.found],
        }
    )


def run_of(findings: Iterable[str]) -> Run:
    """The record of what all checks found, whatever order they came in."""
    read = [json.loads(text) for text in findings]
    pruners = {found["pruner"]["name"]: found["pruner"] for found in read}
    names, order, grounds = list(pruners), list(catalogue()), [KNOWN, *families()]
    all_found = [_verdict(data) for found in read for data in found["verdicts"]]
    worst_last = sorted(all_found, key=lambda v: v.outcome is Outcome.BROKEN)  # a pruner may be tested by two doors
    verdicts = list({(v.law, v.pruner, v.ground): v for v in worst_last}.values())
    return Run(
        provenance=read[0]["provenance"],
        laws=[
            described(law) | {"proof": None} for law in catalogue().values() if law.name in {v.law for v in verdicts}
        ],
        pruners=list(pruners.values()),
        verdicts=sorted(verdicts, key=lambda v: (names.index(v.pruner), order.index(v.law), grounds.index(v.ground))),
    )


def _verdict(data: dict[str, Any]) -> Verdict:
    witness = Witness(**data["witness"]) if data["witness"] else None
    return Verdict(**{**data, "outcome": Outcome(data["outcome"]), "witness": witness})
