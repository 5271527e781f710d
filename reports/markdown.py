"""A run as Markdown for a comment or a log: at most 64 KB, failures first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import singledispatch

from reports.blocks import (
    Block,
    Chart,
    Facts,
    Fold,
    Inline,
    Line,
    Net,
    Plot,
    Pre,
    Section,
    Shares,
    Table,
    Text,
    inlines,
)
from reports.sections import sections
from theory.verdict import Run

CAP = 64 * 1024
CELL = 400  # characters of one piece of text
ROWS = (40, 20, 10, 5, 1)  # what long tables are cut to, in turn, the last sections first
LEFT_OUT = "The rest was left out to stay within 64 KB; report.html has everything."


def markdown(run: Run) -> str:
    """The report of a run."""
    return written(sections(run))


def written(parts: Sequence[Section]) -> str:
    """Sections; tables are cut where it would be longer than 64 KB (65,536 bytes of UTF-8), and say so."""
    texts = [_section(part, None) for part in parts]
    for rows in ROWS:
        for i in reversed(range(len(parts))):
            if _size(texts) > CAP:
                texts[i] = _section(parts[i], rows)
    return _fitted("".join(texts))


def _size(texts: list[str]) -> int:
    return sum(len(text.encode()) for text in texts)


def _fitted(text: str) -> str:
    """Text cut after its last whole line that fits."""
    if len(text.encode()) <= CAP:
        return text
    room = CAP - len(LEFT_OUT.encode()) - 4
    lines = text.encode()[:room].decode(errors="ignore").split("\n")[:-1]
    return "\n".join([*lines, "", LEFT_OUT, ""])


def _section(section: Section, rows: int | None) -> str:
    level = "#" if section.order == 0 else "##"
    return f"{level} {_plain(section.title)}\n\n" + "".join(_block(b, rows) for b in section.blocks)


@singledispatch
def _block(block: Block, rows: int | None) -> str:
    raise TypeError(f"no way to write {type(block).__name__} in Markdown")


@_block.register
def _(block: Text, rows: int | None) -> str:
    return _line(block.line) + "\n\n"


@_block.register
def _(block: Pre, rows: int | None) -> str:
    return "".join(f"    {_clipped(line)}\n" for line in block.text.splitlines()) + "\n"


@_block.register
def _(block: Facts, rows: int | None) -> str:
    return "".join(f"- **{_plain(name)}**: {_line(line)}\n" for name, line in block.pairs) + "\n"


@_block.register
def _(block: Shares, rows: int | None) -> str:
    parts = "; ".join(f"{_plain(label)}: {count:,}" for label, _, count in block.parts if count)
    return f"{_plain(block.caption)}: {parts or 'nothing'}.\n\n"


@_block.register
def _(block: Chart, rows: int | None) -> str:
    return f"{_plain(block.caption)}: {_plain(block.text)}\n\n"


@_block.register
def _(block: Plot, rows: int | None) -> str:
    return f"{_plain(block.caption)}: {_plain(block.text)}\n\n"


@_block.register
def _(block: Net, rows: int | None) -> str:
    return ""  # what it draws is written beside it


@_block.register
def _(block: Fold, rows: int | None) -> str:
    return f"### {_line(block.title)}\n\n" + "".join(_block(b, rows) for b in block.blocks)


@_block.register
def _(block: Table, rows: int | None) -> str:
    if block.detail:
        return f"{_plain(block.caption)}: see report.html.\n\n"
    shown = block.rows if rows is None else block.rows[:rows]
    lines = [
        _row(tuple(c.title for c in block.columns)),
        "|" + "|".join("--:" if c.numeric else "---" for c in block.columns) + "|\n",
        *(_row(row) for row in shown),
    ]
    missing = len(block.rows) - len(shown)
    note = f"\n{missing:,} more row{'' if missing == 1 else 's'} left out; report.html has all.\n" if missing else ""
    return f"**{_plain(block.caption)}**\n\n{''.join(lines)}{note}\n"


def _row(cells: tuple[Line, ...]) -> str:
    return "| " + " | ".join(_line(cell) for cell in cells) + " |\n"


def _line(line: Line) -> str:
    return "".join(_inline(part) for part in inlines(line))


def _inline(part: Inline) -> str:
    if isinstance(part, str):
        return _plain(part)
    if part.kind in ("code", "command"):
        return _code(part.text)
    return f"**{_plain(part.text)}**" if part.kind == "refuted" else _plain(part.text)


def _code(text: str) -> str:
    """A code span, where nothing in the text could end it or the cell it may stand in."""
    short = _clipped(text)
    return _plain(short) if not short.strip() or set(short) & set("`|\\") else f"`{short}`"


def _plain(text: str) -> str:
    """Text in which no character means anything to Markdown or HTML."""
    safe = _clipped(text)
    for mark, entity in (
        ("&", "&amp;"),
        ("<", "&lt;"),
        (">", "&gt;"),
        ("|", "&#124;"),
        ("\\", "&#92;"),
        ("@", "&#64;"),
    ):
        safe = safe.replace(mark, entity)
    return re.sub(r"([`*\[\]~#])|(?<![^\W_])_|_(?![^\W_])", lambda m: "\\" + m.group(), safe)


def _clipped(text: str) -> str:
    """One line of printable text of bounded length; leading spaces stay."""
    flat = "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return flat if len(flat) <= CELL else flat[: CELL - 1] + "…"
