"""Scope: what came of each law for each built-in subject on each family, and what it compares, as a file for a test.

`python -m theory.measured.scope` writes it anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from pruning.pruners import built_in as pruners
from theory.judge import judge, out_of_scope
from theory.law import Law, kinds_of
from theory.laws import catalogue
from theory.networks import built_in as families
from theory.search import Budget, Ground, family_ground, search
from theory.sidebyside import Say, processors, side_by_side
from theory.subjects import Subjected
from theory.subjects import built_in as other_subjects
from theory.verdict import Outcome, Verdict
from theory.witness.files import load_corpus

FILE = Path(__file__).with_suffix(".json")
BUDGET = Budget(shapes=6, problems=16, seed=0)

# outcome by subject, law and family; a family that is not named is out of scope
Scope = Mapping[str, Mapping[str, Mapping[str, str]]]


def subjects() -> dict[str, Subjected]:
    """Every built-in pruner, and what is no pruner, by name."""
    return {**pruners(), **other_subjects()}


@cache
def recorded() -> Scope:
    """The outcomes of the file. Raises OSError where it can't be read."""
    found: Scope = _file()["outcomes"]
    return found


@cache
def compared() -> Mapping[str, Mapping[str, tuple[str, str]]]:
    """Of the file: by law, each kind of balance that it compares, with the first subject and family where it does."""
    return {law: {kind: (s, f) for kind, (s, f) in kinds.items()} for law, kinds in _file()["compared"].items()}


def trivial_share(law: str) -> float:
    """Of the file: which share of a law's problems, over all subjects and families, were trivial."""
    live, trivial = _file()["problems"][law]
    return float(trivial / (live + trivial))


@cache
def _file() -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def kinds(law: Law, ground: Ground) -> set[str]:
    """What a law compares on a ground: the names of its balances that were checked, without those of layers."""
    cases = (case for case in ground.cases(law) if out_of_scope(law, case) is None)
    names = {name for case in cases if (found := judge(law, case)) for name in found.compared}
    return {re.sub(r"#( \+ #)+", "#", re.sub(r"\d+(\.\w+)*", "#", name)) for name in names}


def families_of(law: str) -> list[str]:
    """The families on which a law says something of one of the built-in subjects."""
    checked = {Outcome.HELD.value, Outcome.BROKEN.value}
    found = {name for laws in recorded().values() for name, o in laws.get(law, {}).items() if o in checked}
    return [name for name in families() if name in found]


def measure(name: str, say: Say) -> None:
    """Say of each law and family in scope of a subject: the verdict, and the kinds of balances compared."""
    subject, corpus = subjects()[name], load_corpus()
    torch.set_num_threads(1)
    for family in families().values():
        ground = family_ground(family, subject, BUDGET)
        for law in (law for law in catalogue().values() if law.subject in kinds_of(subject)):
            verdict = search(law, subject, ground, corpus)
            if verdict.outcome is not Outcome.OUT_OF_SCOPE:
                say((verdict, sorted(kinds(law, ground))))


def write() -> None:
    """Write the file anew."""
    found: dict[str, list[tuple[Verdict, list[str]]]] = {name: [] for name in subjects()}
    side_by_side({n: partial(measure, n) for n in found}, processors(), lambda said: found[said[0].pruner].append(said))
    outcomes: dict[str, dict[str, dict[str, str]]] = {}
    problems: dict[str, list[int]] = {}
    first: dict[str, dict[str, tuple[str, str]]] = {}
    for verdict, compared_there in chain.from_iterable(found.values()):
        law, subject, family = verdict.law, verdict.pruner, verdict.ground
        outcomes.setdefault(subject, {}).setdefault(law, {})[family] = verdict.outcome.value
        live, trivial = problems.get(law, (0, 0))
        problems[law] = [live + verdict.cases, trivial + verdict.trivial]
        for kind in compared_there:
            first.setdefault(law, {}).setdefault(kind, (subject, family))
    text = json.dumps({"outcomes": outcomes, "compared": first, "problems": problems}, indent=1)
    FILE.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
