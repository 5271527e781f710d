"""What the command prints: the matrix, the failures, explanations of laws, pruned layers."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from textwrap import wrap
from typing import Any

from rich.console import Console
from rich.table import Table

from reports.failure import message
from reports.pairs import counted
from reports.profiled import survived
from reports.sections.headline import sentence
from reports.sections.precision import told as told_of_float32
from theory.law import Law
from theory.networks import built_in as built_in_families
from theory.proofs import PROOFS, prove
from theory.search import breaks_outside, refutes
from theory.telling import network_of
from theory.verdict import Outcome, Run, Standing, Verdict, Witness, overall, standing
from theory.witness.files import load_corpus

MARKS = {
    Standing.KEPT: "held",
    Standing.UNDECLARED: "held*",
    Standing.BROKEN: "broken",
    Standing.REFUTED: "REFUTED",
    Standing.VACUOUS: "vacuous",
    Standing.OUT_OF_SCOPE: "-",
}
WIDTH = 160  # of a table, where no terminal says how wide it is
ROOM = 1_000  # of a line: nothing is ever cut off
LEGEND = "held* not claimed | broken: not claimed either | REFUTED: claimed, or a contract | - out of scope"


def as_text(run: Run, folder: Path) -> str:
    """The matrix law x pruner, each failure in four lines, and one line that sums up."""
    text = "\n".join(_matrix(run, names) for names in _side_by_side(run)) + f"({LEGEND})\n\n"
    shown = {(v.law, v.pruner): v for v in reversed(run.failures)}
    for verdict in reversed(shown.values()):
        text += message(run, verdict) + "\n\n"
    return text + _in_float32(run) + _summary(run) + f"report: {folder / 'report.html'}\n"


def _side_by_side(run: Run) -> Iterator[list[str]]:
    """The pruners, as many at a time as fit beside the laws' names."""
    room = _width() - max((len(f"{law['id']} {law['name']}") for law in run.laws), default=0)
    own: list[str] = []
    used = 0
    for name in (str(p["name"]) for p in run.pruners):
        wide = max(len(name), *map(len, MARKS.values())) + 2
        if own and used + wide > room:
            yield own
            own, used = [], 0
        own.append(name)
        used += wide
    if own:
        yield own


def _width() -> int:
    return shutil.get_terminal_size(fallback=(WIDTH, 24)).columns


def _matrix(run: Run, pruners: list[str]) -> str:
    table = Table(box=None, pad_edge=False)
    for column in ("id", "law", *pruners):
        table.add_column(column, no_wrap=True)
    for law in run.laws:
        cells = [_cell([v for v in run.verdicts if (v.law, v.pruner) == (law["name"], p)]) for p in pruners]
        table.add_row(str(law["id"]), str(law["name"]), *cells)
    return _drawn(table)


def _drawn(table: Table) -> str:
    buffer = StringIO()
    Console(file=buffer, width=ROOM, markup=False, highlight=False, no_color=True).print(table)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def _cell(verdicts: list[Verdict]) -> str:
    if not verdicts:
        return ""
    return MARKS[standing(overall(verdicts), verdicts[0].claimed or verdicts[0].contract)]


def _in_float32(run: Run) -> str:
    lines = [f"{r.pruner} on {r.model}: {''.join(told_of_float32(r)).strip()}\n" for r in run.precision]
    return "".join([*lines, "\n"]) if lines else ""


def _summary(run: Run) -> str:
    outcomes = Counter(v.outcome for v in run.verdicts)
    trivial, cases = sum(v.trivial for v in run.verdicts), sum(v.cases for v in run.verdicts)
    return (
        f"{sentence(run)}. {run.checked:,} balances compared on {cases:,} problems "
        f"({trivial:,} trivial ones not counted); "
        f"{outcomes[Outcome.HELD]} checks held, {outcomes[Outcome.BROKEN]} broken, "
        f"{outcomes[Outcome.VACUOUS]} vacuous, {outcomes[Outcome.OUT_OF_SCOPE]} out of scope\n"
    )


def how_to_claim(pruner: str, run: Run) -> str:
    """How a bare function declares what it promises, with the claims that survived here."""
    options = " ".join(f"--claim '{claim}'" for claim in survived(run, pruner))
    return (
        f"{pruner} is a bare function and claims nothing, so only the contracts bind it. To hold it to more, add "
        f"--claim NAME, or make it prunelaws.scored(..., claims=[...]). Unbroken here: {options or 'none'}"
    )


def failure_text(law: Law, pruner: str, witness: Witness, where: str) -> str:
    """What `repro` says of a failure that is still there."""
    return (
        f"{pruner} breaks {law.name}\n"
        f"  law      {law.statement} [{law.source}]\n"
        f"  network  {network_of(witness)}\n"
        f"  where    {where}\n"
    )


