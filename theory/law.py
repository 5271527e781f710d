"""Law: a statement about a case that yields balances; it measures, it never judges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from pruning.pruner import Claim
from theory.case import Case
from theory.networks.spec import NetSpec
from theory.numerics import Bound
from theory.subjects import Stepper, Subjected, the_loss
from theory.traits import Trait


class Subject(StrEnum):
    """What a law is about: the first two are checked for each pruner, the others once."""

    SCORES = "scores"
    TRACE = "trace"
    OBJECTIVE = "objective"
    MODULE = "module"
    STEP = "step"


def kinds_of(subject: Subjected) -> set[Subject]:
    """What laws about a subject are about."""
    if isinstance(subject, Stepper):
        return {Subject.STEP}
    return {Subject.OBJECTIVE, Subject.MODULE} if subject is the_loss else {Subject.SCORES, Subject.TRACE}


class Grade(StrEnum):
    """How strong the evidence is, strongest first; a proof is of a law, the others are of balances."""

    PROVED = "proved"  # an identity in all weights of small shapes, expanded by sympy
    EXACT = "exact"  # ==, every number on the way certified to be representable
    ROUNDED = "rounded"  # a rounding bound derived for this law
    ORDER = "order"  # the residual must fall with the precision


@dataclass(frozen=True)
class Balances:
    """Equations (or inequalities left <= right) of one kind: tensors are (batch, unit).

    bound None leaves the judgement to the order test. scale is what residuals and vacuity are
    measured by: the sum of the absolute terms; where it is 0 nothing was checked. label says where
    in words, and is only called for a failure.
    """

    name: str
    left: Tensor
    right: Tensor
    bound: Bound | None
    scale: Tensor
    at_most: bool
    label: Callable[[int, int], str]

    @property
    def residual(self) -> Tensor:
        """By how much each balance is off."""
        gap = self.left - self.right
        return gap.clamp(min=0) if self.at_most else gap.abs()


def equal(
    name: str,
    left: Tensor,
    right: Tensor,
    *,
    bound: Bound | None = None,
    scale: Tensor | None = None,
    label: Callable[[int, int], str] | None = None,
) -> Balances:
    """left = right, entry by entry."""
    return _balances(name, left, right, bound, scale, False, label)


def at_most(
    name: str,
    left: Tensor,
    right: Tensor,
    *,
    bound: Bound | None = None,
    scale: Tensor | None = None,
    label: Callable[[int, int], str] | None = None,
) -> Balances:
    """left <= right, entry by entry."""
    return _balances(name, left, right, bound, scale, True, label)


def none_of(name: str, count: Tensor, label: Callable[[int, int], str], looked: Tensor | None = None) -> Balances:
    """A count of faults that must be 0; every count is a check, or those where `looked` is true."""
    scale = torch.ones_like(count) if looked is None else looked.expand_as(count).to(count)
    return equal(name, count, torch.zeros_like(count), bound=counted(count), scale=scale, label=label)


def counted(like: Tensor) -> Bound:
    """No tolerance: for counts, and for bits that no operation rounds."""
    return Bound(torch.zeros_like(like, dtype=torch.float64), torch.ones(len(like), dtype=torch.bool))


def _balances(
    name: str,
    left: Tensor,
    right: Tensor,
    bound: Bound | None,
    scale: Tensor | None,
    inequality: bool,
    label: Callable[[int, int], str] | None,
) -> Balances:
    if left.shape != right.shape or left.dim() != 2:
        raise ValueError(
            f"the balances {name!r} have left {tuple(left.shape)} and right {tuple(right.shape)}, wanted (batch, unit)"
        )
    sign = "is more than" if inequality else "is not"
    where = label or (lambda b, u: f"{name}: " + f" {sign} ".join(told(left[b, u], right[b, u])))
    size = left.abs() + right.abs() if scale is None else scale
    return Balances(name, left, right, bound, size, inequality, where)


def told(first: Tensor, second: Tensor) -> tuple[str, str]:
    """Two numbers in six digits, or in as many as it takes to tell them apart."""
    a, b = float(first) + 0, float(second) + 0  # + 0: no minus before a zero
    short = told_number(a), told_number(b)
    return short if short[0] != short[1] else (repr(a), repr(b))


def told_number(number: float) -> str:
    """A number in six digits."""
    return f"{number + 0:.6g}"


Measure = Callable[[Case], Iterable[Balances]]


@dataclass(frozen=True)
class Folklore:
    """What is often said in place of a law and is false: a statement, measured as a law is.

    breaks_on: a correct subject, and a smallest network that shows it.
    """

    statement: str
    measure: Measure
    breaks_on: tuple[Subjected, NetSpec]


def folklore(subject: Subjected, spec: NetSpec) -> Callable[[Measure], Folklore]:
    """Make folklore of a function that yields balances; its docstring's first line is what is said."""

    def made(measure: Measure) -> Folklore:
        said = (measure.__doc__ or "").strip().split("\n")[0]
        if not said:
            raise ValueError(f"the folklore {measure.__name__} has no docstring to say it")
        return Folklore(said, measure, (subject, spec))

    return made


