"""Statement: a law as identities of polynomials; Proof: what was expanded to show it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from theory.proofs.graph import Shape, patterns
from theory.proofs.symbolic import Network, Poly, network

TRUSTED = (
    "sympy's polynomials and derivatives; that autograd differentiates the same polynomial is what the other "
    "grades check"
)


@dataclass(frozen=True)
class Identity:
    """left = right for all values of the symbols, or left <= right for all nonnegative ones.

    clear: what makes a polynomial of the gap where the sides are none: it multiplies by denominators.
    """

    name: str
    left: Poly
    right: Poly
    at_most: bool = False
    clear: Callable[[Any], Poly] = field(default=lambda gap: gap, repr=False)

    @property
    def is_trivial(self) -> bool:
        """Whether it says no more than 0 = 0."""
        return not self.left and not self.right

    @property
    def gap(self) -> Poly:
        """right - left, expanded."""
        return self.clear(self.right - self.left)

    @property
    def holds(self) -> bool:
        """Whether the gap expands to 0 or, for an inequality, to terms with nonnegative coefficients."""
        gap = self.gap
        if not (self.at_most and gap):
            return not gap
        return gap >= 0 if isinstance(gap, int) else all(c >= 0 for c in gap.coeffs())


Measure = Callable[..., Iterator[Identity]]
Build = Callable[[Any], Iterable[Any]]


@dataclass(frozen=True)
class Statement:
    """A law, the shapes it is proved on, and wrong versions of it that must not be provable.

    build: the instances of a shape, one per pattern. wrong: per name, what replaces an argument of the
    measure (a score, an objective, a step, a formula) or the shapes.
    """

    id: str
    name: str
    text: str
    source: str
    measure: Measure
    shapes: tuple[Any, ...]
    build: Build
    wrong: Mapping[str, Mapping[str, Any]]

    def identities(
        self, shapes: Iterable[Any] | None = None, build: Build | None = None, **subject: Any
    ) -> Iterator[tuple[Any, Any, Identity]]:
        """(shape, instance, identity) for each; `subject` replaces what the law is about."""
        for shape in self.shapes if shapes is None else shapes:
            for instance in (build or self.build)(shape):
                for identity in self.measure(instance, **subject):
                    yield shape, instance, identity

    def gaps(self, wrong: str) -> Iterator[tuple[Any, Any, Identity]]:
        """The (shape, instance, identity) of a wrong version that do not expand to 0."""
        return (found for found in self.identities(**self.wrong[wrong]) if not found[2].holds)


@dataclass(frozen=True)
class Proof:
    """What was expanded: shapes in words, patterns, identities with something to say, and those that read 0 = 0."""

    id: str
    text: str
    shapes: tuple[str, ...]
    patterns: int
    identities: int
    trivial: int
    trusted: str = TRUSTED


def proof_of(statement: Statement) -> Proof:
    """Expand every identity of a statement; ValueError names the first that fails, or says that all read 0 = 0."""
    seen, counts = 0, [0, 0]
    for shape in statement.shapes:
        for instance in statement.build(shape):
            seen += 1
            for identity in statement.measure(instance):
                if not identity.holds:
                    raise ValueError(f"{statement.id} is not proved on {shape}: {identity.name} leaves {identity.gap}")
                counts[identity.is_trivial] += 1
    if not counts[False]:
        raise ValueError(f"{statement.id} is not proved: every identity reads 0 = 0")
    shapes = tuple(str(shape) for shape in statement.shapes)
    return Proof(statement.id, statement.text, shapes, seen, counts[False], counts[True])


def states(
    id: str,
    *,
    source: str,
    shapes: Iterable[Any],
    build: Build,
    wrong: Mapping[str, Mapping[str, Any]],
) -> Callable[[Measure], Statement]:
    """Make a statement of a function that yields identities for one instance; its docstring opens with its text."""

    def made(measure: Measure) -> Statement:
        text = (measure.__doc__ or "").strip().split("\n")[0]
        if not text or not wrong:
            raise ValueError(f"the statement {id} needs a docstring and a wrong version")
        return Statement(id, measure.__name__, text, source, measure, tuple(shapes), build, wrong)

    return made


def networks(*, active: bool = False, **asked: Any) -> Build:
    """A network for every pattern of a shape; `asked` goes to `network`.

    active: only the patterns with every gate open, which are all there are where weights and inputs are nonnegative.
    """

    def build(shape: Shape) -> Iterator[Network]:
        return (network(shape, pattern, **asked) for pattern in patterns(shape, active=active))

    return build


def statements_in(module: object) -> Iterator[Statement]:
    """Every statement that a module holds."""
    return (value for value in vars(module).values() if isinstance(value, Statement))