def law_table(laws: list[dict[str, Any]]) -> str:
    """The laws for people: whom each binds, its grades of evidence, the families it speaks of, what it catches."""
    table = Table(box=None, pad_edge=False)
    for column in ("id", "law", "of", "evidence", "families", "catches"):
        table.add_column(column, no_wrap=True)
    for law in laws:
        of = law["claim"] or {"scores": "any pruner", "trace": "any pruner"}.get(law["subject"], law["subject"])
        count = f"{len(law['families'])} of {len(built_in_families())}"
        table.add_row(law["id"], law["name"], of, ", ".join(law["grades"]), count, law["impostor"])
    return _drawn(table) + "(what each says: prunelaws explain LAW; as data, families by name: --json)\n"


def claim_list(meant: Mapping[str, Sequence[tuple[str, str, str]]]) -> str:
    """What a pruner may claim: under each claim the laws that test it, by id, what they are about, and statement."""
    lines: list[str] = []
    for claim, laws in meant.items():
        lines.append(claim)
        for id_, about, statement in laws:
            lines += wrap(f"{id_} ({about}) {statement}", WIDTH, initial_indent="  ", subsequent_indent="      ")
    return "\n".join(lines) + "\n(what each needs, and what breaks it: prunelaws explain LAW)\n"


def explanation(law: Law) -> str:
    """All that is known of a law, for people."""
    lines = [f"{law.id}  {law.name}", f"  {law.statement}", "", f"  source    {law.source}"]
    lines.append(
        f"  about     {law.subject.value}; claim: {law.claim.value if law.claim else 'none, it binds every pruner'}"
    )
    lines += [f"  needs     {trait.value}" for trait in sorted(law.needs)]
    if law.given:
        lines.append(f"  of        pruners that are {' and '.join(sorted(c.value for c in law.given))}")
    lines.append(f"  evidence  {', '.join(grade.value for grade in law.grades)}")
    lines += _proved(law) + _shown_broken(law)
    return "\n".join(lines) + "\n"


def _proved(law: Law) -> list[str]:
    if law.id not in PROOFS:
        return []
    proof = prove(law.id)
    return [
        f"  proved    {proof.identities:,} identities in all weights, on {proof.patterns:,} activation patterns of",
        *(f"            {shape}" for shape in proof.shapes),
        f"            trusted: {proof.trusted}",
    ]


def _shown_broken(law: Law) -> list[str]:
    lines = ["", f"  caught    {law.impostor.name!r}, which is wrong on purpose"]
    failure = breaks_outside(law)
    if failure and law.breaks_on:
        lines += [f"  outside its hypotheses, {law.breaks_on[0].name} breaks it on", f"    {law.breaks_on[1]}"]
        lines.append(f"    {failure.where}")
    for said in law.corrects:
        if untrue := refutes(law, said):
            subject, spec = said.breaks_on
            lines += [f"  often said, and false: {said.statement}", f"    {subject.name} on {spec.brief}"]
            lines.append(f"    {untrue.where}")
    found = [w for (name, _), w in load_corpus().items() if name == law.name]
    for witness in sorted(found, key=lambda w: len(w.network))[:1]:
        lines += [f"  smallest network known that breaks it: {witness.pruner} on", f"    {witness.network}"]
        lines.append(f"    {witness.where}")
    return lines


def pruning_text(pruner: str, model: str, result: dict[str, Any]) -> str:
    """A pruning run for people: totals, then a line per layer."""
    kept, total = result["kept"], result["total"]
    table = Table(box=None, pad_edge=False)
    table.add_column("layer")
    for column in ("weights", "kept", "density"):
        table.add_column(column, justify="right")
    for layer in result["layers"]:
        share = layer["kept"] / layer["size"]
        table.add_row(layer["name"], f"{layer['size']:,}", f"{layer['kept']:,}", f"{share:.2%}")
    return (
        f"{pruner} on {model}: {kept:,} of {total:,} weights kept, compression {total / kept:,.1f}, "
        f"{counted(len(result['rounds']), 'round')}\n" + _drawn(table) + collapse_text(result["collapse"])
    )


def collapse_text(found: Mapping[str, Any]) -> str:
    """What is left of a network, in a line for each fact."""
    empty = found["emptied"]
    around = " (no cuts: live paths pass them by)" if empty and found.get("connected") else ""
    lines = [f"emptied layers: {', '.join(empty) or 'none'}{around}"]
    if "unread" in found:
        return f"{lines[0]}\nlive paths: not told for this network: {found['unread']}\n"
    alive = "there is one" if found["connected"] else "NONE is left between input and output"
    lines += [
        f"live path: {alive}; cut off: {found['inputs_cut']:,} of {counted(found['inputs'], 'input')}, "
        f"{found['outputs_cut']:,} of {counted(found['outputs'], 'output')}",
        f"density: {found['direct_density']:.3g} of the weights are kept, {found['effective_density']:.3g} of them all "
        f"on live paths ({found['on_live_paths']:,})",
        f"fewest weights that a path can have: {found['shortest_path']:,}",
    ]
    return "\n".join(lines) + "\n"
