"""Scripts: a witness as a Python file of its own that shows the failure with torch and the pruner alone."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from textwrap import fill

import torch
from torch import Tensor

from pruning.masks import Tensors
from pruning.pruner import Pruner
from theory.case import Case
from theory.law import Law
from theory.laws.critical import maximal_critical_compression, safe_rounds
from theory.networks.spec import NetSpec
from theory.verdict import Witness
from theory.witness.recorded import Shown, Sum, shown
from theory.witness.written import Written, written

LONGEST = 30  # lines of a script
PROMISE = "exit status 1 while it does."  # which tells a script from any other file
WIDTH = 118

# what a run must be like, for the laws of runs: what is printed of it, and what is wrong about it
RUNS: Mapping[str, tuple[str, str]] = {
    "usable_runs": ('"kept", run.kept.tolist()', "False"),  # what can't be used raises
    "exact_budget": (
        '"asked for", list(run.targets), "kept", run.kept.sum(1).tolist()',
        "run.kept.sum(1).tolist() != list(run.targets)",
    ),
    "data_free": ('"asked for:", run.calls', 'bool(run.calls.get("batch"))'),
    "data_free_runs": ('"asked for:", run.calls', 'bool(run.calls.get("batch"))'),
    "nested_masks": ('"pruned weights that came back, by round:", run.revived', "any(run.revived)"),
}

BY_STATE = {"determinism"}  # asks from random states that nobody sets, which two plain calls do not


def script(witness: Witness, law: Law, pruner: Pruner, reference: str) -> str:
    """A Python file that shows a witness: exit status 1 while the pruner, named by `reference`, still fails.

    Where the network can be written in torch's words, and the failure an equation between scores or a run, it says
    so in torch's words; else it holds the witness as data, and runs it as `prunelaws repro` does.
    """
    head = _head(witness, law)
    spec = NetSpec.from_json(witness.spec)
    module = written(spec)
    body: list[str] | None = None
    if module is not None and law is maximal_critical_compression:
        body = _collapse(spec, module, reference)
    elif module is not None and law.name in RUNS:
        body = _run(spec, module, law, pruner, reference)
    elif module is not None and law.name not in BY_STATE:
        found = shown(witness, law, pruner)
        body = _equation(spec, module, found, reference) if found else None
    lines = [*head, *(body or [])]
    return "\n".join(lines if body and len(lines) < LONGEST else [*head, *_as_data(witness, reference)]) + "\n"


def _head(witness: Witness, law: Law) -> list[str]:
    said = f"{witness.pruner} breaks {law.name} on {witness.network}: {PROMISE}"
    texts = (said, f"{law.statement} [{law.source}]", witness.where)
    return [f'"""{_wrapped(texts[0])}', "", *map(_wrapped, texts[1:]), '"""', ""]


def _wrapped(text: str) -> str:
    return fill(text.replace("\\", "/").replace('"""', "'''"), WIDTH)


def _as_data(witness: Witness, reference: str) -> list[str]:
    text = json.dumps({"law": witness.law, **_fields(witness)}, allow_nan=True)
    return [
        "import json",
        "",
        "from prunelaws import load_pruner, repro",
        "",
        f"pruner = {_loaded(reference)}",
        f"raise SystemExit(repro(json.loads({text!r}), pruner))",
    ]


def _fields(witness: Witness) -> dict[str, object]:
    return {name: value for name, value in vars(witness).items() if name != "law"}


# numbers


def _literal(tensor: Tensor) -> str:
    if tensor.numel() > 4 and bool((tensor == tensor.flatten()[0]).all()):
        return f"torch.full({tuple(tensor.shape)}, {tensor.flatten()[0].item()!r})"
    return f"torch.tensor({tensor.tolist()!r})"


def _dict(tensors: Tensors) -> str:
    return "{" + ", ".join(f"{n!r}: {_literal(t)}" for n, t in tensors.items()) + "}"


def _imports(reference: str, more: str, module: Written) -> list[str]:
    names = ", ".join(sorted(["load_pruner", *more.split()]))
    imports = ["import torch", "from torch import nn", "", f"from prunelaws import {names}", ""]
    classes = [*module.classes, ""] if module.classes else []
    return [*imports, *classes, "torch.set_default_dtype(torch.float64)", f"pruner = {_loaded(reference)}"]


def _loaded(reference: str) -> str:
    return f"load_pruner({reference!r}, beside=__file__)" if ":" in reference else f"load_pruner({reference!r})"


def _batch(spec: NetSpec) -> tuple[Tensor, Tensor | None]:
    batch = spec.batch()
    if batch.inputs is None or batch.targets is None:
        return torch.ones(spec.shape.samples, *spec.shape.input, dtype=torch.float64), None
    return batch.inputs[0], batch.targets[0]


def _problem(spec: NetSpec) -> str:
    return f"problem(net, x, y, loss={spec.loss!r}, seed={spec.seed})"


def _data(spec: NetSpec) -> str:
    x, y = _batch(spec)
    return f"x, y = {_literal(x)}, {_literal(y) if y is not None else None}"


# an equation between scores


