"""`prunelaws certify`."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from pruning.errors import UsageError
from reports.live import Live
from reports.verbs.common import FAILED, UNVERIFIED, AsJson, Classes, print_json


def certify(
    model: Annotated[str, typer.Argument(help="A built-in name or module:factory: what was pruned, before it was.")],
    file: Annotated[Path, typer.Argument(help="What `prunelaws prune --certificate FILE` wrote.")],
    seed: Annotated[int | None, typer.Option(help="Default: that of the certificate.", min=0, max=2**32 - 1)] = None,
    classes: Classes = None,
    as_json: AsJson = False,
) -> None:
    """Check a pruning run from its certificate, in plain numpy: whether any round could have emptied a cut."""
    from pruning.certificate import read_certificate
    from pruning.references import load_device
    from reports import certified, loading
    from theory.certify import certify
    from theory.oracles.certificate import Refused

    try:
        made = read_certificate(file)
    except OSError as error:
        raise UsageError(f"the certificate {str(file)!r} can't be read: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"{str(file)!r}: {error}") from error
    live = Live()
    with live, redirect_stdout(sys.stderr):
        live.step(f"tracing {model}", 0, 1)
        origin = made.origin
        problem = loading.load_model(
            model,
            origin.seed if seed is None else seed,
            load_device("cpu"),
            None,
            origin.classes if classes is None else classes,
        )
        try:
            found = certify(
                problem.network, made, lambda r, n: live.step(f"checking {file.name}: round {r} of {n}", r, n)
            )
        except (Refused, ValueError) as error:
            raise UsageError(f"{str(file)!r} is refused: {error}") from error
    result = certified.finding_record(problem.network, made, found)
    if as_json:
        print_json(result)
    else:
        sys.stdout.write(certified.finding_text(model, result))
    if found.failed is not None:
        raise typer.Exit(FAILED)
    if not found.after:
        raise typer.Exit(UNVERIFIED)
