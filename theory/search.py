"""The driver: a law and a subject on a ground of cases become a verdict, with a small network that shows a failure."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch

from pruning.answers import ScoreError
from pruning.pruner import Claim, Pruner
from theory.case import Case
from theory.judge import Failure, Judgement, judge, out_of_scope
from theory.law import Folklore, Law, Subject
from theory.networks.family import Family, examples
from theory.networks.spec import NetSpec
from theory.subjects import Subjected
from theory.traits import Trait
from theory.verdict import Outcome, Verdict, Witness
from theory.witness.files import Corpus
from theory.witness.minimise import TRIES, minimise

KNOWN = "networks known to break it"
SINGLE_PROBLEMS = 1  # of each shape, for laws that take problems one by one


@dataclass(frozen=True)
class Budget:
    """How much to check: shapes per family, problems of each shape, the seed that decides them, and the most weights.

    max_params: shapes with more weights are passed over; None takes them all.
    """

    shapes: int = 10
    problems: int = 32
    seed: int = 0
    max_params: int | None = None


class Ground:
    """Cases of one kind for one subject, made once and shared by all laws."""

    def __init__(
        self,
        name: str,
        cases: Iterable[Case] = (),
        singly: Iterable[Case] = (),
        runs: Iterable[Case] = (),
        only: frozenset[Claim] | None = None,
    ) -> None:
        self.name = name
        self._cases, self._singly, self.runs, self._only = list(cases), list(singly), list(runs), only

    def cases(self, law: Law) -> list[Case]:
        """The cases for a law: fewer problems of each shape where it takes them one by one."""
        if law.subject is Subject.TRACE:
            return self.runs
        return self._singly if law.one_by_one else self._cases

    def suits(self, law: Law) -> bool:
        """Whether there is any case for a law, and it tests one of the claims looked at here."""
        wanted = self._only is None or (law.claim in self._only and law.subject is Subject.SCORES)
        return wanted and bool(self.cases(law))


class KnownGround(Ground):
    """The networks on which somebody's pruner broke a law, one by one: tried on every pruner before any search."""

    def __init__(self, subject: Subjected, corpus: Corpus, device: torch.device | None = None) -> None:
        super().__init__(KNOWN)
        self._subject, self._corpus, self._device = subject, dict(corpus), device

    def cases(self, law: Law) -> list[Case]:
        """A case for each network that the corpus has for the law."""
        specs = (NetSpec.from_json(w.spec) for (name, _), w in self._corpus.items() if name == law.name)
        generic = Trait.GENERIC in law.needs
        return [Case.under(self._subject, s.batch().to(device=self._device), generic=generic) for s in specs]


def family_ground(family: Family, subject: Subjected, budget: Budget, device: torch.device | None = None) -> Ground:
    """Random networks of a family; they are drawn on the CPU, so that every device sees the same."""
    drawn = examples(family, budget.shapes, budget.seed)

    def cases(problems: int) -> list[Case]:
        batches = (family.batch(shape, seed, problems).to(device=device) for shape, seed in drawn)
        made = (Case.under(subject, batch, generic=family.generic) for batch in batches)
        return [case for case in made if budget.max_params is None or case.total <= budget.max_params]

    few = cases(min(SINGLE_PROBLEMS, budget.problems))
    return Ground(family.name, cases(budget.problems), few, few)


def search(law: Law, subject: Subjected, ground: Ground, corpus: Corpus | None = None) -> Verdict:
    """Check a law on every case of a ground until one breaks it, and make that small.

    Networks that the corpus has for this law are tried first: one that breaks it here too needs no minimising.
    """
    start = time.perf_counter()
    tally = _Tally()
    for case in ground.cases(law):
        found = tally.add(law, case)
        if found is not None:
            witness = None
            if case.batch.shape is not None:
                witness = _replayed(law, subject, corpus or {}) or _witness(law, case, found)
            return tally.verdict(law, subject, ground.name, start, found, witness)
    return tally.verdict(law, subject, ground.name, start, None, None)


def fails(law: Law, ground: Ground) -> Failure | None:
    """The first failure of a law on a ground, as it is: no witness is made."""
    tally = _Tally()
    return next((found for case in ground.cases(law) if (found := tally.add(law, case))), None)


