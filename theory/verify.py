"""Verification: pruners held to laws on families of random networks and on full-size models."""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import chain, product

import torch

from pruning.answers import ScoreError
from pruning.engine import Trace, prune
from pruning.network import Network
from pruning.problem import Problem
from pruning.pruner import Claim, Pruner
from pruning.schedule import exponential
from theory.case import Case
from theory.law import Grade, Law, Subject, kinds_of
from theory.measured.scope import families_of
from theory.networks.batch import Batch
from theory.networks.family import Family
from theory.proofs import PROOFS, prove
from theory.proofs.statement import Proof
from theory.search import Budget, Ground, KnownGround, family_ground, search
from theory.sidebyside import Job, Say, side_by_side
from theory.subjects import Stepper, Subjected
from theory.verdict import MaskRecord, Run, RunRecord, Verdict, Witness
from theory.witness.files import Corpus

FULL_COMPRESSION = 10_000  # a model is pruned to this, or to one weight per layer where that comes first
DIGITS = 16  # of a digest of masks: enough to tell cases apart
CHECKPOINTS = 4  # the laws of scores are checked before the first round, those of ALONG_A_RUN after each quarter

# what the theory says of every round; the other laws are checked before the first
ALONG_A_RUN = frozenset({Claim.NEURON_CONSERVED, Claim.LAYER_CONSERVED, Claim.POSITIVE, Claim.ZERO_WHEN_MASKED})

Progress = Callable[[str, int, int], None]  # what is being done; steps done, steps in all
OnVerdict = Callable[[Verdict], None]


@dataclass(frozen=True)
class Model:
    """A full-size network to verify on: its name, and the problem in the precision and on the device to use.

    rounds: of the run; None is what each pruner has as published.
    """

    name: str
    problem: Problem
    rounds: int | None = None

    @property
    def network(self) -> Network:
        """The network of the problem."""
        return self.problem.network

    def keep(self) -> int:
        """Weights that the run ends with."""
        total = sum(w.numel() for w in self.network.weights.values())
        return max(len(self.network.weights), round(total / FULL_COMPRESSION))


def verify(
    subjects: Sequence[Subjected],
    laws: Mapping[str, Law],
    families: Sequence[Family],
    models: Sequence[Model],
    budget: Budget,
    corpus: Corpus,
    device: torch.device,
    progress: Progress,
    on_verdict: OnVerdict,
    proofs: bool = False,
    workers: int = 0,
) -> Run:
    """Check every law for every subject on every family, and along each pruner's run of every model.

    `proofs` has the laws proved as well. A witness that a subject has on one family serves it on the others as
    the corpus does. Nothing is printed; `progress` and `on_verdict` are told what happens. Families are checked for
    `workers` subjects at once, each in a process of its own; 0 does it here. What is found does not depend on it.
    """
    about = {kind for subject in subjects for kind in kinds_of(subject)}
    laws = {name: law for name, law in laws.items() if law.subject in about}
    steps = len(subjects) * (len(families) + len(models))
    found: dict[str, list[Verdict]] = {subject.name: [] for subject in subjects}
    proved: dict[str, Proof] = {}
    masks: list[MaskRecord] = []
    done = 0

    def hear(said: str | Verdict | Proof | MaskRecord | None) -> None:
        nonlocal done
        if isinstance(said, Verdict):
            found[said.pruner].append(said)
            on_verdict(said)
        elif isinstance(said, Proof):
            proved[said.id] = said
        elif isinstance(said, MaskRecord):
            masks.append(said)
        elif said is None:  # with that subject on that place
            done += 1
        else:
            progress(said, done, steps)

    jobs: dict[str, Job] = {
        s.name: partial(_on_families, s, laws, families, budget, corpus, device) for s in _longest_first(subjects, laws)
    }
    if proofs:
        jobs["the proofs"] = partial(_proving, [law for law in laws.values() if law.id in PROOFS])
    side_by_side(jobs, workers if device.type == "cpu" else 0, hear)
    records: list[RunRecord] = []
    for subject, model in product(subjects, models):
        known = dict(corpus) | {(v.law, v.pruner): v.witness for v in found[subject.name] if v.witness}
        for ground in _model_grounds(model, subject, laws.values(), records, hear):
            _check(laws, subject, ground, known, hear)
        hear(None)
    run = Run(
        provenance=provenance(budget, device),
        laws=[described(law) | {"proof": _as_data(proved.get(law.id))} for law in laws.values()],
        pruners=[subject_record(s) for s in subjects],
        verdicts=list(chain.from_iterable(found.values())),
        runs=records,
        masks=sorted(masks, key=lambda m: list(found).index(m.pruner)),
    )
    progress("done", steps, steps)
    return run


