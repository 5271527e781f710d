"""The matrix impostor x law: which laws break for which wrong pruner, and where first, as a file for a test and a page.

`python -m theory.matrix` writes both anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

import torch

from pruning.pruner import Pruner
from theory.impostors.famous import FAMOUS
from theory.impostors.mutations import mutants
from theory.law import Law, kinds_of
from theory.laws import catalogue
from theory.networks import built_in as families
from theory.networks.spec import NetSpec
from theory.search import Budget, family_ground, search
from theory.sidebyside import Say, processors, side_by_side
from theory.verdict import Outcome

FILE = Path(__file__).with_suffix(".json")
PAGE = Path(__file__).parent.parent / "docs" / "impostors.md"
BUDGET = Budget(shapes=6, problems=16, seed=0)


@dataclass(frozen=True)
class Kill:
    """Where a law first breaks for an impostor: the family, and the minimised network, its layers and widest one."""

    family: str
    network: str
    layers: int
    units: int


Matrix = Mapping[str, Mapping[str, Kill]]  # by impostor and law


def impostors() -> dict[str, Pruner]:
    """Every wrong pruner of the matrix, by name: the famous ones, and the mutants."""
    return {**{each.pruner.name: each.pruner for each in FAMOUS}, **mutants()}


@cache
def recorded() -> Matrix:
    """The matrix of the file. Raises OSError where it can't be read."""
    found = json.loads(FILE.read_text(encoding="utf-8"))
    return {name: {law: Kill(**kill) for law, kill in kills.items()} for name, kills in found.items()}


def is_held_to(impostor: Pruner, law: Law) -> bool:
    """Whether a law that breaks for it refutes it: a contract, or a claim of its own."""
    return law.claim is None or law.claim in impostor.claims


def measure(name: str, say: Say) -> None:
    """Say of each law that breaks for an impostor where it first does."""
    torch.set_num_threads(1)
    impostor, left = impostors()[name], dict(catalogue())
    for family in families().values():
        ground = family_ground(family, impostor, BUDGET)
        for law in [law for law in left.values() if law.subject in kinds_of(impostor)]:
            verdict = search(law, impostor, ground)
            if verdict.outcome is Outcome.BROKEN and verdict.witness:
                del left[law.name]
                say((name, law.name, _kill(family.name, NetSpec.from_json(verdict.witness.spec))))


def _kill(family: str, spec: NetSpec) -> Kill:
    sizes = [torch.tensor(v).shape for n, v in spec.values.items() if n.endswith("weight")]
    widest = max((n for size in sizes for n in size[:2]), default=0)
    return Kill(family, str(spec), len(sizes), widest)


def page(matrix: Matrix) -> str:
    """The matrix as Markdown."""
    return "\n".join([*_introduction(matrix), *_famous(matrix), *_mutated(matrix), ""])


def _introduction(matrix: Matrix) -> Iterator[str]:
    kills = [law for name in matrix for law in _refuting(matrix, name)]
    yield "# Impostors: pruners that are wrong on purpose, and the laws that refute them"
    yield ""
    refuted = sum(bool(_refuting(matrix, name)) for name in matrix)
    yield f"Written by `python -m theory.matrix`, which holds {len(matrix)} wrong pruners to every law about pruners,"
    yield f"on {BUDGET.shapes} shapes x {BUDGET.problems} problems a family. {refuted} are refuted, by {len(kills)}"
    yield "pairs of pruner and law, which the test suite breaks again. The networks are what the failures were"
    yield "minimised to; `prunelaws explain LAW` says what a law states."
    yield ""


def _refuting(matrix: Matrix, name: str) -> dict[str, Kill]:
    return {law: kill for law, kill in matrix[name].items() if is_held_to(impostors()[name], catalogue()[law])}


def _famous(matrix: Matrix) -> Iterator[str]:
    yield "## Mistakes that public code is known for"
    yield ""
    yield "| mistake | seen in | refuted by | for instance on |"
    yield "|---|---|---|---|"
    for each in FAMOUS:
        kills = _refuting(matrix, each.pruner.name)
        yield f"| {each.mistake} | {each.seen} | {_ids(kills)} | {_smallest(kills)} |"
    yield ""


def _mutated(matrix: Matrix) -> Iterator[str]:
    yield "## Mutants of SynFlow"
    yield ""
    yield "Each mutation of its scores, its selection and its state, and pairs of two kinds drawn by a seed."
    yield ""
    yield "| mutant | refuted by | for instance on |"
    yield "|---|---|---|"
    for name in mutants():
        kills = _refuting(matrix, name)
        yield f"| {name.removeprefix('SynFlow, ')} | {_ids(kills)} | {_smallest(kills)} |"


def _ids(kills: Mapping[str, Kill]) -> str:
    return " ".join(catalogue()[law].id for law in catalogue() if law in kills) or "nothing"


def _smallest(kills: Mapping[str, Kill]) -> str:
    shown = min(kills.values(), key=lambda kill: (kill.layers, kill.units, len(kill.network)), default=None)
    return f"`{shown.network}`" if shown else ""


def write() -> None:
    """Write the file and the page anew."""
    found: dict[str, dict[str, Kill]] = {name: {} for name in impostors()}
    side_by_side({n: partial(measure, n) for n in found}, processors(), lambda said: _add(found, *said))
    as_data = {name: {law: asdict(kill) for law, kill in sorted(kills.items())} for name, kills in found.items()}
    FILE.write_text(json.dumps(as_data, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(found), encoding="utf-8")


def _add(found: dict[str, dict[str, Kill]], name: str, law: str, kill: Kill) -> None:
    found[name][law] = kill


if __name__ == "__main__":
    write()
