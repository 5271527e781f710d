"""A law and a pruner over all grounds: what a reader first wants to know of the verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from reports.blocks import NO_BREAK, NONE, Line, Span
from theory.verdict import Outcome, Run, Standing, Verdict, overall, standing

Pair = tuple[str, str]  # law and pruner, by name

STATUS = {
    Standing.KEPT: "held",
    Standing.UNDECLARED: "undeclared",
    Standing.BROKEN: "broken",
    Standing.REFUTED: "refuted",
    Standing.VACUOUS: "vacuous",
    Standing.OUT_OF_SCOPE: "outside",
}
OUTCOME_STATUS = {
    Outcome.HELD: "held",
    Outcome.BROKEN: "broken",
    Outcome.VACUOUS: "vacuous",
    Outcome.OUT_OF_SCOPE: "outside",
}
CHECKED = (Outcome.HELD, Outcome.BROKEN)


def counted(number: int, what: str) -> str:
    """A number of things, in words."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def why_unchecked(verdict: Verdict) -> str:
    """Why a verdict that is vacuous or out of scope says nothing."""
    if verdict.outcome is Outcome.VACUOUS:
        return verdict.reason or "nothing flowed: every balance was trivial"
    return verdict.reason or "not recorded"


def by_pair(run: Run) -> dict[Pair, list[Verdict]]:
    """The verdicts of each law and pruner, in the order of the record."""
    found: dict[Pair, list[Verdict]] = {}
    for verdict in run.verdicts:
        found.setdefault((verdict.law, verdict.pruner), []).append(verdict)
    return found


def of_pruner(run: Run, pruner: str) -> dict[str, list[Verdict]]:
    """The verdicts on one pruner, by law, in the order of the laws."""
    pairs = by_pair(run)
    return {law: pairs[law, pruner] for law in law_names(run) if (law, pruner) in pairs}


def law_names(run: Run) -> list[str]:
    """The laws in the order of the record."""
    return list(dict.fromkeys([*(law["name"] for law in run.laws), *(v.law for v in run.verdicts)]))


def pruner_names(run: Run) -> list[str]:
    """The pruners in the order of the record."""
    return list(dict.fromkeys([*(p["name"] for p in run.pruners), *(v.pruner for v in run.verdicts)]))


def law_ids(run: Run) -> dict[str, str]:
    """The number of each law in the catalogue, by name."""
    return {v.law: v.id for v in run.verdicts} | {law["name"]: law["id"] for law in run.laws}


def statement(run: Run, law: str) -> str:
    """What a law says, with its source."""
    found = next((entry for entry in run.laws if entry["name"] == law), None)
    return f"{found['statement']} [{found['source']}]" if found else "(this record does not say)"


def pair_standing(verdicts: list[Verdict]) -> Standing:
    """Where a law and a pruner stand over all grounds: broken anywhere is broken."""
    return standing(overall(verdicts), any(v.claimed or v.contract for v in verdicts))


def words(stands: Standing, contract: bool) -> str:
    """How a standing is called; a contract is broken where a claim is refuted."""
    return "contract broken" if contract and stands is Standing.REFUTED else stands.value


def mark(verdicts: list[Verdict], to: str = "") -> Span:
    """The standing of a law and a pruner, in words."""
    stands = pair_standing(verdicts)
    return Span(words(stands, verdicts[0].contract), STATUS[stands], to)


def by_claim(run: Run, pruner: str) -> dict[str, list[Verdict]]:
    """The verdicts on a pruner by the claim that they test, whether it makes that claim or not."""
    found: dict[str, list[Verdict]] = {}
    for verdict in (v for v in run.verdicts if v.pruner == pruner and v.claim):
        found.setdefault(str(verdict.claim), []).append(verdict)
    return dict(sorted(found.items()))


def claims_by_fate(run: Run) -> dict[str, list[Pair]]:
    """(pruner, claim) of every claim: "kept", "refuted", or "untested" where no law found anything to check."""
    outcomes: dict[Pair, set[Outcome]] = {(p["name"], claim): set() for p in run.pruners for claim in p["claims"]}
    for v in run.verdicts:
        if v.claimed and v.claim:
            outcomes.setdefault((v.pruner, v.claim), set()).add(v.outcome)
    return _by_fate(outcomes)


def contracts_by_fate(run: Run) -> dict[str, list[Pair]]:
    """(pruner, law) of every contract that speaks of the pruner: "kept", "refuted" or "untested"."""
    outcomes: dict[Pair, set[Outcome]] = {}
    for v in run.verdicts:
        if v.contract:
            outcomes.setdefault((v.pruner, v.law), set()).add(v.outcome)
    return _by_fate({pair: found for pair, found in outcomes.items() if found != {Outcome.OUT_OF_SCOPE}})


def _by_fate(outcomes: dict[Pair, set[Outcome]]) -> dict[str, list[Pair]]:
    fates: dict[str, list[Pair]] = {"kept": [], "refuted": [], "untested": []}
    for pair, found in outcomes.items():
        fate = "refuted" if Outcome.BROKEN in found else "kept" if Outcome.HELD in found else "untested"
        fates[fate].append(pair)
    return fates


def grades(verdicts: Iterable[Verdict]) -> str:
    """Balances by strength of evidence, such as "exact 12, order 3"."""
    total: Counter[str] = Counter()
    for verdict in verdicts:
        total.update(verdict.grades)
    order = ("exact", "rounded", "order")
    names = sorted(total, key=lambda g: (order.index(g) if g in order else len(order), g))
    return ", ".join(f"{name}{NO_BREAK}{total[name]:,}" for name in names if total[name]) or NONE


def model_of(run: Run, ground: str) -> str | None:
    """The model that a ground is a run or a round of; None for a family of random networks."""
    models = [*(record.model for record in run.runs), *(found["model"] for found in run.maps)]
    return next((m for m in models if ground == m or ground.startswith(f"{m}, ")), None)


def anchor(run: Run, law: str = "", pruner: str = "") -> str:
    """A name for a place on the page, safe whatever people call their laws and pruners."""
    parts = [f"law{law_names(run).index(law)}"] if law else []
    parts += [f"pruner{pruner_names(run).index(pruner)}"] if pruner else []
    return "-".join(parts)


def law_head(run: Run, law: str) -> Line:
    """A law's number and name, leading to what it says."""
    return Span(law_ids(run).get(law, "?"), "note"), " ", Span(law, "code", anchor(run, law))


def worst_margin(verdicts: Iterable[Verdict]) -> str:
    """The largest residual as a share of its bound."""
    margins = [v.margin for v in verdicts if v.margin is not None]
    return f"{max(margins):.2g}" if margins else NONE


def least_gain(verdicts: Iterable[Verdict]) -> str:
    """The fewest bits that an order test gained."""
    gains = [v.gain for v in verdicts if v.gain is not None]
    return f"{round(min(gains), 1) + 0.0:+.1f}" if gains else NONE
