"""`prunelaws inspect`."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import Annotated

import typer

from reports.live import Live
from reports.verbs.common import AsJson, Classes, Seed, print_json


def inspect(
    model: Annotated[str, typer.Argument(help="A built-in name or module:factory.")],
    seed: Seed = 0,
    classes: Classes = None,
    as_json: AsJson = False,
) -> None:
    """Say what the theory can say of a model: each operator's type, the units that balance, the laws that apply."""
    from pruning.references import load_device
    from reports import loading
    from reports.inspection import inspection, inspection_text

    live = Live()
    with live, redirect_stdout(sys.stderr):
        live.step(f"tracing {model}", 0, 1)
        found = inspection(model, loading.load_model(model, seed, load_device("cpu"), None, classes))
    if as_json:
        return print_json(found)
    sys.stdout.write(inspection_text(found))
    return None
