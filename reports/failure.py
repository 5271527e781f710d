"""Failures of a run: each in four lines, how to see it again, and which one shows a law best."""

from __future__ import annotations

import shlex

from reports.pairs import model_of, statement
from theory.subjects import built_in as subjects
from theory.telling import flat, four_lines, network_of
from theory.verdict import Outcome, Run, Verdict
from theory.witness.files import witness_name


def message(run: Run, verdict: Verdict) -> str:
    """The four lines about one broken law, without colour and without a newline at the end."""
    return four_lines(verdict, statement(run, verdict.law), _network(run, verdict), rerun(run, verdict))


def rerun(run: Run, verdict: Verdict) -> str:
    """The command that shows a failure again, from the folder that the run was made in."""
    told = run.provenance
    if verdict.witness:
        reference = _reference(run, verdict.pruner)
        named = "" if reference == verdict.pruner else f" --pruner {shlex.quote(flat(reference))}"
        path = f"{told.get('folder', '.')}/witnesses/{witness_name(verdict.law, verdict.pruner)}"
        return f"prunelaws repro {shlex.quote(flat(path.removeprefix('./')))}{named}"
    model = model_of(run, verdict.ground)
    ground = f" --model {shlex.quote(flat(model))}" if model else ""
    own = verdict.pruner in subjects()  # it is checked whatever pruners are
    reference = "" if own else f" {shlex.quote(flat(_reference(run, verdict.pruner)))}"
    options = "".join(f" --{name} {told[name]}" for name in ("examples", "seed") if name in told)
    return f"prunelaws verify{reference} --laws {shlex.quote(flat(verdict.law))}{ground}{options}"


def _reference(run: Run, pruner: str) -> str:
    """What the command calls a pruner: its name, or where it was found."""
    return next((str(p.get("reference") or pruner) for p in run.pruners if p["name"] == pruner), pruner)


def smallest(verdicts: list[Verdict]) -> Verdict:
    """The broken verdict that shows it best: with a witness, the shortest, and one that tells where it came from."""

    def plainness(verdict: Verdict) -> tuple[bool, int, bool]:
        w = verdict.witness
        return (w is None, len(w.network) if w else 0, w is not None and w.minimised_from == w.shape)

    return min((v for v in verdicts if v.outcome is Outcome.BROKEN), key=plainness)


def _network(run: Run, verdict: Verdict) -> str:
    if verdict.witness:
        return network_of(verdict.witness)
    if model_of(run, verdict.ground):
        return f"{flat(verdict.ground)}    (a full-size model, not written out)"
    return f"one of {flat(verdict.ground)}    (no network alone shows it)"
