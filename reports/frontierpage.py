"""The page of a collapse frontier: the paper's figures 1, 2 and 7 for the user's own methods and models."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from reports.blocks import Block, Column, Curve, Facts, Fold, Line, Plot, Section, Span, Table, Text
from reports.frontiers import COLUMNS, compressions, rows, times

Result = dict[str, Any]
WHAT = (
    "How far each method compresses a network (weights before over weights after) before one of its layers has no "
    "weight left, and before no path of weights is left between input and output. On a chain of layers the first is "
    "the second; with shortcuts neither follows from the other: a layer that a shortcut passes by may empty and all "
    "outputs still be reached, and a network without an empty layer may be cut. One path is the least that a pruner "
    "can leave: N over its weights is the highest compression there is."
)
PASSED_BY = (
    "These layers emptied while live paths were left. A layer that paths pass by, such as the 1x1 convolution of a "
    "shortcut, is no cut: all of R is carried by the cut that it is part of, a shortcut together with one layer of the "
    "block beside it, and conservation gives the layer alone no share. Its weights score what the paths through them "
    "carry, so that it goes early where that is little. No theorem is broken by it, and it is no collapse: the last "
    "path tells of that."
)
WAYS = (
    ("ranks", "scores are made once, so both edges are exact: N over the worst rank of a layer's best score"),
    ("one run", "one run passes every compression; the edge lies between two of its rounds"),
    ("search", "a run for each compression: powers of ten, then halving to 1 %; what lies between is not looked at"),
)


def sections(results: Sequence[Result], provenance: dict[str, str]) -> list[Section]:
    """The page's sections."""
    return [
        Section("Collapse frontier", "frontier", 0, (Text(WHAT), _table(results), Facts(WAYS))),
        Section("How far: figure 1 of the paper", "critical", 1, tuple(_critical(results))),
        Section("Where layers go: figure 2", "layers", 2, tuple(_layers(results))),
        *_masses(results),
        *_passed_by(results),
        Section("Provenance", "provenance", 5, (Facts(tuple(provenance.items())),)),
    ]


def _table(results: Sequence[Result]) -> Table:
    made = tuple(tuple(_cell(i, cell) for i, cell in enumerate(row)) for row in rows(results))
    return Table("Every method, model and seed", tuple(Column(t.capitalize()) for t in COLUMNS), made)


def _cell(column: int, text: str) -> Line:
    return Span(text, "code") if column in (0, 1, 4) and text != "-" else text


def _critical(results: Sequence[Result]) -> Iterator[Block]:
    """Per model a bar for each method: the compression up to which a path is left, on a logarithmic scale."""
    for model in _names(results, "model"):
        own = [r for r in results if r["model"] == model]
        end = max(r["weights"] / max(r["shortest_path"], 1) for r in own)
        body = tuple(_bar(m, [r for r in own if r["method"] == m], end) for m in _names(own, "method"))
        columns = (Column("Method"), Column("No layer empty up to"), Column("A path is left up to"))
        yield Table(f"{model}: one path is compression {times(end)}; bars on a logarithmic scale", columns, body)


def _bar(method: str, own: Sequence[Result], end: float) -> tuple[Line, ...]:
    return Span(method, "code"), *(_span(own, edge, end) for edge in ("emptied", "broken"))


def _span(own: Sequence[Result], edge: str, end: float) -> Span:
    reached = [r["weights"] / r[edge]["held"] for r in own if r[edge]["held"]]
    if not reached:
        return Span("collapsed from the start")
    low, high = min(reached), max(reached)
    middle = math.exp(sum(map(math.log, reached)) / len(reached))
    text = times(middle) if high < 1.005 * low else f"{times(middle)} ({times(low)} to {times(high)})"
    return Span(text, "bar", share=min(1.0, math.log(middle) / math.log(end)) if end > 1 else 1.0)


