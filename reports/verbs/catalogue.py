"""`prunelaws list` and `prunelaws explain`: what there is."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from reports.verbs.common import AsJson, print_json, print_table


def list_(
    laws: Annotated[
        bool, typer.Option("--laws", help="List the laws instead of pruners, families and models.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the built-in pruners, families and models, or the laws."""
    from pruning.models import built_in as models
    from pruning.newer import newer
    from pruning.pruners import built_in as built_in_pruners
    from reports import terminal
    from theory.laws import catalogue
    from theory.networks import built_in as families
    from theory.verify import described

    if laws:
        rows = [described(law) for law in catalogue().values()]
        if not as_json:
            sys.stdout.write(terminal.law_table(rows))
            return None
        return print_json(rows)
    known = {**built_in_pruners(), **newer()}
    claims = {name: sorted(c.value for c in p.claims) for name, p in known.items()}
    networks = {"families": list(families()), "models": list(models())}
    if as_json:
        return print_json({"pruners": claims, **networks})
    pairs = [["pruner", name, ", ".join(kept)] for name, kept in claims.items()]
    pairs += [["family", name, ""] for name in networks["families"]]
    pairs += [["model", name, ""] for name in networks["models"]]
    return print_table(["kind", "name", "claims"], pairs)


def explain(name: Annotated[str, typer.Argument(metavar="LAW", help="A law's name or id.")]) -> None:
    """Say what a law states, when it holds, where it comes from, and show a network that breaks it."""
    from reports import terminal
    from theory.laws import laws_named

    law = next(iter(laws_named([name]).values()))
    sys.stdout.write(terminal.explanation(law))
