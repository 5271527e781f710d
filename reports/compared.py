"""Compared: a comparison of two runs in words, for a terminal and as sections of a report."""

from __future__ import annotations

from reports.blocks import Column, Facts, Section, Span, Table, Text
from reports.comparison import MARGIN, Change, Comparison
from reports.pairs import counted
from theory.verdict import Run

KINDS = {  # what is shown, worst first
    "refuted": "Newly refuted: a pruner is held to it, and it is broken now",
    "broken": "Newly broken, and not claimed",
    "lost": "No longer checked: there was something to check, and there is not now",
    "withdrawn": "Claims that are made no more",
    "margins": f"Margins lost: at least {MARGIN} times as close to the bound",
    "masks": "Other weights are kept",
    "held": "Newly held",
    "unlike": "Settings that differ: verdicts are not quite comparable",
}
SLOWEST = 10  # laws whose time is shown


def sections_of(found: Comparison, old: Run, new: Run) -> list[Section]:
    """The comparison as sections, regressions first."""
    head = Section("prunelaws: two runs compared", "compared", 0, (Text(verdict_on(found)), Facts(_facts(old, new))))
    kinds = [(title, getattr(found, kind)) for kind, title in KINDS.items() if getattr(found, kind)]
    shown = [Section(title, f"kind{i}", i + 1, (_table(changes),)) for i, (title, changes) in enumerate(kinds)]
    return [head, *shown, Section("Time", "time", len(KINDS) + 1, (_times(found),))]


def verdict_on(found: Comparison) -> str:
    """One sentence."""
    worse = [(len(getattr(found, kind)), kind) for kind in ("refuted", "broken", "lost", "withdrawn")]
    told = ", ".join(
        f"{number} newly {kind}" if kind != "withdrawn" else f"{counted(number, 'claim')} withdrawn"
        for number, kind in worse
        if number
    )
    more = ", ".join(
        text
        for text, changes in (
            (f"{len(found.held)} newly held", found.held),
            (f"{counted(len(found.margins), 'margin')} lost", found.margins),
            (f"other weights kept on {counted(len(found.masks), 'ground')}", found.masks),
            (f"{counted(len(found.unmatched), 'check')} in one run only", found.unmatched),
        )
        if changes
    )
    return f"{'Regressed: ' + told if told else 'No regression'}{'; ' + more if more else ''}."


def _facts(old: Run, new: Run) -> tuple[tuple[str, str], ...]:
    def told(run: Run) -> str:
        own = run.provenance
        versions = f"prunelaws {own.get('prunelaws')}, torch {own.get('torch')}"
        return f"{versions}, seed {own.get('seed')}, {run.checked:,} balances"

    return ("Older", told(old)), ("Newer", told(new))


def _table(changes: list[Change]) -> Table:
    rows = tuple((Span(c.pruner, "code"), c.what, c.before, c.after) for c in changes)
    return Table("What changed", (Column("Pruner"), Column("What"), Column("Before"), Column("Now")), rows)


def _times(found: Comparison) -> Table:
    ranked = sorted(found.seconds.items(), key=lambda item: -abs(item[1][1] - item[1][0]))[:SLOWEST]
    rows = tuple((law, f"{before:.2f} s", f"{after:.2f} s") for law, (before, after) in ranked)
    columns = Column("Law"), Column("Before", True), Column("Now", True)
    return Table("Time per law, those that changed most", columns, rows)


def as_text(found: Comparison) -> str:
    """For a terminal: the verdict, then a line for each change."""
    lines = [verdict_on(found)]
    for kind, title in KINDS.items():
        changes: list[Change] = getattr(found, kind)
        told = _masks_told(changes) if kind == "masks" else [_told(change) for change in changes]
        lines += [f"{title}:"] * bool(changes) + [f"  {text}" for text in told]
    return "\n".join(lines) + "\n"


def _masks_told(changes: list[Change]) -> list[str]:
    """A line per pruner: all grounds are in the Markdown."""
    found: dict[str, list[Change]] = {}
    for change in changes:
        found.setdefault(change.pruner, []).append(change)
    return [
        f"{pruner}: on {counted(len(own), 'ground')}, such as {own[0].what} ({own[0].after})"
        for pruner, own in found.items()
    ]


def _told(change: Change) -> str:
    return (
        " ".join(part for part in (change.pruner, change.what) if part)
        + ": "
        + (f"{change.before} -> {change.after}" if change.before else change.after)
    )
