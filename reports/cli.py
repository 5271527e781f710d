"""The command `prunelaws`: verify, prune, inspect, discover, list, explain, repro."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from pruning.errors import UsageError
from reports.live import Live
from theory.verdict import Run

OK, FAILED, USAGE, UNVERIFIED, INTERRUPTED = 0, 1, 2, 3, 130
DEFAULT_OUT = Path("reports/out")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Holds neural-network pruners to their theory. Results go to stdout, progress and notes to stderr.\n\n"
    "Exit status: 0 every claim and contract kept; 1 a claim refuted or a contract broken; 2 usage; "
    "3 a claim or the whole run could not be tested, or a fault of our own; 130 interrupted.",
)

Pruners = Annotated[
    list[str] | None,
    typer.Argument(help="Built-in names, package.module:object or file.py:object. Default: all built-in pruners."),
]
Out = Annotated[Path, typer.Option("-o", "--out", help="Folder for run.json, report.html, report.md, witnesses/.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Seed = Annotated[int, typer.Option(help="Decides every random number.", min=0, max=2**32 - 1)]
Device = Annotated[str, typer.Option(help="Where tensors live: cpu, cuda, cuda:1, ...")]
Data = Annotated[
    str | None, typer.Option(help="module:factory returning (inputs, targets, loss). Default: a synthetic batch.")
]
Classes = Annotated[int | None, typer.Option(help="Outputs of a built-in model.", min=1)]


@app.command()
def verify(
    pruners: Pruners = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="Also verify on this model: a built-in name or module:factory. May be repeated."),
    ] = None,
    laws: Annotated[list[str] | None, typer.Option(help="Only these laws (names or ids, commas allowed).")] = None,
    claim: Annotated[
        list[str] | None, typer.Option(help="Hold the named pruners to this claim as well. May be repeated.")
    ] = None,
    examples: Annotated[int, typer.Option(help="Random networks per law and family.")] = 320,
    rounds: Annotated[
        int | None,
        typer.Option(help="Rounds of the run on a model. Default: as each pruner was published.", min=1, max=32_767),
    ] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    data: Data = None,
    classes: Classes = None,
    out: Out = DEFAULT_OUT,
    as_json: AsJson = False,
) -> None:
    """Check the laws for pruners on random networks and, with --model, along a pruning run of a full-size one."""
    from pruning.references import load_device, load_pruner
    from reports import files, loading, terminal
    from reports.record import to_json
    from theory.laws import laws_named
    from theory.networks import built_in as families
    from theory.sidebyside import processors
    from theory.verify import Model, budget_for
    from theory.verify import verify as run_verification
    from theory.witnesses import load_corpus

    references = pruners or _default_pruners()
    loaded = [load_pruner(name, claim or []) for name in references]
    chosen, where = laws_named(laws or []), load_device(device)
    others = loading.other_subjects(chosen) if laws or not pruners else []
    budget = _usage(lambda: budget_for(examples, seed))
    _refuse_twins([pruner.name for pruner, _ in loaded])
    files.prepare(out)
    problems = loading.load_models(model or [], seed, where, data, classes)
    models = [Model(name, problem, rounds) for name, problem in problems.items()]
    for model_ in models:
        _note_objections(model_.name, model_.network)
    live = Live()
    with live, redirect_stdout(sys.stderr):  # a scorer that prints must not get into the result
        maps = [_mapped(live, model_.name, model_.problem) for model_ in models]
        run = run_verification(
            [*(pruner for pruner, _ in loaded), *others],
            chosen,
            list(families().values()),
            models,
            budget,
            load_corpus(),
            where,
            live.step,
            live.verdict,
            proofs=bool(others),
            workers=processors(),
        )
    names = [*references, *(subject.name for subject in others)]
    named = [{**record, "reference": name} for record, name in zip(run.pruners, names, strict=True)]
    where_from = {**run.provenance, "folder": str(out), "examples": str(examples)}
    run = replace(run, pruners=named, provenance=where_from, maps=maps)
    files.write(run, out)
    sys.stdout.write(to_json(run) if as_json else terminal.as_text(run, out))
    for pruner, bare in loaded:
        if bare and not pruner.claims:
            _note(terminal.how_to_claim(pruner.name, run))
    raise typer.Exit(_concluded(run))


@app.command()
def prune(
    pruner: Annotated[str, typer.Argument(help="Built-in name, package.module:object or file.py:object.")],
    model: Annotated[str, typer.Option(help="A built-in name or module:factory.")],
    compression: Annotated[float, typer.Option(help="Weights before, over weights after: 100 keeps 1 %.")],
    rounds: Annotated[int | None, typer.Option(help="Default: as the pruner was published.", min=1, max=32_767)] = None,
    schedule: Annotated[str, typer.Option(help="exponential, linear or one-shot.")] = "exponential",
    seed: Seed = 0,
    device: Device = "cpu",
    data: Data = None,
    classes: Classes = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write the masks to this .safetensors file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Prune a model and say, round by round, what was kept, and what that cost."""
    from pruning.engine import ScoreError
    from pruning.engine import prune as run_pruning
    from pruning.maskfile import save_masks
    from pruning.references import load_device, load_pruner
    from reports import files, loading, pruning_run, terminal

    method, _ = load_pruner(pruner, [])
    problem = loading.load_model(model, seed, load_device(device), data, classes)
    count = (1 if schedule == "one-shot" else method.rounds) if rounds is None else rounds
    plan = _usage(lambda: pruning_run.planned(problem, compression, schedule, count))
    if out is not None:
        files.prepare_file(out)
    _note_objections(model, problem.network)
    live = Live()
    try:
        with live, redirect_stdout(sys.stderr):
            trace = run_pruning(
                problem,
                method,
                plan,
                lambda r, kept: live.step(f"pruning {model}: round {r}, {kept:,} kept", r - 1, count),
            )
    except ScoreError as error:
        _note(str(error))
        raise typer.Exit(FAILED) from None
    for round_ in trace.flat:
        _note(f"round {round_}: every alive score was 0, so only the index decided")
    result = pruning_run.pruning_record(problem, trace)
    if out is not None:
        save_masks(out, trace.masks, {"pruner": method.name, "model": model, "seed": str(seed)})
    if as_json:
        return _print_json(result)
    sys.stdout.write(terminal.pruning_text(method.name, model, result))
    return None


