"""`prunelaws frontier`."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from pruning.errors import UsageError
from reports.live import Live
from reports.verbs.common import DEFAULT_OUT, UNVERIFIED, AsJson, Classes, Data, Device, note, print_json, print_table


def frontier(
    methods: Annotated[
        list[str],
        typer.Argument(
            metavar="PRUNER...",
            help="Built-in names, package.module:object or file.py:object; NAME@SCHEDULE for another schedule than the "
            "published one: synflow@mass-safe, synflow@one-shot.",
        ),
    ],
    model: Annotated[list[str], typer.Option(help="A built-in name or module:factory; may be given several times.")],
    seed: Annotated[list[int] | None, typer.Option(help="May be given several times. Default: 0.", min=0)] = None,
    device: Device = "cpu",
    data: Data = None,
    classes: Classes = None,
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="Folder for frontier.html, frontier.json and what a rerun continues from."),
    ] = DEFAULT_OUT / "frontier",
    as_json: AsJson = False,
) -> None:
    """Find the compression at which a layer first empties, and at which the last path breaks."""
    from pruning.references import load_device
    from reports import files, frontiers, loading
    from theory.described import machine
    from theory.frontier.journal import Journal, alone_in

    asked = [frontiers.method_named(text) for text in dict.fromkeys(methods)]
    place, live = load_device(device), Live()
    files.prepare(out)
    cases = [(m, s) for m in dict.fromkeys(model) for s in dict.fromkeys(seed or [0])]
    try:
        with alone_in(out / "progress"), live, redirect_stdout(sys.stderr):
            results, faults = frontiers.every(
                asked,
                cases,
                lambda name, number: loading.load_model(name, number, place, data, classes),
                Journal(out / "progress"),
                live.step,
            )
    except BlockingIOError:
        raise UsageError(f"another frontier is being made in {str(out)!r}; wait, or name another folder") from None
    except KeyboardInterrupt:
        note("the same command goes on from here")
        raise
    for fault in faults:
        note(fault)
    record = {"version": frontiers.VERSION, "provenance": machine(place), "results": results}
    files.write_frontier(record, out)
    if as_json:
        print_json(record)
    else:
        print_table(frontiers.COLUMNS, frontiers.rows(results))
        sys.stdout.write(f"figures: {out / 'frontier.html'}\n")
    if faults:
        raise typer.Exit(UNVERIFIED)
