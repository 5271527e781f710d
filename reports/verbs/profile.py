"""`prunelaws profile`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from reports.live import Live
from reports.verbs.common import FAILED, OK, UNVERIFIED, AsJson, Device, Seed, note, print_json, usage
from theory.verdict import Run

if TYPE_CHECKING:
    from pruning.pruner import Claim
    from theory.law import Law


def profile(
    pruner: Annotated[
        str, typer.Argument(help="A built-in name, package.module:object or file.py:object; a bare function will do.")
    ],
    examples: Annotated[int, typer.Option(help="Random networks per law and family.")] = 320,
    seed: Seed = 0,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Try every law on a pruner, whatever it claims, and print the claims that survived, ready to paste.

    Exit status: 1 where a contract is broken, 3 where nothing could be checked.
    """
    from pruning.answers import ScoreError
    from pruning.references import load_device, load_pruner
    from reports.discovered import discovered
    from reports.profiled import profile_text, profiled, survived
    from theory.laws import catalogue
    from theory.networks import built_in as families
    from theory.sidebyside import processors
    from theory.verify import budget_for, verify
    from theory.witness.files import load_corpus

    method, where = load_pruner(pruner), load_device(device)
    budget = usage(lambda: budget_for(examples, seed))
    live = Live()
    with live, redirect_stdout(sys.stderr):

        def tried(claims: Iterable[Claim], laws: Mapping[str, Law]) -> Run:
            subject, networks = replace(method, claims=frozenset(claims)), list(families().values())
            corpus, side = load_corpus(), processors()
            return verify([subject], laws, networks, [], budget, corpus, where, live.step, live.verdict, workers=side)

        run = tried((), catalogue())
        kept = set(survived(run, method.name))
        rest = {name: law for name, law in catalogue().items() if law.given and law.given <= kept}
        if rest:  # laws that speak of pruners with those claims alone
            said = [v for v in run.verdicts if v.law not in rest]
            run = replace(run, verdicts=said + tried(kept, rest).verdicts)
        found = []
        if method.score is not None:
            try:
                found = discovered(pruner, seed, where, None, None, live.step)["architectures"]
            except ScoreError as error:
                note(str(error))
    result = profiled(run, method.name, found)
    if as_json:
        print_json(result)
    else:
        sys.stdout.write(profile_text(result))
    if not run.checked:
        note("nothing that was checked was more than trivial: this run verifies nothing")
        raise typer.Exit(UNVERIFIED)
    raise typer.Exit(FAILED if run.failures else OK)
