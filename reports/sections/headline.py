"""Did every claim hold, and how much was there to see?"""

from __future__ import annotations

from collections import Counter

from reports.blocks import Facts, Line, Section, Shares, Span, Text
from reports.pairs import (
    CHECKED,
    STATUS,
    anchor,
    by_pair,
    claims_by_fate,
    contracts_by_fate,
    counted,
    grades,
    law_names,
    model_of,
    pair_standing,
    pruner_names,
)
from theory.search import KNOWN
from theory.subjects import built_in as subjects
from theory.verdict import Outcome, Run, Standing


def section(run: Run) -> Section:
    """The verdict in one sentence, and what it rests on."""
    blocks = (Text(_scope(run)), _shares(run), Facts(_facts(run)))
    return Section(sentence(run), "verdict", 0, blocks)


def sentence(run: Run) -> str:
    """The whole run in one sentence; it never says more than was checked."""
    claims, contracts = claims_by_fate(run), contracts_by_fate(run)
    refuted = [
        counted(len(fates["refuted"]), what) + f" {became}"
        for fates, what, became in ((claims, "claim", "refuted"), (contracts, "contract", "broken"))
        if fates["refuted"]
    ]
    if refuted:
        return " and ".join(refuted)
    if not run.checked:
        return "Nothing was verified: no law found anything to check"
    untested = len(claims["untested"]) + len(contracts["untested"])
    if untested:
        return f"No claim or contract was broken; {untested} {'was' if untested == 1 else 'were'} not tested"
    return "Every claim and contract was kept" if claims["kept"] else "Every contract was kept; nothing is claimed"


def _scope(run: Run) -> str:
    grounds = list(dict.fromkeys(v.ground for v in run.verdicts))
    models = list(dict.fromkeys(m for g in grounds if (m := model_of(run, g))))
    families = [g for g in grounds if model_of(run, g) is None and g != KNOWN]
    where = [KNOWN] if KNOWN in grounds else []
    where += [counted(len(families), "kind") + " of random networks"] if families else []
    where += [f"the model{'' if len(models) == 1 else 's'} {', '.join(models)}"] if models else []
    others = sum(name in subjects() for name in pruner_names(run))
    pruners = counted(len(pruner_names(run)) - others, "pruner")
    what = [pruners, *([counted(others, "other subject")] * bool(others)), counted(len(law_names(run)), "law")]
    return f"{', '.join(what[:-1])} and {what[-1]}, on {' and '.join(where) or 'nothing'}."


def _shares(run: Run) -> Shares:
    pairs = by_pair(run)
    count = Counter(pair_standing(verdicts) for verdicts in pairs.values())
    labels = {Standing.REFUTED: "claim refuted or contract broken"}
    order = [Standing.REFUTED, Standing.KEPT, Standing.UNDECLARED, Standing.BROKEN]
    parts = [(labels.get(s, s.value), STATUS[s], count[s]) for s in (*order, Standing.VACUOUS, Standing.OUT_OF_SCOPE)]
    missing = len(law_names(run)) * len(pruner_names(run)) - len(pairs)
    return Shares("Each law with each pruner, over all grounds", (*parts, ("not run", "unrun", missing)))


def _facts(run: Run) -> tuple[tuple[str, Line], ...]:
    verdicts = run.verdicts
    trivial, cases = sum(v.trivial for v in verdicts), sum(v.cases for v in verdicts)
    empty = Counter(v.outcome for v in verdicts)
    pairs = by_pair(run).values()
    broken = sum(pair_standing(p) is Standing.BROKEN for p in pairs)
    partly = sum(any(v.outcome in CHECKED for v in p) and any(v.outcome not in CHECKED for v in p) for p in pairs)
    return (
        ("Claims", _fates(run, claims_by_fate(run), "refuted")),
        ("Contracts", _fates(run, contracts_by_fate(run), "broken")),
        ("Broken without being claimed", f"{broken:,} of {len(pairs):,} pairs of law and pruner: contrast, no failure"),
        ("Compared", f"{run.checked:,} balances ({grades(verdicts)})"),
        ("Problems", f"{_percent(trivial, cases + trivial)} of the problems in scope were trivial: nothing flowed"),
        (
            "Left unchecked",
            f"{_percent(empty[Outcome.OUT_OF_SCOPE], len(verdicts))} of the verdicts are out of scope and "
            f"{_percent(empty[Outcome.VACUOUS], len(verdicts))} vacuous; "
            f"{partly:,} pairs were checked on only some grounds",
        ),
    )


def _fates(run: Run, fates: dict[str, list[tuple[str, str]]], broken: str) -> Line:
    names = pruner_names(run)
    untested: dict[str, list[str]] = {}
    for pruner, what in fates["untested"]:
        untested.setdefault(pruner, []).append(what)
    text = f"{len(fates['kept']):,} kept, {len(fates['refuted']):,} {broken}, {len(fates['untested']):,} not tested"
    parts: list[str | Span] = [text]
    for pruner, missed in untested.items():
        parts += ["; not tested: " if len(parts) == 1 else "; "]
        parts += [
            Span(pruner, "code", anchor(run, pruner=pruner) if pruner in names else ""),
            f" ({', '.join(missed)})",
        ]
    return tuple(parts)


def _percent(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} ({part / whole:.0%})" if whole else "none"
