"""Witnesses drawn as networks: weights and saliencies on the wires, and what enters and leaves each hidden unit."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from reports.blocks import Net, Unit, Wire
from theory.law import told_number
from theory.verdict import Witness

MOST = 14  # wires: of more the labels can't be read


def drawn(witness: Witness) -> Net | None:
    """The network of a witness; None where it is no chain of linear layers, or too large to be read."""
    layers = _chain(witness)
    if not layers or sum(len(rows) * len(rows[0]) for rows, _, _ in layers) > MOST:
        return None
    widths = [len(layers[0][0][0]), *(len(rows) for rows, _, _ in layers)]
    columns = [[Unit(f"input {i}" if widths[0] > 1 else "input") for i in range(widths[0])]]
    columns += [_hidden(here, after) for here, after in pairwise(layers)]
    columns.append([Unit(_biased("output", layers[-1][1], i)) for i in range(widths[-1])])
    wires = tuple(
        Wire(c, i, o, told_number(weight), told_number(scores[o][i]) if scores else "")
        for c, (rows, _, scores) in enumerate(layers)
        for o, row in enumerate(rows)
        for i, weight in enumerate(row)
    )
    text = f"{witness.network}: {witness.where}"
    return Net(
        "Weight ▸ saliency on each wire; what enters and leaves a hidden unit below it", text, _frozen(columns), wires
    )


Layer = tuple[list[list[float]], list[float] | None, list[list[float]] | None]  # weights, biases, scores


def _chain(witness: Witness) -> list[Layer]:
    """The linear layers, where there are none but these and activations."""
    spec: dict[str, Any] = witness.spec
    found: list[Layer] = []
    for i, layer in enumerate(spec.get("shape", {}).get("layers", ())):
        if layer.get("layer") == "Dense" and not layer.get("tied") and len(spec["shape"]["input"]) == 1:
            values, scores = spec["values"], witness.scores or {}
            found.append((values[f"{i}.weight"], values.get(f"{i}.bias"), scores.get(f"{i}.weight")))
        elif layer.get("layer") != "Act":
            return []
    return found


def _hidden(here: Layer, after: Layer) -> list[Unit]:
    units = []
    for i in range(len(here[0])):
        name = _biased("", here[1], i)
        if here[2] is None or after[2] is None or here[1] is not None:  # a bias has a flow that no weight's score tells
            units.append(Unit(name))
            continue
        enters, leaves = told_number(sum(here[2][i])), told_number(sum(row[i] for row in after[2]))
        units.append(Unit(f"{enters} in, {leaves} out", enters != leaves))
    return units


def _biased(name: str, biases: list[float] | None, i: int) -> str:
    return name if biases is None else f"{name} bias {told_number(biases[i])}".strip()


def _frozen(columns: list[list[Unit]]) -> tuple[tuple[Unit, ...], ...]:
    return tuple(tuple(column) for column in columns)