def _longest_first(subjects: Sequence[Subjected], laws: Mapping[str, Law]) -> list[Subjected]:
    """By the number of laws about each, so that no long job is left for last."""
    return sorted(subjects, key=lambda s: -sum(law.subject in kinds_of(s) for law in laws.values()))


def _on_families(
    subject: Subjected,
    laws: Mapping[str, Law],
    families: Sequence[Family],
    budget: Budget,
    corpus: Corpus,
    device: torch.device,
    say: Say,
) -> None:
    known = dict(corpus)
    with one_thread():
        _check(laws, subject, KnownGround(subject, corpus, device), known, say)
    for family in families:
        say(f"{subject.name} on {family.name}")
        with one_thread():
            ground = family_ground(family, subject, budget, device)
            _check(laws, subject, ground, known, say)
            if any(law.subject is Subject.TRACE for law in laws.values()) and Subject.TRACE in kinds_of(subject):
                say(MaskRecord(subject.name, family.name, [_digest(case) for case in ground.runs]))
        say(None)


def _digest(case: Case) -> str:
    """Of every weight's round of removal, in every run of a case; or why there is no run."""
    try:
        traces = [trace for runs in case.traces for trace in runs]
    except ScoreError as error:
        return f"no run: {error}"
    seen = hashlib.sha256()
    for trace in traces:
        for name, died in trace.died.items():
            seen.update(f"{name}{tuple(died.shape)}".encode() + died.cpu().contiguous().numpy().tobytes())
    return seen.hexdigest()[:DIGITS]


def _proving(laws: Sequence[Law], say: Say) -> None:
    for law in laws:
        say(f"proving {law.name}")
        say(prove(law.id))


def _check(
    laws: Mapping[str, Law], subject: Subjected, ground: Ground, known: dict[tuple[str, str], Witness], say: Say
) -> None:
    """Every law that suits a ground; what is known grows by each witness."""
    for law in laws.values():
        if law.subject not in kinds_of(subject) or not ground.suits(law):
            continue
        say(f"{subject.name} on {ground.name}: {law.name}")
        verdict = search(law, subject, ground, known)
        if verdict.witness:
            known[verdict.law, verdict.pruner] = verdict.witness
        say(verdict)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread while tensors are tiny: waiting for a second one costs more than it saves."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _model_grounds(
    model: Model, subject: Subjected, laws: Iterable[Law], records: list[RunRecord], say: Say
) -> Iterator[Ground]:
    """The run as a whole, then the network before it and at each checkpoint; made one after the other.

    Where no law looks along a run, none is made.
    """
    batch = batch_of_model(model)
    generic = any(bool((w != w.round()).any()) for w in batch.weights.values())
    masks = {n: m[None] for n, m in model.network.initial.items()}
    start = Case.under(subject, batch, masks=masks, generic=generic)
    along = any(law.subject is Subject.TRACE or law.claim in ALONG_A_RUN for law in laws)
    if isinstance(subject, Stepper) or Subject.TRACE not in kinds_of(subject) or not along:
        yield Ground(model.name, [start], [start])
        return
    try:
        run = _run(model, subject, say)
    except ScoreError as error:
        yield Ground(model.name, [start], [start], [replace(start, fault=str(error))])
        return
    records.append(_record(model, subject, run))
    yield Ground(f"{model.name}, {_rounds(run.rounds)}", runs=[replace(start, run=run)])
    marks = sorted({round(run.rounds * i / CHECKPOINTS) for i in range(CHECKPOINTS + 1)})
    for mark in marks:
        masks = {n: m[None] for n, m in run.masks_at(mark).items()}
        only = ALONG_A_RUN if mark else None
        case = replace(start, masks=masks)
        yield Ground(f"{model.name}, round {mark} of {run.rounds}", [case], [case], only=only)


