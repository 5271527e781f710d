"""Each pruner: what it claims, what became of that, and on which grounds."""

from __future__ import annotations

from reports.blocks import NONE, Column, Facts, Fold, Inline, Line, Section, Span, Table, joined
from reports.pairs import (
    CHECKED,
    OUTCOME_STATUS,
    anchor,
    claims_by_fate,
    contracts_by_fate,
    law_head,
    law_ids,
    of_pruner,
    pair_standing,
    pruner_names,
    why_unchecked,
)
from theory.verdict import Run, Standing, Verdict


def section(run: Run) -> Section:
    """One part per pruner."""
    return Section("Pruners", "pruners", 40, tuple(_pruner(run, p) for p in pruner_names(run)))


def _pruner(run: Run, pruner: str) -> Fold:
    laws = of_pruner(run, pruner)
    return Fold(
        Span(pruner, "code"),
        (Facts(_facts(run, pruner, laws)), _grounds(run, pruner, laws), *_unchecked(run, pruner, laws)),
        anchor=anchor(run, pruner=pruner),
    )


def _facts(run: Run, pruner: str, laws: dict[str, list[Verdict]]) -> tuple[tuple[str, Line], ...]:
    entry = next((p for p in run.pruners if p["name"] == pruner), None)
    facts: list[tuple[str, Line]] = []
    if entry:
        kind = "an objective, whose cut its scores measure" if entry["objective"] else "scores alone, no objective"
        rounds = entry["rounds"]
        facts = [("Has", f"{kind}; {rounds} round{'' if rounds == 1 else 's'} as published")]
    claims, contracts = claims_by_fate(run), contracts_by_fate(run)
    fates = (
        ("Claims kept", claims["kept"]),
        ("Claims refuted", claims["refuted"]),
        ("Claims not tested", claims["untested"]),
        ("Contracts kept", contracts["kept"]),
        ("Contracts broken", contracts["refuted"]),
        ("Contracts not tested", contracts["untested"]),
    )
    listed = [(name, _mine(pairs, pruner)) for name, pairs in fates]
    facts += [(name, line) for name, line in listed if line != NONE or name == "Claims kept"]
    return (*facts, *_not_claimed(run, laws))


def _mine(pairs: list[tuple[str, str]], pruner: str) -> Line:
    return ", ".join(what for who, what in pairs if who == pruner) or NONE


def _not_claimed(run: Run, laws: dict[str, list[Verdict]]) -> list[tuple[str, Line]]:
    rows: list[tuple[str, Line]] = []
    for stands, name in ((Standing.UNDECLARED, "Held, not claimed"), (Standing.BROKEN, "Broken, not claimed")):
        names: list[Inline] = [
            Span(law, "code", anchor(run, law)) for law, vs in laws.items() if pair_standing(vs) is stands
        ]
        rows += [(name, joined(names))] if names else []
    return rows


def _grounds(run: Run, pruner: str, laws: dict[str, list[Verdict]]) -> Table:
    grounds = list(dict.fromkeys(v.ground for vs in laws.values() for v in vs))
    rows = []
    for law, verdicts in laws.items():
        on = {v.ground: v for v in verdicts}
        rows.append((law_head(run, law), *(_cell(on.get(ground)) for ground in grounds)))
    columns = (Column("Law"), *(Column(g) for g in grounds))
    return Table(f"{pruner}, ground by ground", columns, tuple(rows), detail=True)


def _cell(verdict: Verdict | None) -> Line:
    if verdict is None:
        return Span("not run", "unrun")
    kind = "refuted" if verdict.failed else OUTCOME_STATUS[verdict.outcome]
    return Span(verdict.outcome.value, kind)


def _unchecked(run: Run, pruner: str, laws: dict[str, list[Verdict]]) -> list[Table]:
    why: dict[tuple[str, str], list[str]] = {}
    for law, verdicts in laws.items():
        for v in verdicts:
            if v.outcome not in CHECKED:
                why.setdefault((why_unchecked(v), law), []).append(v.ground)
    by_reason: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (reason, law), grounds in why.items():
        by_reason.setdefault((reason, tuple(grounds)), []).append(law)
    rows = tuple(
        (reason, ", ".join(law_ids(run)[law] for law in found), "; ".join(grounds))
        for (reason, grounds), found in by_reason.items()
    )
    columns = (Column("Why"), Column("Laws"), Column("Grounds"))
    return [Table(f"{pruner}: what was not checked", columns, rows)] if rows else []