@app.command()
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
        return _print_json(found)
    sys.stdout.write(inspection_text(found))
    return None


@app.command()
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
    from pruning.engine import ScoreError
    from pruning.references import load_device
    from reports.discovered import discovered, discovered_text

    live = Live()
    try:
        with live, redirect_stdout(sys.stderr):
            found = discovered(name, seed, load_device(device), data, classes, live.step)
    except ScoreError as error:
        _note(str(error))
        raise typer.Exit(FAILED) from None
    if as_json:
        return _print_json(found)
    sys.stdout.write(discovered_text(found))
    return None


@app.command("list")
def list_(
    laws: Annotated[
        bool, typer.Option("--laws", help="List the laws instead of pruners, families and models.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the built-in pruners, families and models, or the laws."""
    from pruning.models import built_in as models
    from pruning.pruners import built_in as built_in_pruners
    from reports import terminal
    from theory.laws import catalogue
    from theory.networks import built_in as families
    from theory.verify import described

    if laws:
        rows = [described(law) for law in catalogue().values()]
        if not as_json:
            sys.stdout.write(terminal.law_table(rows))
            return None
        return _print_json(rows)
    claims = {p.name: sorted(c.value for c in p.claims) for p in built_in_pruners().values()}
    networks = {"families": list(families()), "models": list(models())}
    if as_json:
        return _print_json({"pruners": claims, **networks})
    pairs = [["pruner", name, ", ".join(kept)] for name, kept in claims.items()]
    pairs += [["family", name, ""] for name in networks["families"]]
    pairs += [["model", name, ""] for name in networks["models"]]
    return _print_table(["kind", "name", "claims"], pairs)


@app.command()
def explain(name: Annotated[str, typer.Argument(metavar="LAW", help="A law's name or id.")]) -> None:
    """Say what a law states, when it holds, where it comes from, and show a network that breaks it."""
    from reports import terminal
    from theory.laws import laws_named

    law = next(iter(laws_named([name]).values()))
    sys.stdout.write(terminal.explanation(law))


@app.command()
def repro(
    witness: Annotated[Path, typer.Argument(help="A witness file, as `verify` writes them.")],
    pruner: Annotated[
        str | None, typer.Option(help="The pruner, if it is not built in: package.module:object or file.py:object.")
    ] = None,
) -> None:
    """Run a witness again, from its own text: exit 1 where it still breaks its law, 0 where it no longer does."""
    from reports import files, loading, terminal
    from theory.laws import laws_named
    from theory.search import replay
    from theory.verdict import Outcome

    record = files.read_witness_named(witness)
    law = next(iter(laws_named([record.law]).values()))
    method = loading.load_subject(pruner or record.pruner)
    verdict = replay(record, law, method)
    if verdict.outcome is Outcome.HELD:
        sys.stdout.write(f"{method.name} keeps {law.name} on {record.network}: the failure is gone\n")
        raise typer.Exit(OK)
    if verdict.outcome is Outcome.BROKEN:
        sys.stdout.write(terminal.failure_text(law, method.name, record, verdict.where or ""))
        raise typer.Exit(FAILED)
    _note(f"{law.name} says nothing of {method.name} on {record.network}: {verdict.reason or 'nothing flows'}")
    raise typer.Exit(UNVERIFIED)


def _mapped(live: Live, name: str, problem: Any) -> dict[str, Any]:
    from reports.inspection import inspection

    live.step(f"mapping {name}", 0, 1)
    return inspection(name, problem)


def _concluded(run: Run) -> int:
    """The exit status of a verification; what could not be tested is said."""
    from reports.pairs import untested

    if not run.checked:
        _note("nothing that was checked was more than trivial: this run verifies nothing")
        return UNVERIFIED
    missing = untested(run)
    for name, kept, reason in missing:
        _note(f"{name} claims {kept!r}, and no law could test that here: {reason}")
    return FAILED if run.failures else UNVERIFIED if missing else OK


def _default_pruners() -> list[str]:
    from pruning.pruners import built_in

    return list(built_in())


def _refuse_twins(names: list[str]) -> None:
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise UsageError(f"two of the pruners are named {twice[0]!r}; give one of them another name")


def _usage(make: Any) -> Any:
    """What `make` gives; its ValueError is the user's mistake."""
    try:
        return make()
    except ValueError as error:
        raise UsageError(str(error)) from error


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def _print_table(columns: list[str], rows: Iterable[list[Any]]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    Console(markup=False, highlight=False).print(table)


def _note_objections(name: str, network: Any) -> None:
    """Say which parts of a model the laws can't speak of, and which of its layers are not counted."""
    from reports.inspection import alike

    shown = alike([*network.turns, *network.graph.objections])
    for text in shown[:5]:
        _note(f"{name}: {text}")
    if len(shown) > 5:
        _note(f"{name}: and {len(shown) - 5} more such places")


def _note(text: str) -> None:
    sys.stderr.write(f"prunelaws: {text}\n")


def main() -> None:
    """Run the command; every way it can end has its exit status."""
    try:
        status = app(standalone_mode=False) or OK
        sys.stdout.flush()
        sys.exit(_interrupted() if status == INTERRUPTED else status)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(_interrupted())
    except BrokenPipeError:  # the reader has had enough, such as `head`; Python would complain again while it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(OK)
    except UsageError as error:
        sys.exit(_said(" ".join(str(error).split()), USAGE))
    except OSError as error:
        told = f"{error.filename or 'output'}: {error.strerror}" if error.errno else str(error)
        sys.exit(_said(told, UNVERIFIED))
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            sys.exit(_said("name a verb, such as verify; `prunelaws --help` shows them all", USAGE))
        if type(error).__module__.startswith(("click", "typer")):
            sys.exit(_said(error.format_message() if hasattr(error, "format_message") else str(error), USAGE))
        import traceback

        traceback.print_exc()
        sys.exit(_said("this is a fault of prunelaws itself, not of your pruner; please report it", UNVERIFIED))


def _interrupted() -> int:
    return _said("interrupted; files of earlier runs are as they were", INTERRUPTED)


def _said(text: str, status: int) -> int:
    _note(text)
    return status
