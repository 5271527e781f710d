"""The matrix impostor x law: which laws break for which wrong pruner, as a file for a test and a page for people.

`python -m theory.measured.matrix` writes both anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from textwrap import fill

from pruning.pruner import Pruner
from theory.impostors.famous import FAMOUS
from theory.impostors.mutations import mutants
from theory.laws import catalogue
from theory.measured.examined import BUDGET, Finding, Findings, examine, load_findings, refuting, save_findings
from theory.sidebyside import processors, side_by_side
from theory.verdict import Outcome

FILE = Path(__file__).with_suffix(".json")
PAGE = Path(__file__).parents[2] / "docs" / "impostors.md"

WIDTH = 118


def impostors() -> dict[str, Pruner]:
    """Every wrong pruner of the matrix, by name: the famous ones, and the mutants."""
    return {**{each.pruner.name: each.pruner for each in FAMOUS}, **mutants()}


@cache
def recorded() -> Findings:
    """The laws that break, of the file. Raises OSError where it can't be read."""
    return load_findings(FILE)


def page(matrix: Findings) -> str:
    """The matrix as Markdown."""
    known = impostors()
    kills = {name: refuting(known[name], found) for name, found in matrix.items()}
    return "\n".join([*_introduction(kills), *_famous(kills), *_mutated(kills), ""])


Kills = Mapping[str, Mapping[str, Finding]]  # by impostor and law


def _introduction(kills: Kills) -> Iterator[str]:
    pairs, refuted = sum(map(len, kills.values())), sum(map(bool, kills.values()))
    yield "# Impostors: pruners that are wrong on purpose, and the laws that refute them"
    yield ""
    yield fill(
        f"Written by `python -m theory.measured.matrix`, which holds {len(kills)} wrong pruners to every law about "
        f"pruners, on {BUDGET.shapes} shapes x {BUDGET.problems} problems of each family. {refuted} are refuted, by "
        f"{pairs} pairs of pruner and law, which the test suite breaks again. The networks are what the failures were "
        "minimised to; `prunelaws explain LAW` says what a law states.",
        WIDTH,
    )
    yield ""


def _famous(kills: Kills) -> Iterator[str]:
    laws = [law for law in catalogue() if any(law in kills[each.pruner.name] for each in FAMOUS)]
    yield "## Mistakes that public code is known for"
    yield ""
    yield "| mistake | seen in | for instance on |"
    yield "|---|---|---|"
    for each in FAMOUS:
        yield f"| {each.mistake} | {each.seen} | {_smallest(kills[each.pruner.name])} |"
    yield ""
    yield f"| refuted by | {' | '.join(catalogue()[law].id for law in laws)} |"
    yield f"|---|{'---|' * len(laws)}"
    for each in FAMOUS:
        marks = ("x" if law in kills[each.pruner.name] else "" for law in laws)
        yield f"| {each.mistake} | {' | '.join(marks)} |"
    yield ""


def _mutated(kills: Kills) -> Iterator[str]:
    yield "## Mutants of SynFlow"
    yield ""
    yield "Each mutation of its scores, its selection and its state, and pairs of two kinds drawn by a seed."
    yield ""
    yield "| mutant | refuted by | for instance on |"
    yield "|---|---|---|"
    for name in mutants():
        ids = " ".join(catalogue()[law].id for law in catalogue() if law in kills[name])
        yield f"| {name.removeprefix('SynFlow, ')} | {ids or 'nothing'} | {_smallest(kills[name])} |"


def _smallest(kills: Mapping[str, Finding]) -> str:
    shown = min((kill for kill in kills.values() if kill.network), key=lambda kill: kill.size, default=None)
    return f"`{shown.network}`" if shown else ""


def write() -> None:
    """Write the file and the page anew."""
    found: dict[str, dict[str, Finding]] = {name: {} for name in impostors()}

    def hear(said: tuple[str, str, Finding]) -> None:
        name, law, finding = said
        if finding.outcome == Outcome.BROKEN.value:
            found[name][law] = finding

    side_by_side({name: partial(examine, pruner) for name, pruner in impostors().items()}, processors(), hear)
    save_findings(found, FILE)
    PAGE.write_text(page(found), encoding="utf-8")


if __name__ == "__main__":
    write()
