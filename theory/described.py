"""Described: laws, subjects and where a run comes from, as plain data for records and lists."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import torch

from theory.law import Grade, Law
from theory.measured.scope import families_of
from theory.proofs import PROOFS
from theory.search import Budget
from theory.subjects import Stepper, Subjected


def described(law: Law) -> dict[str, object]:
    """A law as data: what `list --laws --json` and the report show."""
    grades = [Grade.PROVED] * (law.id in PROOFS) + list(law.grades)
    return {
        "id": law.id,
        "name": law.name,
        "statement": law.statement,
        "source": law.source,
        "subject": law.subject.value,
        "claim": law.claim.value if law.claim else None,
        "needs": sorted(trait.value for trait in law.needs),
        "given": sorted(claim.value for claim in law.given),
        "grades": [grade.value for grade in grades],
        "impostor": law.impostor.name,
        "families": families_of(law.name),
        "folklore": "; ".join(f"{said.statement} Breaks on {said.breaks_on[1].brief}" for said in law.corrects) or None,
    }


def subject_record(subject: Subjected) -> dict[str, object]:
    """A pruner or stepper as data: name, claims, whether it has an objective, rounds."""
    return {
        "name": subject.name,
        "claims": sorted(claim.value for claim in subject.claims),
        "objective": isinstance(subject, Stepper) or subject.objective is not None,
        "rounds": 0 if isinstance(subject, Stepper) else subject.rounds,
    }


def machine(device: torch.device) -> dict[str, str]:
    """What a run was made with: versions and machine."""
    try:
        own = version("prunelaws")
    except PackageNotFoundError:
        own = "not installed"
    return {
        "prunelaws": own,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "threads": str(torch.get_num_threads()),
    }


def provenance(budget: Budget, device: torch.device) -> dict[str, str]:
    """What decides the numbers of a run: versions, machine, precision, seed and budget."""
    return {
        **machine(device),
        "precision": "float64; float32 beside it for the order test",
        "normalisation": "evaluation mode as one scale and shift per channel; neutral for data-free scores",
        "seed": str(budget.seed),
        "networks per law and family": f"{budget.shapes} shapes x {budget.problems} problems",
    }
