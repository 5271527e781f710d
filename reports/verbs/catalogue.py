"""`prunelaws list` and `prunelaws explain`: what there is."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pruning.errors import UsageError
from reports.verbs.common import AsJson, print_json, print_table


def list_(
    laws: Annotated[
        bool, typer.Option("--laws", help="List the laws instead of pruners, families and models.")
    ] = False,
    claims: Annotated[
        bool, typer.Option("--claims", help="List what a pruner may claim, with the laws that say what it means.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the built-in pruners, families and models, or the laws, or the claims."""
    if laws and claims:
        raise UsageError("--laws and --claims are two lists; ask for one of them")
    wanted = _list_laws if laws else _list_claims if claims else _list_built_in
    wanted(as_json)


def _list_laws(as_json: bool) -> None:
    from reports import terminal
    from theory.described import described
    from theory.laws import catalogue

    rows = [described(law) for law in catalogue().values()]
    if as_json:
        print_json(rows)
    else:
        sys.stdout.write(terminal.law_table(rows))


def _list_claims(as_json: bool) -> None:
    from pruning.pruner import Claim
    from reports import terminal
    from theory.laws import of_claim

    meant = {claim.value: [(law.id, law.subject.value, law.statement) for law in of_claim(claim)] for claim in Claim}
    if as_json:
        names = ("id", "of", "statement")
        print_json({claim: [dict(zip(names, law, strict=True)) for law in laws] for claim, laws in meant.items()})
    else:
        sys.stdout.write(terminal.claim_list(meant))


def _list_built_in(as_json: bool) -> None:
    from pruning.models import built_in as models
    from pruning.newer import newer
    from pruning.pruners import built_in as built_in_pruners
    from theory.networks import built_in as families

    known = {**built_in_pruners(), **newer()}
    claims = {name: sorted(c.value for c in p.claims) for name, p in known.items()}
    networks = {"families": list(families()), "models": list(models())}
    if as_json:
        print_json({"pruners": claims, **networks})
    else:
        pairs = [["pruner", name, ", ".join(kept)] for name, kept in claims.items()]
        pairs += [["family", name, ""] for name in networks["families"]]
        pairs += [["model", name, ""] for name in networks["models"]]
        print_table(["kind", "name", "claims"], pairs)


def explain(name: Annotated[str, typer.Argument(metavar="LAW", help="A law's name or id.")]) -> None:
    """Say what a law states, when it holds, where it comes from, and show a network that breaks it."""
    from reports import terminal
    from theory.laws import laws_named

    law = next(iter(laws_named([name]).values()))
    sys.stdout.write(terminal.explanation(law))
