"""A run as one HTML file: nothing to load, nothing to run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from reports.blocks import Block, Section
from reports.chart import drawing
from reports.netplot import wired
from reports.plot import plotted
from reports.sections import sections
from theory.verdict import Run

TEMPLATES = Path(__file__).parent / "templates"


def html(run: Run) -> str:
    """The page of a run; the same run gives the same bytes."""
    return page(sections(run))


def page(made: Sequence[Section]) -> str:
    """Sections as a page; the title of the first is the page's."""
    return _environment().get_template("page.html").render(sections=made)


@cache
def _environment() -> Environment:
    loader = FileSystemLoader(TEMPLATES)
    made = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "kind": _kind,
        "breakable": _breakable,
        "printable": printable,
        "drawing": drawing,
        "plotted": plotted,
        "wired": wired,
    }
    return made


def _kind(block: Block) -> str:
    return type(block).__name__.lower()


def _breakable(text: str) -> Markup:
    """Names may be broken after an underscore, a dot or a slash."""
    broken = str(escape(printable(text)))
    for mark in "_./":
        broken = broken.replace(mark, mark + "<wbr>")
    return Markup(broken)


def printable(text: str) -> str:
    """Text without control characters, which a page can't hold."""
    return "".join(c if c.isprintable() or c in "\n\t" or c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text)
