"""Discovered: what `prunelaws discover` looks at, and its result as data and as text."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Callable
from io import StringIO
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from pruning.errors import UsageError
from pruning.models import built_in as built_in_models
from pruning.pruner import Pruner
from pruning.pruners import built_in as built_in_pruners
from pruning.references import load_object, load_pruner
from reports import loading
from theory.discovery.architecture import Architecture
from theory.discovery.discover import Discovery, Progress, discover
from theory.discovery.nullspace import columns_for, memory, operations
from theory.discovery.rows import Level, rows_of
from theory.networks.layers import Act, Branches, Conv, Dense, Flatten, Pool
from theory.networks.shape import Shape
from theory.subjects import the_loss

SHOWN = 40  # laws that the text lists; JSON has all
READING = (
    "found: independent laws, the left null space of the sampled scores. gap: orders of magnitude between the last "
    "singular value that counts and the first that does not. stated: what the catalogue says of the architecture."
)

SMALL = {
    "MLP 3-4-3-2": Shape((Dense(3, 4), Act("relu"), Dense(4, 3), Act("relu"), Dense(3, 2)), (3,), 2),
    "MLP 3-4-3-2 with biases": Shape(
        (Dense(3, 4, True), Act("relu"), Dense(4, 3, True), Act("relu"), Dense(3, 2, True)), (3,), 2
    ),
    "conv net with a max-pool": Shape(
        (Conv(1, 3, 2, bias=True), Act("relu"), Pool("max", 2, 1), Flatten(), Dense(12, 2, True)), (1, 4, 4), 2
    ),
    "residual block": Shape(
        (
            Dense(2, 3, True),
            Act("relu"),
            Branches("sum", ((Dense(3, 4), Act("relu"), Dense(4, 3)), ())),
            Act("relu"),
            Dense(3, 2, True),
        ),
        (2,),
        2,
    ),
    "tanh MLP 3-4-3-2, the control": Shape((Dense(3, 4), Act("tanh"), Dense(4, 3), Act("tanh"), Dense(3, 2)), (3,), 2),
}


def discovered(
    reference: str, seed: int, device: torch.device, data: str | None, classes: int | None, progress: Progress
) -> dict[str, Any]:
    """All laws of a pruner on small architectures, or of the loss's saliency on a model.

    Raises UsageError for what is neither, ScoreError where a scorer fails.
    """
    if is_pruner(reference):
        pruner = load_pruner(reference)
        if pruner.score is None:
            raise UsageError(f"{pruner.name} gives masks, no scores: there are no laws of scores to discover")
        places = [Architecture.of_shape(name, shape) for name, shape in SMALL.items()]
        found = [_record(discover(place, pruner, seed, progress=progress)) for place in places]
        return {"subject": pruner.name, "kind": "pruner", "seed": seed, "architectures": found}
    problem = loading.load_model(reference, seed, device, data, classes)
    learned = loading.load_learned(reference, seed, classes)
    place = Architecture.of_problem(reference, problem, learned)
    found = [_record(discover(place, the_loss, seed, progress=progress))]
    return {"subject": reference, "kind": "model", "seed": seed, "architectures": found}


def is_pruner(reference: str) -> bool:
    """Whether a name or reference means a pruner: a function that takes arguments is a scorer, one without a factory.

    Raises UsageError for what is neither pruner nor model.
    """
    if ":" not in reference:
        pruners, models = built_in_pruners(), built_in_models()
        if reference not in pruners and reference not in models:
            raise UsageError(
                f"there is no pruner or model {reference!r}; built in are {', '.join(sorted(pruners))} and "
                f"{', '.join(sorted(models))}; yours is named as package.module:object or file.py:object"
            )
        return reference in pruners
    value = load_object(reference)
    return isinstance(value, Pruner) or (callable(value) and not isinstance(value, type) and _asks(value))


def _asks(function: Callable[..., object]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a builtin, which says nothing of its arguments
        return False
    return any(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def _record(found: Discovery) -> dict[str, Any]:
    laws = [
        {"law": law.words, "explained by": list(law.laws), "off the catalogue's span": law.off} for law in found.laws
    ]
    return {
        "architecture": found.architecture.name,
        "rows": found.rows.size,
        "level": found.rows.level.value,
        "cost": _cost(found),
        "samples": found.space.sampled,
        "convincing": found.convincing,
        "gap": found.space.gap,
        "gap needed": found.space.needed,
        "first value that does not count": found.space.left,
        "rounding": found.space.noise,
        "residual on fresh samples": found.fresh,
        "found": len(found.laws),
        "explained": len(found.laws) - len(found.unexplained),
        "unexplained": len(found.unexplained),
        "stated": found.basis.stated,
        "stated and held": found.basis.held,
        "in whole numbers": found.basis.whole,
        "laws": laws,
        "always 0": list(found.idle),
        "seconds": found.seconds,
    }


def _cost(found: Discovery) -> str:
    """What the rows cost, and what those entry by entry would have."""
    taken = _estimate(found.rows.size)
    if found.rows.level is Level.ENTRIES:
        return taken
    shapes = {block.name: block.shape for block in found.rows.blocks}
    fine = rows_of(found.architecture.batch.network.graph, shapes, Level.ENTRIES).size
    return f"{taken}; entry by entry {_estimate(fine)}: too much"


def _estimate(rows: int) -> str:
    return (
        f"{rows:,} rows of {columns_for(rows):,} samples, about {operations(rows) / 1e9:,.3g} GFlop "
        f"and {memory(rows) / 2**30:,.3g} GiB"
    )


def discovered_text(result: dict[str, Any]) -> str:
    """A discovery for people: the table, then what the catalogue lacks, then, of a model, every law."""
    table = Table(box=None, pad_edge=False)
    table.add_column("architecture")
    for column in ("rows", "found", "explained", "unexplained", "stated", "of these held", "gap", "seconds"):
        table.add_column(column, justify="right")
    for one in result["architectures"]:
        table.add_row(one["architecture"], *map(str, _numbers(one)))
    buffer = StringIO()
    Console(file=buffer, width=200, markup=False, highlight=False, no_color=True).print(table)
    lines = [f"constant linear laws of {_of(result)}", *(line.rstrip() for line in buffer.getvalue().splitlines())]
    lines.append(f"({READING})")
    for one in result["architectures"]:
        lines += _said_of(one, result["kind"] == "model")
    return "\n".join(lines) + "\n"


def _of(result: dict[str, Any]) -> str:
    if result["kind"] == "pruner":
        return f"the scores of {result['subject']}, biases with their saliency where it has an objective"
    return f"the loss's saliency theta * dL/dtheta on {result['subject']}"


def _numbers(one: dict[str, Any]) -> list[object]:
    gap = f"1e{math.log10(one['gap']):.0f}" if one["gap"] > 0 else "-"
    found = [one["found"], one["explained"], one["unexplained"]] if one["convincing"] else ["?", "?", "?"]
    return [one["rows"], *found, one["stated"], one["stated and held"], gap, f"{one['seconds']:.1f}"]


def _said_of(one: dict[str, Any], whole: bool) -> list[str]:
    name, lines = one["architecture"], []
    if not one["convincing"]:
        lines.append(f"{name}: no dimension is claimed: {_doubt(one)}")
    if one["level"] != Level.ENTRIES.value:
        lines.append(f"{name}: {one['level']}, {one['cost']}")
    if whole and one["always 0"]:
        lines.append(f"{name}: always 0, and so in no law: {', '.join(one['always 0'])}")
    lacking = [law["law"] for law in one["laws"] if not law["explained by"]]
    if lacking:
        lines += [f"{name}: not in the catalogue:", *_listed(lacking)]
    by = Counter(id for law in one["laws"] for id in law["explained by"])
    if by:
        lines.append(f"{name}: explained by {', '.join(f'{id} ({count})' for id, count in by.items())}")
    if whole:
        lines += _listed(
            [f"{', '.join(law['explained by'])}  {law['law']}" for law in one["laws"] if law["explained by"]]
        )
    return lines


def _doubt(one: dict[str, Any]) -> str:
    if one["samples"] <= one["rows"]:
        return f"only {one['samples']} samples were not all 0, fewer than rows: nothing flows, or it saturates"
    return (
        f"the singular values fall by {one['gap']:.1e} to {one['first value that does not count']:.1e}; that rounding "
        f"alone is left is sure from {one['gap needed']:.1e} and {one['rounding']:.1e} on. Near-laws, such as those "
        "before a norm with a small eps, blur it"
    )


def _listed(texts: list[str]) -> list[str]:
    more = len(texts) - SHOWN
    return [f"  {text}" for text in texts[:SHOWN]] + ([f"  and {more} more; --json lists all"] if more > 0 else [])