def _run(model: Model, pruner: Pruner, say: Say) -> Trace:
    total = model.network.initial.total
    rounds = model.rounds or pruner.rounds
    schedule = exponential(total, min(model.keep(), model.network.initial.kept), rounds)
    return prune(
        model.problem,
        pruner,
        schedule,
        lambda round_, kept: say(f"{pruner.name} on {model.name}: round {round_} of {rounds}, {kept:,} kept"),
    )


def batch_of_model(model: Model) -> Batch:
    """A model's problem as a batch of one; no number is copied."""
    network, data = model.network, model.problem.batch
    return Batch(
        network=network,
        weights={n: t[None] for n, t in network.weights.items()},
        fixed={n: t[None] for n, t in network.fixed.items()},
        neutral={n: t[None] for n, t in network.neutral.items()},
        inputs=data[0][None] if data else None,
        targets=data[1][None] if data else None,
        loss=model.problem.loss,
        seed=model.problem.seed,
        shape=None,
    )


def _record(model: Model, pruner: Pruner, run: Trace) -> RunRecord:
    return RunRecord(
        pruner=pruner.name,
        model=model.name,
        schedule=f"exponential, {_rounds(run.rounds)}",
        layers=list(run.layers),
        sizes=[w.numel() for w in model.network.weights.values()],
        targets=list(run.targets),
        kept=run.kept.tolist(),
        mass=run.mass.tolist(),
        cut=run.cut.tolist(),
        digest=run.masks.digest(),
    )


def _rounds(count: int) -> str:
    return f"{count} round" + "s" * (count != 1)


def _as_data(proof: Proof | None) -> dict[str, object] | None:
    return asdict(proof) if proof else None


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
        "folklore": f"{law.folklore.statement} Breaks on {law.folklore.breaks_on[1]}" if law.folklore else None,
    }


def subject_record(subject: Subjected) -> dict[str, object]:
    """A pruner or stepper as data: name, claims, whether it has an objective, rounds."""
    return {
        "name": subject.name,
        "claims": sorted(claim.value for claim in subject.claims),
        "objective": isinstance(subject, Stepper) or subject.objective is not None,
        "rounds": 0 if isinstance(subject, Stepper) else subject.rounds,
    }


def provenance(budget: Budget, device: torch.device) -> dict[str, str]:
    """What decides the numbers of a run: versions, machine, precision, seed and budget."""
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
        "precision": "float64; float32 beside it for the order test",
        "normalisation": "evaluation mode as one scale and shift per channel; neutral for data-free scores",
        "seed": str(budget.seed),
        "networks per law and family": f"{budget.shapes} shapes x {budget.problems} problems",
    }


def budget_for(examples: int, seed: int, max_params: int | None = None) -> Budget:
    """About `examples` problems per law and family: 8 shapes or more, 40 problems or fewer of each.

    Raises ValueError below 1.
    """
    for name, value, least in (("examples", examples, 1), ("max_params", max_params, 1), ("seed", seed, 0)):
        if value is not None and (not isinstance(value, int) or value < least):
            raise ValueError(f"{name} is {value!r}, wanted at least {least}, a whole number")
    shapes = max(min(8, examples), math.ceil(examples / 40))
    return Budget(shapes, math.ceil(examples / shapes), seed, max_params)
