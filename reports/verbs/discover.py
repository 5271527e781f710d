"""`prunelaws discover`."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import Annotated

import typer

from reports.live import Live
from reports.verbs.common import FAILED, AsJson, Classes, Data, Device, Seed, note, print_json


def discover(
    name: Annotated[
        str,
        typer.Argument(
            metavar="PRUNER|MODEL",
            help="A built-in pruner or model, package.module:object or file.py:object: a pruner, a scorer, or a "
            "factory of a model, which takes no arguments.",
        ),
    ],
    seed: Seed = 0,
    device: Device = "cpu",
    data: Data = None,
    classes: Classes = None,
    as_json: AsJson = False,
) -> None:
    """List all constant linear laws that scores obey, by the null space of many, and say which the catalogue explains.

    For a pruner: on small networks, a tanh network as the control among them. For a model: of the saliency of the
    loss; parameters, inputs and targets are drawn anew for each sample, so a law is one of the architecture.
    """
    from pruning.answers import ScoreError
    from pruning.references import load_device
    from reports.discovered import discovered, discovered_text

    live = Live()
    try:
        with live, redirect_stdout(sys.stderr):
            found = discovered(name, seed, load_device(device), data, classes, live.step)
    except ScoreError as error:
        note(str(error))
        raise typer.Exit(FAILED) from None
    if as_json:
        return print_json(found)
    sys.stdout.write(discovered_text(found))
    return None