class _Tally:
    def __init__(self) -> None:
        self.cases = self.trivial = self.out_of_scope = self.balances = self.looped = 0
        self.grades: Counter[str] = Counter()
        self.margin: float | None = None
        self.gain: float | None = None
        self.reasons: Counter[str] = Counter()
        self.unseen: str | None = None

    def add(self, law: Law, case: Case) -> Failure | None:
        """Judge one case; the failure found, if any."""
        reason = out_of_scope(law, case)
        judgement, looped = None, case.looped
        if reason is None:
            try:
                judgement = judge(law, case)
                reason = _silence(case) if judgement is None else None
            except ScoreError as error:
                reason = f"no usable scores: {error}"
        if judgement is None:
            self.out_of_scope += case.batch.size
            self.reasons[reason or ""] += 1
            return None
        self._count(judgement, case)
        self.unseen = self.unseen or judgement.unseen
        self.looped += case.looped - looped  # the case goes on counting from law to law
        return judgement.worst

    def _count(self, judgement: Judgement, case: Case) -> None:
        live = int(judgement.live.sum())
        self.cases += live
        self.trivial += case.batch.size - live
        self.balances += judgement.balances
        self.grades += judgement.grades
        for name, pick in (("margin", max), ("gain", min)):
            new, old = getattr(judgement, name), getattr(self, name)
            setattr(self, name, new if old is None else old if new is None else pick(new, old))

    def verdict(
        self, law: Law, subject: Subjected, ground: str, start: float, failure: Failure | None, witness: Witness | None
    ) -> Verdict:
        if failure is not None:
            outcome = Outcome.BROKEN
        elif self.cases:
            outcome = Outcome.HELD
        else:
            outcome = Outcome.VACUOUS if self.trivial else Outcome.OUT_OF_SCOPE
        return Verdict(
            law=law.name,
            id=law.id,
            pruner=subject.name,
            ground=ground,
            outcome=outcome,
            claim=law.claim.value if law.claim else None,
            claimed=law.claim in subject.claims,
            contract=law.claim is None,
            cases=self.cases,
            trivial=self.trivial,
            out_of_scope=self.out_of_scope,
            balances=self.balances,
            grades={k: n for k, n in sorted(self.grades.items()) if n},
            margin=self.margin,
            gain=self.gain,
            looped=self.looped,
            witness=witness,
            where=witness.where if witness else failure.where if failure else None,
            reason=self._reason(outcome),
            seconds=round(time.perf_counter() - start, 3),
        )

    def _reason(self, outcome: Outcome) -> str | None:
        if outcome is Outcome.VACUOUS:
            return self.unseen
        return self.reasons.most_common(1)[0][0] if self.reasons else None


def _silence(case: Case) -> str:
    """Why a law in scope yielded nothing."""
    if case.has_sources and case.pruner.objective is None:
        return "the flow of biases is unknown without an objective"
    return "there is nothing here that it speaks of"


def _failure(law: Law, spec: NetSpec, subject: Subjected, generic: bool) -> Failure | None:
    """How a law fails on one literal problem; None where it holds, says nothing or can't be scored."""
    try:
        case = Case.under(subject, spec.batch(), generic=generic)
    except ValueError:  # nothing prunable is left of it
        return None
    if out_of_scope(law, case) is not None:
        return None
    try:
        judgement = judge(law, case)
    except ScoreError:
        return None
    return judgement.worst if judgement else None


def _witness(law: Law, case: Case, failure: Failure) -> Witness | None:
    """The failing problem, minimised, and run once more from its own text; None if it can't be shown alone."""
    generic = Trait.GENERIC in law.needs
    first = NetSpec.of(case.batch, failure.index)
    if _failure(law, first, case.subject, generic) is None:
        return None
    small = minimise(
        first,
        lambda spec: _failure(law, spec, case.subject, generic) is not None,
        whole_numbers=not generic,
        tries=TRIES if law.claim is None or law.claim in case.subject.claims else TRIES // 2,  # contrast is no failure
    )
    again = NetSpec.from_json(json.loads(json.dumps(small.to_json())))
    confirmed = _failure(law, again, case.subject, generic)
    if confirmed is None:
        return None
    return _recorded(law, case.subject, again, str(first.shape), confirmed)


def _recorded(law: Law, subject: Subjected, spec: NetSpec, origin: str, failure: Failure) -> Witness:
    return Witness(
        law=law.name,
        pruner=subject.name,
        spec=spec.to_json(),
        network=str(spec),
        shape=str(spec.shape),
        minimised_from=origin,
        where=failure.where,
        left=failure.left,
        right=failure.right,
        relation=failure.relation,
        scores=_scores(subject, spec),
    )


def _scores(subject: Subjected, spec: NetSpec) -> dict[str, object] | None:
    """What a pruner scores the weights of a literal problem."""
    if not isinstance(subject, Pruner) or subject.score is None:
        return None
    try:
        return {n: s[0].tolist() for n, s in Case.under(subject, spec.batch()).scores.items()}
    except ScoreError:
        return None


def _replayed(law: Law, subject: Subjected, corpus: Corpus) -> Witness | None:
    """A network of the corpus that breaks the law for this subject as well; the subject's own is tried first."""
    candidates = [w for (name, _), w in corpus.items() if name == law.name]
    for old in sorted(candidates, key=lambda w: w.pruner != subject.name):
        failure = rerun(old, law, subject)
        if failure is not None:
            origin = old.minimised_from if old.pruner == subject.name else old.shape
            return _recorded(law, subject, NetSpec.from_json(old.spec), origin, failure)
    return None


def replay(witness: Witness, law: Law, subject: Subjected) -> Verdict:
    """The verdict on a witness alone, run from its own text; `where` says how it fails now."""
    case = Case.under(subject, NetSpec.from_json(witness.spec).batch(), generic=Trait.GENERIC in law.needs)
    tally, start = _Tally(), time.perf_counter()
    failure = tally.add(law, case)
    return tally.verdict(law, subject, "witness", start, failure, None)


def rerun(witness: Witness, law: Law, subject: Subjected) -> Failure | None:
    """The failure that a witness shows now, if any."""
    return _failure(law, NetSpec.from_json(witness.spec), subject, Trait.GENERIC in law.needs)


def breaks_outside(law: Law) -> Failure | None:
    """The failure of a law's correct subject on its network outside the hypotheses."""
    if law.breaks_on is None:
        return None
    subject, spec = law.breaks_on
    judgement = judge(law, Case.under(subject, spec.batch(), outside=True))
    return judgement.worst if judgement else None


def refutes(law: Law, said: Folklore) -> Failure | None:
    """How a piece of folklore that a law corrects fails on its network."""
    subject, spec = said.breaks_on
    judgement = judge(replace(law, measure=said.measure), Case.under(subject, spec.batch(), outside=True))
    return judgement.worst if judgement else None