def _equation(spec: NetSpec, module: Written, found: Shown, reference: str) -> list[str] | None:
    used = sorted({which for side in (found.left, found.right) for which, _, _ in side.terms})
    current: tuple[Tensor, Tensor | None] = _batch(spec)
    lines = [*_imports(reference, "problem scores", module), f"net = {module.text}", _data(spec)]
    for which in used:
        answer = found.answers[which]
        if answer.batch is not None and not _same(answer.batch, current):
            lines.append(f"x, y = {_literal(answer.batch[0])}, {_literal(answer.batch[1])}")
            current = answer.batch
        masks = "" if all(bool(m.all()) for m in answer.masks.values()) else f", masks={_dict(answer.masks)}"
        lines.append(f"net.load_state_dict({_dict(answer.parameters)})")
        lines.append(f"{_name(which)} = scores(pruner, {_problem(spec)}{masks})")
    left, right = (_written(side, found) for side in (found.left, found.right))
    sign = "is found, which may be at most" if found.at_most else "should be"
    off = "left - right" if found.at_most else "abs(left - right)"
    lines += [f"left = {left}{_remark(found.left)}", f"right = {right}{_remark(found.right)}"]
    lines += [
        f'print(f"{{float(left)!r}} {sign} {{float(right)!r}}")',
        f"raise SystemExit(bool({off} > {found.allowed!r}))",
    ]
    return lines


def _same(batch: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor | None]) -> bool:
    return other[1] is not None and torch.equal(batch[0], other[0]) and torch.equal(batch[1], other[1])


def _name(which: int) -> str:
    return "abcdefghijklmnopqrstuvwxyz"[which % 26] + "_" * (which // 26)


def _written(side: Sum, found: Shown) -> str:
    """Such as a["0.weight"][0, 1] + 2 * a["2.weight"].sum(): entries, or a whole tensor where all count alike."""
    parts = list(_terms(side, found))
    if side.constant or not parts:
        parts.append(f"torch.tensor({side.constant!r})" if not parts else repr(side.constant))
    return " + ".join(parts)


def _remark(side: Sum) -> str:
    return "  # what is no score, the law computes from the network" if side.constant else ""


def _terms(side: Sum, found: Shown) -> Iterator[str]:
    tensors = dict.fromkeys((which, name) for which, name, _ in side.terms)
    for which, name in tensors:
        score = found.answers[which].scores[name]
        own = {entry: slope for (w, n, entry), slope in side.terms.items() if (w, n) == (which, name)}
        at = f"{_name(which)}[{name!r}]".replace("'", '"')
        if len(own) == score.numel() > 1 and len(set(own.values())) == 1:
            yield _times(next(iter(own.values())), f"{at}.sum()")
        else:
            yield from (_times(slope, f"{at}[{_index(entry, score)}]") for entry, slope in own.items())


def _times(slope: float, text: str) -> str:
    return text if slope == 1 else f"{slope:g} * {text}" if slope == round(slope) else f"{slope!r} * {text}"


def _index(entry: int, score: Tensor) -> str:
    return ", ".join(str(int(i)) for i in torch.unravel_index(torch.tensor(entry), score.shape))


# a run


def _collapse(spec: NetSpec, module: Written, reference: str) -> list[str]:
    """A run to one weight per layer, and whether what is left passes anything on."""
    total, layers = sum(math.prod(spec.shape.parameters()[n]) for n in spec.values), len(spec.values)
    state = {n: torch.tensor(v, dtype=torch.float64) for n, v in spec.values.items()}
    return [
        *_imports(reference, "exponential problem prune", module),
        f"net = {module.text}",
        f"weights = {_dict(state)}",
        "net.load_state_dict(weights)",
        _data(spec),
        f"run = prune({_problem(spec)}, pruner, exponential({total}, {layers}, {safe_rounds(total, layers)}))",
        "net.load_state_dict({n: ((w != 0) & run.masks[n]).double() for n, w in weights.items()})",
        "alive = bool(net(torch.ones_like(x)).sum() > 0)",
        f'print("kept by layer", run.kept[-1].tolist(), "of {layers} layers; a live path:", alive)',
        f"raise SystemExit(not alive or run.kept[-1].tolist() != {[1] * layers})",
    ]


def _run(spec: NetSpec, module: Written, law: Law, pruner: Pruner, reference: str) -> list[str]:
    case = Case.under(pruner, spec.batch())
    plans = ", ".join(f"({plan.keep}, {plan.rounds})" for plan in case.plans)
    told, wrong = RUNS[law.name]
    state = {n: torch.tensor(v, dtype=torch.float64) for n, v in spec.values.items()}
    return [
        *_imports(reference, "exponential problem prune", module),
        f"net = {module.text}",
        f"net.load_state_dict({_dict(state)})",
        _data(spec),
        "failed = False",
        f"for keep, rounds in ({plans}):",
        "    try:",
        f"        run = prune({_problem(spec)}, pruner, exponential({case.total}, keep, rounds))",
        f"        print({told})",
        f"        failed |= {wrong}",
        "    except ValueError as error:",
        "        print(error)",
        "        failed = True",
        "raise SystemExit(failed)",
    ]
