"""What a section of a report is made of: plain data, which the HTML page and the Markdown both show."""

from __future__ import annotations

from dataclasses import dataclass

NO_BREAK = "\N{NO-BREAK SPACE}"
NONE = "\N{EN DASH}"  # where there is nothing to say


@dataclass(frozen=True)
class Span:
    """A piece of text that is more than text.

    kind: "code", "command", "note" (smaller), "bar", or one of the statuses of reports.pairs. to: an anchor on
    the page. share: the length of a bar, from 0 to 1.
    """

    text: str
    kind: str = ""
    to: str = ""
    share: float = 0.0


Inline = str | Span
Line = Inline | tuple[Inline, ...]


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    line: Line


@dataclass(frozen=True)
class Pre:
    """Text whose line breaks count."""

    text: str


@dataclass(frozen=True)
class Facts:
    """Names and what goes with them."""

    pairs: tuple[tuple[str, Line], ...]


@dataclass(frozen=True)
class Shares:
    """Counts that make up a whole: (label, status, count), zeros left out."""

    caption: str
    parts: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True)
class Column:
    """The head of a column; numbers are set to the right."""

    title: Line
    numeric: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of cells; the first cell of a row is its head. anchors: one per row, or none at all.

    detail: the Markdown leaves it to the page.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Line, ...], ...]
    anchors: tuple[str, ...] = ()
    detail: bool = False


@dataclass(frozen=True)
class Chart:
    """A share, from 0 to 1, at each of 1, 2, 3 and so on, as a line on a logarithmic scale; 0 has no place on it.

    text: what there is to see, for whoever can't, and for the Markdown. across: what is counted from 1.
    """

    caption: str
    text: str
    across: str
    shares: tuple[float, ...]


@dataclass(frozen=True)
class Curve:
    """A named line of a plot; depth: its place between the first, 0, and the last, 1, of lines that have an order."""

    name: str
    points: tuple[tuple[float, float], ...]
    depth: float


@dataclass(frozen=True)
class Plot:
    """Curves on a logarithmic scale upwards, and across where `log_across`; what is 0 has no place on it.

    text: what there is to see, for whoever can't, and for the Markdown. level: a height to compare with, and its name.
    reach: how far the axis goes across at least.
    """

    caption: str
    text: str
    across: str
    curves: tuple[Curve, ...]
    log_across: bool = True
    level: tuple[float, str] | None = None
    reach: float = 1.0


@dataclass(frozen=True)
class Unit:
    """A unit of a drawn network: what stands beside it, and whether it is what is wrong."""

    label: str
    marked: bool = False


@dataclass(frozen=True)
class Wire:
    """A weight of a drawn network, from a unit of one column to one of the next, and its saliency, where it has one."""

    column: int
    tail: int
    head: int
    weight: str
    score: str


@dataclass(frozen=True)
class Net:
    """A small network, drawn: columns of units from the input to the output, and the weights between them.

    text: what there is to see, for whoever can't, and for the Markdown.
    """

    caption: str
    text: str
    columns: tuple[tuple[Unit, ...], ...]
    wires: tuple[Wire, ...]


@dataclass(frozen=True)
class Fold:
    """Blocks under a title of their own that the reader can fold away."""

    title: Line
    blocks: tuple[Block, ...]
    open: bool = False
    anchor: str = ""


Block = Text | Pre | Facts | Shares | Table | Chart | Plot | Net | Fold


@dataclass(frozen=True)
class Section:
    """A titled part of a report; those of a lower order come first."""

    title: str
    anchor: str
    order: int
    blocks: tuple[Block, ...]


def inlines(line: Line) -> tuple[Inline, ...]:
    """The pieces of a line."""
    return line if isinstance(line, tuple) else (line,)


def joined(parts: list[Inline], by: str = ", ") -> Line:
    """Pieces in one line, with `by` between them; a dash where there are none."""
    return tuple(p for part in parts for p in (by, part))[1:] if parts else NONE
