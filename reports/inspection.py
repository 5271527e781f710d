"""What the theory can say of a model without any pruner: operator types, units that balance, laws that apply."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import StringIO
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from pruning.graph import Graph, Node
from pruning.problem import Problem
from theory.case import Case
from theory.full_size import Model, batch_of_model
from theory.judge import unmet
from theory.law import Law, Subject
from theory.laws import catalogue
from theory.optype import OpType, types_of
from theory.subjects import the_loss

NOTHING = "speaks of operators that do not run in it"
READING = (
    "type: degree in the input; monotone and convex on nonnegative inputs with absolute weights, as SynFlow reads it. "
    "sound: hidden units at which the saliency that enters is known to leave."
)


def inspection(name: str, problem: Problem) -> dict[str, Any]:
    """The map of a model as data: a row for each module and each law, and why what does not hold does not."""
    network = problem.network
    graph = network.graph
    types = types_of(graph, {**network.neutral, **network.weights})
    case = Case(batch_of_model(Model(name, problem)), the_loss, generic=True)
    hidden = [j for j in graph.hidden if j.incoming or j.sources]
    return {
        "model": name,
        "weights": sum(w.numel() for w in network.weights.values()),
        "layers": len(network.weights),
        "units": sum(j.units for j in hidden),
        "sound units": sum(j.units for j in hidden if not j.objections),
        "traits": sorted(trait.value for trait in case.traits),
        "modules": list(_modules(graph, types)),
        "laws": [_law_row(law, case) for law in catalogue().values()],
        "turns": list(network.turns),
        "unpruned": [f"{name}: {why}" for name, why in network.unpruned.items()],
        "objections": list(graph.objections),
        "lost": list(dict.fromkeys(why for t in types.values() for why in t.why)),
    }


def _modules(graph: Graph, types: dict[str, OpType]) -> Iterator[dict[str, Any]]:
    """A row for each run of operators that one module makes."""
    runs: list[list[Node]] = []
    for node in graph.nodes:
        if runs and runs[-1][-1].where == node.where:
            runs[-1].append(node)
        else:
            runs.append([node])
    for run in runs:
        names = {node.name for node in run}
        made = types[run[-1].name]
        own = [j for j in graph.hidden if names & {e.node.name for e in j.incoming} or _starts(j.values, names)]
        yield {
            "where": run[0].where,
            "operators": list(dict.fromkeys(node.kind for node in run)),
            "degree": made.degree,
            "monotone": made.monotone,
            "convex": made.convex,
            "units": sum(j.units for j in own),
            "sound": sum(j.units for j in own if not j.objections),
        }


def _starts(values: tuple[str, ...], names: set[str]) -> bool:
    return bool(values) and values[0] in names


def speaks(law: Law, case: Case) -> bool:
    """Whether a law of modules finds anything there to speak of.

    Asked of tensors without numbers, so in no time whatever the model's size: a law that needs numbers to go
    on has found its module.
    """
    bare = replace(case, batch=case.batch.to(device=torch.device("meta")))
    try:
        return next(iter(law.measure(bare)), None) is not None
    except (RuntimeError, NotImplementedError):
        return True


def _law_row(law: Law, case: Case) -> dict[str, Any]:
    reason = unmet(law, case)
    if reason is None and law.subject is Subject.MODULE and not speaks(law, case):
        reason = NOTHING
    partly = law.local and reason is None and bool(case.graph.objections)
    return {"id": law.id, "name": law.name, "applies": reason is None, "partly": partly, "reason": reason}


def inspection_text(found: dict[str, Any], most: int = 12) -> str:
    """The map for people: modules, what is lost and where, the laws that can't be applied."""
    head = (
        f"{found['model']}: {found['weights']:,} weights in {found['layers']} layers; "
        f"{found['sound units']:,} of {found['units']:,} hidden units are sound\n({READING})\n\n"
    )
    rows = [[m["where"], " ".join(m["operators"]), type_of(m), sound(m, "/")] for m in found["modules"]]
    text = head + _table(["module", "operators", "type", "sound"], rows) + "\n"
    for title, lines in (
        ("followed, for torch.export can't trace it", found["turns"]),
        ("parameters that are not pruned", found["unpruned"]),
        ("lost on the way", found["lost"]),
        ("units that may not balance", found["objections"]),
    ):
        if lines:
            told = alike(lines)
            more = f"  and {len(told) - most} more (--json has all)\n" if len(told) > most else ""
            text += f"{title}:\n" + "".join(f"  {line}\n" for line in told[:most]) + more + "\n"
    applying = [law for law in found["laws"] if law["applies"]]
    way = ", the way that it goes on its example" if found["turns"] else ""
    text += f"laws whose hypotheses it meets{way}: {', '.join(_short(law) for law in applying)}\n"
    text += "  (* only at the sound units)\n" if any(law["partly"] for law in applying) else ""
    return text + "".join(f"not {', '.join(ids)}: {reason}\n" for reason, ids in reasons(found).items())


def alike(lines: Sequence[str]) -> list[str]:
    """Lines that differ in a number alone, as those of repeated blocks do, said once: h.{0..11}.mlp."""
    rows = [re.split(r"(\d+)", line) for line in lines]  # numbers at the odd places
    for place in range(1, max(map(len, rows), default=0), 2):
        groups: dict[tuple[str, ...], list[str]] = {}
        for row in rows:
            rest = row[:place] + ["" for _ in row[place : place + 1]] + row[place + 1 :]
            groups.setdefault(tuple(rest), []).extend(row[place : place + 1])
        rows = [[*rest[:place], *_span(numbers), *rest[place + 1 :]] for rest, numbers in groups.items()]
    return ["".join(row) for row in rows]


def _span(numbers: Sequence[str]) -> list[str]:
    """At most one text: what is to stand in place of the numbers."""
    own = sorted(dict.fromkeys(numbers), key=int)
    if len(own) < 2:
        return own
    running = own == [str(n) for n in range(int(own[0]), int(own[-1]) + 1)]
    return [f"{{{own[0]}..{own[-1]}}}" if running else f"{{{','.join(own)}}}"]


def reasons(found: dict[str, Any]) -> dict[str, list[str]]:
    """The ids of the laws that can't be applied, by why."""
    by_reason: dict[str, list[str]] = {}
    for law in found["laws"]:
        if not law["applies"]:
            by_reason.setdefault(law["reason"], []).append(law["id"])
    return by_reason


def _short(law: dict[str, Any]) -> str:
    return f"{law['id']}{'*' * law['partly']}"


def sound(module: dict[str, Any], of: str = " of ") -> str:
    """How many of the hidden units that the module starts are sound; nothing where it starts none."""
    return f"{module['sound']}{of}{module['units']}" if module["units"] else ""


def type_of(module: dict[str, Any]) -> str:
    """Degree, monotone, convex, in words."""
    degree = "no degree" if module["degree"] is None else f"degree {module['degree']:g}"
    kinds = [name for name in ("monotone", "convex") if module[name]]
    return ", ".join([degree, *kinds])


def _table(columns: list[str], rows: list[list[str]]) -> str:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    buffer = StringIO()
    Console(file=buffer, width=200, markup=False, highlight=False, no_color=True).print(table)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"
