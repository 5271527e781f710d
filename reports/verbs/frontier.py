"""`prunelaws frontier`."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

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
    from pruning.answers import ScoreError
    from pruning.references import load_device
    from reports import files, frontiers, loading
    from theory.collapse import Paths, UnreadablePaths, carried
    from theory.described import machine
    from theory.frontier.journal import Journal

    asked = [frontiers.method_named(text) for text in dict.fromkeys(methods)]
    place = load_device(device)
    files.prepare(out)
    journal, results, faults = Journal(out / "progress"), list[dict[str, Any]](), list[str]()
    pairs = [(m, s) for m in dict.fromkeys(model) for s in dict.fromkeys(seed or [0])]
    live, steps = Live(), len(pairs) * len(asked)
    with live, redirect_stdout(sys.stderr):
        for i, (name, number) in enumerate(pairs):
            live.step(f"{name}, seed {number}: tracing", i * len(asked), steps)
            problem = loading.load_model(name, number, place, data, classes)
            try:
                paths = Paths(problem.network)
            except UnreadablePaths as error:
                raise UsageError(f"live paths can't be told on {name!r}: {error}") from error
            carries = carried(problem.network)
            for j, method in enumerate(asked):
                what, done = f"{method.name} on {name}, seed {number}", i * len(asked) + j

                def tell(text: str, what: str = what, done: int = done) -> None:
                    live.step(f"{what}: {text}", done, steps)

                try:
                    results.append(frontiers.found(method, name, problem, paths, carries, journal, tell))
                except (ScoreError, ValueError) as error:
                    faults.append(f"{what}: {error}")
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
