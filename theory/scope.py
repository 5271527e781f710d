"""Scope: what came of each law for each built-in subject on each family, as a file that a test compares.

`python -m theory.scope` writes it anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from pruning.pruners import built_in as pruners
from theory.law import kinds_of
from theory.laws import catalogue
from theory.networks import built_in as families
from theory.search import Budget, family_ground, search
from theory.subjects import Subjected
from theory.subjects import built_in as other_subjects
from theory.verdict import Outcome
from theory.witnesses import load_corpus

FILE = Path(__file__).with_suffix(".json")
BUDGET = Budget(shapes=6, problems=16, seed=0)

# outcome by subject, law and family; a family that is not named is out of scope
Scope = Mapping[str, Mapping[str, Mapping[str, str]]]


def subjects() -> dict[str, Subjected]:
    """Every built-in pruner, and what is no pruner, by name."""
    return {**pruners(), **other_subjects()}


@cache
def recorded() -> Scope:
    """The file. Raises OSError where it can't be read."""
    found: Scope = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def families_of(law: str) -> list[str]:
    """The families on which a law says something of one of the built-in subjects."""
    checked = {Outcome.HELD.value, Outcome.BROKEN.value}
    found = {name for laws in recorded().values() for name, o in laws.get(law, {}).items() if o in checked}
    return [name for name in families() if name in found]


def measured() -> Iterator[tuple[str, str, str, str]]:
    """(subject, law, family, outcome) of all that is in scope now."""
    corpus = load_corpus()
    for name, subject in subjects().items():
        laws = [law for law in catalogue().values() if law.subject in kinds_of(subject)]
        for family in families().values():
            ground = family_ground(family, subject, BUDGET)
            for law in laws:
                outcome = search(law, subject, ground, corpus).outcome
                if outcome is not Outcome.OUT_OF_SCOPE:
                    yield name, law.name, family.name, outcome.value


def write() -> None:
    """Write the file anew."""
    scope: dict[str, dict[str, dict[str, str]]] = {}
    for subject, law, family, outcome in measured():
        scope.setdefault(subject, {}).setdefault(law, {})[family] = outcome
    FILE.write_text(json.dumps(scope, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
