"""Examining a pruner: what came of every law about it over all families, and the small network where it first broke."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch

from pruning.pruner import Pruner
from theory.law import Law, kinds_of
from theory.laws import catalogue
from theory.networks import built_in as families
from theory.networks.spec import NetSpec
from theory.search import Budget, family_ground, search
from theory.sidebyside import Say
from theory.verdict import Outcome, Standing, Verdict, overall, standing

BUDGET = Budget(shapes=6, problems=16, seed=0)


@dataclass(frozen=True)
class Finding:
    """What came of a law; where it broke first: the family, the minimised network, its weighted layers and width."""

    outcome: str
    family: str = ""
    network: str = ""
    where: str = ""
    layers: int = 0
    units: int = 0

    @property
    def size(self) -> tuple[int, int, int]:
        """By which networks are compared: layers, the widest of them, and the length of the text."""
        return self.layers, self.units, len(self.network)


Findings = Mapping[str, Mapping[str, Finding]]  # by pruner and law


def is_held_to(pruner: Pruner, law: Law) -> bool:
    """Whether a law that breaks for it refutes it: a contract, or a claim of its own."""
    return law.claim is None or law.claim in pruner.claims


def refuting(pruner: Pruner, found: Mapping[str, Finding]) -> dict[str, Finding]:
    """Of what was found of a pruner, the laws that refute it."""
    broken = {law: f for law, f in found.items() if f.outcome == Outcome.BROKEN.value}
    return {law: f for law, f in broken.items() if is_held_to(pruner, catalogue()[law])}


def stands(pruner: Pruner, law: str, finding: Finding) -> Standing:
    """What a finding means for the pruner's claims."""
    return standing(Outcome(finding.outcome), is_held_to(pruner, catalogue()[law]))


def examine(pruner: Pruner, say: Say, budget: Budget = BUDGET) -> None:
    """Say (pruner's name, law, finding) of every law about a pruner; a law that is broken is not tried any further."""
    torch.set_num_threads(1)
    about = {law.name: law for law in catalogue().values() if law.subject in kinds_of(pruner)}
    found: dict[str, list[Verdict]] = {name: [] for name in about}
    for family in families().values():
        ground = family_ground(family, pruner, budget)
        for law in about.values():
            if not any(v.outcome is Outcome.BROKEN for v in found[law.name]):
                found[law.name].append(search(law, pruner, ground))
    for name, verdicts in found.items():
        say((pruner.name, name, _finding(verdicts)))


def _finding(verdicts: list[Verdict]) -> Finding:
    outcome = overall(verdicts)
    if outcome is not Outcome.BROKEN:
        return Finding(outcome.value)
    last = verdicts[-1]
    if last.witness is None:
        return Finding(outcome.value, last.ground, where=last.where or "")
    spec = NetSpec.from_json(last.witness.spec)
    sizes = [torch.tensor(v).shape for n, v in spec.values.items() if n.endswith("weight")]
    widest = max((n for size in sizes for n in size[:2]), default=0)
    return Finding(outcome.value, last.ground, str(spec), last.where or "", len(sizes), widest)


def save_findings(found: Findings, path: Path) -> None:
    """Write findings as JSON, without what is not as usual."""
    usual = {f.name: f.default for f in fields(Finding)}
    data = {
        name: {law: {k: v for k, v in asdict(f).items() if v != usual[k]} for law, f in sorted(laws.items())}
        for name, laws in found.items()
    }
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def load_findings(path: Path) -> Findings:
    """The findings in a file. Raises OSError where it can't be read."""
    data = json.loads(path.read_text(encoding="utf-8"))
    return {name: {law: Finding(**finding) for law, finding in laws.items()} for name, laws in data.items()}
