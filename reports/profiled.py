"""Profiled: what a pruner could claim: each promise with what became of it, and what survived, ready to paste."""

from __future__ import annotations

from io import StringIO
from textwrap import fill, indent
from typing import Any

from rich.console import Console
from rich.table import Table

from pruning.pruner import Claim
from reports.failure import smallest
from reports.pairs import by_claim, counted
from theory.search import KNOWN
from theory.telling import flat, network_of
from theory.verdict import Outcome, Run, Verdict, overall

FATE = {Outcome.HELD: "survived", Outcome.BROKEN: "broken"}


def profiled(run: Run, pruner: str, discoveries: list[dict[str, Any]]) -> dict[str, Any]:
    """The profile as data: claims by fate, contracts that are broken, and what was discovered of the scores."""
    about = by_claim(run, pruner)
    contracts = sorted({v.law for v in run.verdicts if v.pruner == pruner and v.contract and v.failed})
    return {
        "pruner": pruner,
        "claims": [_claim(claim, verdicts) for claim, verdicts in about.items()],
        "broken contracts": contracts,
        "survived": survived(run, pruner),
        "discovered": discoveries,
        "balances": run.checked,
    }


def survived(run: Run, pruner: str) -> list[Claim]:
    """The claims that some law tested and none broke."""
    return [Claim(claim) for claim, verdicts in by_claim(run, pruner).items() if overall(verdicts) is Outcome.HELD]


def _claim(claim: str, verdicts: list[Verdict]) -> dict[str, Any]:
    outcome = overall(verdicts)
    held = [v for v in verdicts if v.outcome is Outcome.HELD]
    record = {
        "claim": claim,
        "fate": FATE.get(outcome, "untested"),
        "laws": sorted({v.law for v in verdicts if v.outcome in FATE}),
        "grounds": len({v.ground for v in held} - {KNOWN}),
        "balances": sum(v.balances for v in verdicts),
        "why": next((v.reason for v in verdicts if v.reason), "nothing flowed"),
    }
    if outcome is Outcome.BROKEN:
        worst = smallest(verdicts)
        shown = network_of(worst.witness) if worst.witness else flat(worst.ground)
        record |= {"law": worst.law, "network": shown, "where": flat(worst.where or "not recorded")}
    return record


def profile_text(found: dict[str, Any]) -> str:
    """The profile for people: a table, the networks that break promises, and the claims to paste."""
    table = Table(box=None, pad_edge=False)
    for column in ("claim", "fate", "evidence"):
        table.add_column(column, overflow="fold")
    for one in found["claims"]:
        table.add_row(one["claim"], one["fate"], _evidence(one))
    buffer = StringIO()
    Console(file=buffer, width=160, markup=False, highlight=False, no_color=True).print(table)
    lines = [f"what {found['pruner']} could claim, on {counted(found['balances'], 'balance')}"]
    lines += [line.rstrip() for line in buffer.getvalue().splitlines()]
    lines += [f"broken contract: {name}; mend that first" for name in found["broken contracts"]]
    lines += [_discovery(one) for one in found["discovered"]]
    lines += ["", "survived everything that was tried (evidence, not proof); to be held to it, paste:"]
    names = fill(", ".join(f"Claim.{claim.name}" for claim in found["survived"]), 96)
    lines += [indent(f"claims={{\n{indent(names, '    ')},\n}}", "    ") if names else "    (nothing)"]
    return "\n".join(lines) + "\n"


def _evidence(one: dict[str, Any]) -> str:
    if one["fate"] == "untested":
        return str(one["why"])
    if one["fate"] == "broken":
        return f"{one['law']}: {one['where']}; {one['network']}"
    laws = counted(len(one["laws"]), "law")
    return f"{laws} held on {counted(one['grounds'], 'kind')} of networks, {one['balances']:,} balances"


def _discovery(one: dict[str, Any]) -> str:
    if not one["convincing"]:
        return f"discovery on {one['architecture']}: no dimension is claimed"
    laws = counted(one["found"], "constant linear law")
    return (
        f"discovery on {one['architecture']}: {laws}, {one['explained']} of the catalogue's {one['stated']} among them"
    )
