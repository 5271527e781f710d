"""Verdicts on published pruners and on real packages, as a file for a test and a page of the docs.

`python tests/verdicts.py` writes both anew; it takes the packages that the tests are run with.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch_pruning as tp
from torch.nn.utils import prune
from torchao.sparsity import WandaSparsifier

from pruning.adapters.torch_prune import torch_global, torch_local
from pruning.adapters.torch_pruning import torch_pruning
from pruning.adapters.torchao import torchao
from pruning.newer import newer
from pruning.pruner import Claim, Pruner
from theory.laws import catalogue
from theory.measured.examined import Finding, Findings, examine, load_findings, save_findings, stands
from theory.search import Budget
from theory.sidebyside import processors, side_by_side
from theory.verdict import Standing

DOCS = Path(__file__).parent.parent / "docs"
FILE, PAGE = DOCS / "verdicts.json", DOCS / "verdicts.md"

BUDGET = Budget(shapes=3, problems=4, seed=0)  # packages are slow
MASKS = {Claim.EXACT_BUDGET, Claim.NESTED_MASKS, Claim.IDEMPOTENT}


@dataclass(frozen=True)
class Subject:
    """A pruner, where it is from, and which version that is."""

    pruner: Pruner
    source: str


def subjects() -> dict[str, Subject]:
    """Every pruner that the page is about, by name."""
    found = [Subject(pruner, "a rewrite of ours from its paper") for pruner in newer().values()]
    found += [*_of_torch(), *_of_torch_pruning(), *_of_torchao()]
    return {subject.pruner.name: subject for subject in found}


def _of_torch() -> Iterator[Subject]:
    source = f"torch {version('torch')}, torch.nn.utils.prune"
    yield Subject(torch_global(prune.L1Unstructured, claims=MASKS), source)
    yield Subject(torch_global(prune.RandomUnstructured, claims=MASKS), source)
    # each layer's count is rounded, as documented: no exact budget is promised
    yield Subject(torch_local(prune.l1_unstructured, claims=MASKS - {Claim.EXACT_BUDGET}), source)
    yield Subject(torch_local(prune.ln_structured, n=2, dim=0, claims=MASKS - {Claim.EXACT_BUDGET}), source)


def _of_torch_pruning() -> Iterator[Subject]:
    source = f"torch-pruning {version('torch-pruning')}; what is selected by its importance is ours"
    claims = {Claim.POSITIVE, Claim.PERMUTATION_EQUIVARIANT, Claim.DETERMINISTIC, Claim.SAMPLE_ORDER}
    importances = tp.importance
    for name, importance, slopes in (
        ("torch-pruning, group magnitude", importances.GroupMagnitudeImportance(p=2), False),
        ("torch-pruning, LAMP", importances.LAMPImportance(p=2), False),
        ("torch-pruning, group Taylor", importances.GroupTaylorImportance(), True),
    ):
        yield Subject(torch_pruning(importance, name=name, slopes=slopes, claims=claims), source)


def _of_torchao() -> Iterator[Subject]:
    source = f"torchao {version('torchao')}"
    claims = {*MASKS, Claim.RESCALED_MASKS}  # which Wanda keeps as published: see above
    yield Subject(torchao(lambda s: WandaSparsifier(sparsity_level=s), name="torchao, Wanda", claims=claims), source)


def page(found: Findings) -> str:
    """The findings as Markdown."""
    known = subjects()
    sections = (line for name in found for line in _section(known[name], found[name]))
    return "\n".join(["# Verdicts on published pruners and on real packages", INTRODUCTION.rstrip(), *sections, ""])


INTRODUCTION = f"""
Written by `python tests/verdicts.py`: every law about a pruner, on {BUDGET.shapes} shapes x {BUDGET.problems} problems
of each family of networks. The newer methods are short rewrites of ours in `pruning/newer/`, whose files say what they
quote and what they leave out; packages are run as they are, through an adapter, and held to what a reader would expect
of them. A law that is broken without being claimed is no fault: it is what the method is like. The networks are
minimised, and each shows it alone.
"""


def _section(subject: Subject, found: Mapping[str, Finding]) -> Iterator[str]:
    pruner = subject.pruner
    by_standing: dict[Standing, list[str]] = {}
    for law in catalogue():
        if law in found:
            by_standing.setdefault(stands(pruner, law, found[law]), []).append(law)
    yield ""
    yield f"## {pruner.name}"
    yield ""
    yield f"{subject.source[0].upper()}{subject.source[1:]}. Claims: {', '.join(sorted(pruner.claims))}."
    yield ""
    for standing, said in ((Standing.KEPT, "Kept"), (Standing.UNDECLARED, "Held without being claimed")):
        if standing in by_standing:
            yield f"{said}: {_ids(by_standing[standing])}."
    silent = [*by_standing.get(Standing.OUT_OF_SCOPE, []), *by_standing.get(Standing.VACUOUS, [])]
    if silent:
        yield f"Says nothing here: {_ids(silent)}."
    broken = [(law, True) for law in by_standing.get(Standing.REFUTED, [])]
    broken += [(law, False) for law in by_standing.get(Standing.BROKEN, [])]
    if broken:
        yield ""
        yield "| law | | network | what it shows |"
        yield "|---|---|---|---|"
    for law, refuted in broken:
        finding = found[law]
        network = f"`{finding.network}`" if finding.network else f"one of {finding.family}"
        where = finding.where.replace("|", "/")
        yield f"| {catalogue()[law].id} {law} | {'**refuted**' if refuted else 'broken'} | {network} | {where} |"


def _ids(laws: list[str]) -> str:
    return ", ".join(catalogue()[law].id for law in laws)


def recorded() -> Findings:
    """The findings of the file. Raises OSError where it can't be read."""
    return load_findings(FILE)


def write() -> None:
    """Write the file and the page anew."""
    warnings.filterwarnings("ignore")
    found: dict[str, dict[str, Finding]] = {name: {} for name in subjects()}

    def hear(said: tuple[str, str, Finding]) -> None:
        found[said[0]][said[1]] = said[2]

    side_by_side(
        {name: partial(examine, s.pruner, budget=BUDGET) for name, s in subjects().items()}, processors(), hear
    )
    save_findings(found, FILE)
    PAGE.write_text(page(found), encoding="utf-8")


if __name__ == "__main__":
    write()
