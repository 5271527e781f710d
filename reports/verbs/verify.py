"""`prunelaws verify`."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from pruning.errors import UsageError
from reports.live import Live
from reports.verbs.common import (
    DEFAULT_OUT,
    FAILED,
    OK,
    UNVERIFIED,
    AsJson,
    Classes,
    Data,
    Device,
    Out,
    Pruners,
    Seed,
    note,
    note_objections,
    usage,
)
from theory.verdict import Run


def verify(
    pruners: Pruners = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="Also verify on this model: a built-in name or module:factory. May be repeated."),
    ] = None,
    laws: Annotated[list[str] | None, typer.Option(help="Only these laws (names or ids, commas allowed).")] = None,
    claim: Annotated[
        list[str] | None, typer.Option(help="Hold the named pruners to this claim as well. May be repeated.")
    ] = None,
    examples: Annotated[int, typer.Option(help="Random networks per law and family.")] = 320,
    rounds: Annotated[
        int | None,
        typer.Option(help="Rounds of the run on a model. Default: as each pruner was published.", min=1, max=32_767),
    ] = None,
    float32: Annotated[
        bool,
        typer.Option(
            "--float32",
            help="Make each run on a model once more in float32 and count the weights it keeps in place of others. "
            "All else is in float64, whatever type a model comes in.",
        ),
    ] = False,
    seed: Seed = 0,
    device: Device = "cpu",
    data: Data = None,
    classes: Classes = None,
    baseline: Annotated[
        Path | None, typer.Option(help="Compare with this older run as well; exit 1 where anything became worse.")
    ] = None,
    corpus: Annotated[
        list[Path] | None,
        typer.Option(help="Also try the witnesses in this folder before any search. May be repeated."),
    ] = None,
    max_params: Annotated[int | None, typer.Option(help="Pass over random networks with more weights.", min=1)] = None,
    out: Out = DEFAULT_OUT,
    as_json: AsJson = False,
) -> None:
    """Check the laws for pruners on random networks and, with --model, along a pruning run of a full-size one."""
    from pruning.references import load_device, load_held
    from reports import files, loading, terminal
    from reports.compared import as_text
    from reports.comparison import compare_runs, refuse_strangers
    from reports.record import to_json
    from reports.scripted import scripts_of
    from theory.full_size import Model
    from theory.laws import laws_named
    from theory.networks import built_in as families
    from theory.sidebyside import processors
    from theory.suite import refuse_twins
    from theory.verify import budget_for
    from theory.verify import verify as run_verification
    from theory.witness.files import load_corpora

    _refuse_unused(model, {"--data": data, "--classes": classes, "--rounds": rounds, "--float32": float32 or None})
    references = pruners or _default_pruners()
    loaded = [load_held(name, claim or []) for name in references]
    chosen, where = laws_named(laws or []), load_device(device)
    others = loading.other_subjects(chosen) if laws or not pruners else []
    budget = usage(lambda: budget_for(examples, seed, max_params))
    refuse_twins([pruner for pruner, _ in loaded])
    older = files.read_run(baseline) if baseline else None
    if older:
        refuse_strangers(older, [pruner.name for pruner, _ in loaded])
    known = usage(lambda: load_corpora(corpus or []))
    files.prepare(out)
    problems = loading.load_models(model or [], seed, where, data, classes)
    models = [Model(name, problem, rounds, float32) for name, problem in problems.items()]
    for model_ in models:
        note_objections(model_.name, model_.network)
    live = Live()
    with live, redirect_stdout(sys.stderr):  # a scorer that prints must not get into the result
        maps = [_mapped(live, model_.name, model_.problem) for model_ in models]
        run = run_verification(
            [*(pruner for pruner, _ in loaded), *others],
            chosen,
            list(families().values()),
            models,
            budget,
            known,
            where,
            live.step,
            live.verdict,
            proofs=bool(others),
            workers=processors(),
        )
        scripts = scripts_of(run, dict(zip(references, (pruner for pruner, _ in loaded), strict=True)), live.step)
    names = [*references, *(subject.name for subject in others)]
    named = [{**record, "reference": name} for record, name in zip(run.pruners, names, strict=True)]
    where_from = {**run.provenance, "folder": str(out), "examples": str(examples)}
    run = replace(run, pruners=named, provenance=where_from, maps=maps)
    files.write(run, out, scripts)
    sys.stdout.write(to_json(run) if as_json else terminal.as_text(run, out))
    _note_passed_over(run, list(families()), max_params)
    if float32 and not run.precision:
        note("no run on a model was finished, so --float32 had nothing to compare")
    for pruner, bare in loaded:
        if bare and not pruner.claims:
            note(terminal.how_to_claim(pruner.name, run))
    status = _concluded(run)
    if older:
        found = compare_runs(older, run)
        sys.stderr.write(as_text(found))
        status = FAILED if found.regressed else status
    raise typer.Exit(status)


def _mapped(live: Live, name: str, problem: Any) -> dict[str, Any]:
    from reports.inspection import inspection

    live.step(f"mapping {name}", 0, 1)
    return inspection(name, problem)


def _concluded(run: Run) -> int:
    """The exit status of a verification; what could not be tested is said."""
    from theory.verdict import untested, why_untested

    missing = untested(run.verdicts)
    for name, kept, reason in missing:
        note(f"{name} claims {kept!r}, and no law could test that here: {reason}")
    if not run.checked:
        why = "" if missing else f" ({why_untested(run.verdicts)})"
        note(f"nothing that was checked was more than trivial: this run verifies nothing{why}")
        return UNVERIFIED
    return FAILED if run.failures else UNVERIFIED if missing else OK


def _note_passed_over(run: Run, families: list[str], max_params: int | None) -> None:
    looked_at = {verdict.ground for verdict in run.verdicts}
    empty = [name for name in families if name not in looked_at]
    if max_params is not None and empty:
        which = "any family" if len(empty) == len(families) else ", ".join(empty)
        note(f"no network of {which} has {max_params:,} weights or fewer: --max-params left nothing to check there")


def _default_pruners() -> list[str]:
    from pruning.pruners import built_in

    return list(built_in())


def _refuse_unused(model: list[str] | None, options: dict[str, object]) -> None:
    idle = [name for name, value in options.items() if value is not None]
    if idle and not model:
        raise UsageError(f"{idle[0]} is for models, and there is none: add --model")
