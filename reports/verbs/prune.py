"""`prunelaws prune`."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from pruning.errors import UsageError
from reports.live import Live
from reports.verbs.common import FAILED, AsJson, Classes, Data, Device, Seed, note, note_objections, print_json, usage


def prune(
    pruner: Annotated[str, typer.Argument(help="Built-in name, package.module:object or file.py:object.")],
    model: Annotated[str, typer.Option(help="A built-in name or module:factory.")],
    compression: Annotated[
        str,
        typer.Option(
            help="Weights before, over weights after: 100 keeps 1 %; max, with a certified schedule, as far as it goes."
        ),
    ],
    rounds: Annotated[
        int | None,
        typer.Option(
            help="Default: as the pruner was published. With fixed-step, so many per factor of ten of compression.",
            min=1,
            max=32_767,
        ),
    ] = None,
    schedule: Annotated[
        str,
        typer.Option(
            help="exponential, linear, one-shot, fixed-step; or certified, which no cut is emptied by: mass-safe, "
            "count-safe, hybrid."
        ),
    ] = "exponential",
    seed: Seed = 0,
    device: Device = "cpu",
    data: Data = None,
    classes: Classes = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write the masks to this .safetensors file.")] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="Write what each round pruned to this file, for `prunelaws certify`.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Prune a model and say, round by round, what was kept, and what that cost."""
    from pruning.answers import ScoreError
    from pruning.certificate import Origin, write_certificate
    from pruning.fast.best import prune_at_best
    from pruning.maskfile import save_masks
    from pruning.references import load_device, load_pruner
    from reports import files, loading, pruning_run, terminal

    method = load_pruner(pruner)
    problem = loading.load_model(model, seed, load_device(device), data, classes)
    asked = usage(lambda: pruning_run.planned(problem, method, compression, schedule, rounds))
    if certificate is not None:
        usage(lambda: pruning_run.check_certifiable(problem, method))
    for file in (out, certificate):
        if file is not None:
            files.prepare_file(file)
    if out is not None and certificate is not None and out.resolve() == certificate.resolve():
        raise UsageError(f"{str(out)!r} can't hold both the masks and the certificate; name two files")
    note_objections(model, problem.network)
    live = Live()
    try:
        with live, redirect_stdout(sys.stderr):
            trace = prune_at_best(
                problem,
                method,
                asked.schedule,
                lambda r, kept: live.step(f"pruning {model}: round {r}, {kept:,} kept", r - 1, max(r, asked.length)),
                note,
            )
    except ScoreError as error:
        note(str(error))
        raise typer.Exit(FAILED) from None
    for round_ in trace.flat:
        note(f"round {round_}: every alive score was 0, so only the index decided")
    result = pruning_run.pruning_record(problem, trace)
    if out is not None:
        save_masks(out, trace.masks, {"pruner": method.name, "model": model, "seed": str(seed)})
    if certificate is not None:
        origin = Origin(pruner, model, schedule, seed, classes)
        made = usage(lambda: pruning_run.certificate_of(problem, trace, origin))
        write_certificate(certificate, made)
    if as_json:
        print_json(result)
    else:
        sys.stdout.write(terminal.pruning_text(method.name, model, result))
    if asked.keep is not None and result["kept"] > asked.keep:
        alive = result["collapse"].get("connected", True)
        why = f"each of the {result['kept']:,} left lies on every live path" if alive else "nothing flows here"
        note(f"{asked.keep:,} weights were asked for, and {why}")
        raise typer.Exit(FAILED)