@dataclass(frozen=True)
class Law:
    """A statement with its hypotheses, its source, and what it must be able to catch.

    id: the number in the catalogue. claim: the promise it tests; None is a contract, which binds
    every pruner. needs: traits of the network; `local` laws check the units where they hold, others
    need them everywhere. given: claims without which the statement makes no sense. impostor: a
    subject that breaks it; breaks_on: a correct subject and a network outside the hypotheses;
    one_by_one: it takes problems singly, as every law about runs does, so fewer are drawn. corrects: what is often
    said in its place.
    """

    id: str
    name: str
    statement: str
    measure: Measure
    subject: Subject
    claim: Claim | None
    needs: frozenset[Trait]
    given: frozenset[Claim]
    needs_objective: bool
    local: bool
    source: str
    impostor: Subjected
    breaks_on: tuple[Subjected, NetSpec] | None
    grades: tuple[Grade, ...]
    one_by_one: bool
    corrects: tuple[Folklore, ...] = ()


def law(
    id: str,
    *,
    subject: Subject,
    claim: Claim | None,
    source: str,
    impostor: Subjected,
    grades: Iterable[Grade],
    needs: Iterable[Trait] = (),
    given: Iterable[Claim] = (),
    needs_objective: bool = False,
    local: bool = False,
    breaks_on: tuple[Subjected, NetSpec] | None = None,
    one_by_one: bool = False,
    corrects: Iterable[Folklore] = (),
) -> Callable[[Measure], Law]:
    """Make a law of a function that yields balances; its docstring's first line is the statement.

    Raises ValueError where a hypothesis on the network (HOMOGENEOUS, MULTILINEAR) has no `breaks_on`.
    """

    def made(measure: Measure) -> Law:
        statement = (measure.__doc__ or "").strip().split("\n")[0]
        if not statement:
            raise ValueError(f"law {id} has no docstring to state it")
        needed = frozenset(needs)
        if needed & {Trait.HOMOGENEOUS, Trait.MULTILINEAR, Trait.CHAIN} and breaks_on is None:
            raise ValueError(f"law {id} has hypotheses and no network outside them that breaks it")
        return Law(
            id,
            measure.__name__,
            statement,
            measure,
            subject,
            claim,
            needed,
            frozenset(given),
            needs_objective,
            local,
            source,
            impostor,
            breaks_on,
            tuple(grades),
            one_by_one or subject is Subject.TRACE,
            tuple(corrects),
        )

    return made


def laws_in(module: object) -> Iterator[Law]:
    """Every law that a module holds."""
    return (value for value in vars(module).values() if isinstance(value, Law))