def _layers(results: Sequence[Result]) -> Iterator[Block]:
    """Of the first seed: per layer the share of its weights that is kept, against compression."""
    yield Text(
        "Each line is a layer, from the first to the last; it ends where the layer is empty. A method that goes by the "
        "flow through layers thins them alike until the end."
    )
    for result in results:
        if result["seed"] != min(r["seed"] for r in results if r["model"] == result["model"]):
            continue
        curves = tuple(_thinning(result))
        if curves:
            caption = f"{result['method']} on {result['model']}, seed {result['seed']}: density of each layer"
            text = f"{compressions(result, 'emptied')}: {', '.join(result['emptied']['layers']) or 'none'}"
            seen = f"A layer empties at compression {text}."
            plot = Plot(caption, seen, "Compression", curves, reach=float(result["weights"]))
            yield Fold((Span(result["method"], "code"), " on ", Span(result["model"], "code")), (plot,))


def _thinning(result: Result) -> Iterator[Curve]:
    last = max(len(result["layers"]) - 1, 1)
    for i, (name, size) in enumerate(zip(result["layers"], result["sizes"], strict=True)):
        looks = ((look, sum(look["kept"])) for look in result["looks"])
        points = tuple((result["weights"] / left, look["kept"][i] / size) for look, left in looks if left)
        if any(share for _, share in points):
            yield Curve(name, points, i / last)


def _masses(results: Sequence[Result]) -> Iterator[Section]:
    """What each round pruned of R, of the runs that have one."""
    blocks: list[Block] = []
    for model in _names(results, "model"):
        seed = min(r["seed"] for r in results if r["model"] == model)
        own = [r for r in results if (r["model"], r["seed"]) == (model, seed)]
        runs = [(f"{r['method']}, compression {times(c)}", masses) for r in own for c, masses in _runs(r)]
        curves = tuple(
            Curve(name, tuple((float(i), m or 0.0) for i, m in enumerate(masses, 1)), j / max(len(runs) - 1, 1))
            for j, (name, masses) in enumerate(runs)
        )
        if curves:
            worst = "; ".join(f"{name}: at most {max(m or 0 for m in masses):.4g} of R" for name, masses in runs)
            caption = f"{model}, seed {seed}: scores pruned in a round, as a share of R (logarithmic)"
            blocks.append(Plot(caption, worst, "Round", curves, log_across=False, level=(1.0, "a whole cut")))
    why = (
        "R is what every cut carries. A round that prunes less than R can't empty a cut (the union bound, B6); one "
        "that prunes as much may, and nothing in the theory says that it does not."
    )
    if blocks:
        yield Section("Schedule against cut mass: figure 7", "masses", 3, (Text(why), *blocks))


def _passed_by(results: Sequence[Result]) -> Iterator[Section]:
    """Layers that emptied while a path was left: they are no cut, and nothing says that they stay."""
    seen: dict[tuple[str, str], tuple[Line, ...]] = {}
    for result in results:
        alone = [look for look in result["looks"] if look["connected"] and not all(look["kept"])]
        for name in result["layers"]:
            there = [sum(look["kept"]) for look in alone if not look["kept"][result["layers"].index(name)]]
            share = result["carries"].get(name)
            if there and (result["model"], name) not in seen:
                told = "not told" if share is None else f"{share:.2%}"
                at = times(result["weights"] / max(there))
                row = Span(result["model"], "code"), Span(name, "code"), told, Span(result["method"], "code"), at
                seen[result["model"], name] = row
    if seen:
        columns = tuple(
            Column(t) for t in ("Model", "Layer", "Share of R that it carries", "First seen under", "Empty at")
        )
        yield Section(
            "Layers that are no cut", "passed", 4, (Text(PASSED_BY), Table("By layer", columns, tuple(seen.values())))
        )


def _runs(result: Result) -> Iterator[tuple[float, list[float | None]]]:
    """The last run that left a path, and the first that did not."""
    for look in result["looks"]:
        left = sum(look["kept"])
        if left in (result["broken"]["held"], result["broken"]["lost"]) and any(m for m in look["masses"]):
            yield result["weights"] / left, look["masses"]


def _names(results: Iterable[Result], what: str) -> list[str]:
    return list(dict.fromkeys(r[what] for r in results))
