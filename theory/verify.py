"""Verification: pruners held to laws on families of random networks and on full-size models."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from itertools import chain, product

import torch

from pruning.answers import ScoreError
from theory.case import Case
from theory.described import described, provenance, subject_record
from theory.full_size import Model, model_grounds
from theory.law import Law, Subject, kinds_of
from theory.networks.family import Family
from theory.proofs import PROOFS, prove
from theory.proofs.statement import Proof
from theory.search import Budget, Ground, KnownGround, family_ground, search
from theory.sidebyside import Job, Say, side_by_side
from theory.subjects import Subjected
from theory.verdict import MaskRecord, PrecisionRecord, Run, RunRecord, Verdict, Witness
from theory.witness.files import Corpus

DIGITS = 16  # of a digest of masks: enough to tell cases apart

Progress = Callable[[str, int, int], None]  # what is being done; steps done, steps in all
OnVerdict = Callable[[Verdict], None]


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
    precision: list[PrecisionRecord] = []
    done = 0

    def hear(said: str | Verdict | Proof | MaskRecord | PrecisionRecord | None) -> None:
        nonlocal done
        if isinstance(said, Verdict):
            found[said.pruner].append(said)
            on_verdict(said)
        elif isinstance(said, Proof):
            proved[said.id] = said
        elif isinstance(said, MaskRecord):
            masks.append(said)
        elif isinstance(said, PrecisionRecord):
            precision.append(said)
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
        for ground in model_grounds(model, subject, laws.values(), records, hear):
            _check(laws, subject, ground, known, hear)
        hear(None)
    run = Run(
        provenance=provenance(budget, device),
        laws=[described(law) | {"proof": _as_data(proved.get(law.id))} for law in laws.values()],
        pruners=[subject_record(s) for s in subjects],
        verdicts=list(chain.from_iterable(found.values())),
        runs=records,
        masks=sorted(masks, key=lambda m: list(found).index(m.pruner)),
        precision=precision,
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


def _as_data(proof: Proof | None) -> dict[str, object] | None:
    return asdict(proof) if proof else None


def budget_for(examples: int, seed: int, max_params: int | None = None) -> Budget:
    """About `examples` problems per law and family: 8 shapes or more, 40 problems or fewer of each.

    Raises ValueError below 1.
    """
    for name, value, least in (("examples", examples, 1), ("max_params", max_params, 1), ("seed", seed, 0)):
        if value is not None and (not isinstance(value, int) or value < least):
            raise ValueError(f"{name} is {value!r}, wanted at least {least}, a whole number")
    shapes = max(min(8, examples), math.ceil(examples / 40))
    return Budget(shapes, math.ceil(examples / shapes), seed, max_params)
