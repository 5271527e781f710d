"""A run to versioned JSON and back; infinities and NaN survive as the strings "Infinity", "-Infinity" and "NaN"."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json as parse

from theory.verdict import SCHEMA_VERSION, Run


@dataclass(frozen=True)
class ProofEntry:
    """What was expanded to prove a law: shapes in words, patterns and identities, and what is trusted."""

    id: str
    text: str
    shapes: list[str]
    patterns: int
    identities: int
    trivial: int
    trusted: str


@dataclass(frozen=True)
class LawEntry:
    """What a record says of a law."""

    id: str
    name: str
    statement: str
    source: str
    subject: str
    claim: str | None
    needs: list[str]
    grades: list[str]
    impostor: str
    families: list[str] = field(default_factory=list)
    proof: ProofEntry | None = None
    folklore: str | None = None


@dataclass(frozen=True)
class PrunerEntry:
    """What a record says of a pruner."""

    name: str
    claims: list[str]
    objective: bool
    rounds: int


def to_json(run: Run) -> str:
    """The record as JSON: fields in the order of their declaration, indented by 1, a newline at the end."""
    return _runs().dump_json(run, indent=1).decode() + "\n"


def from_json(text: str) -> Run:
    """The run that `to_json` wrote. Raises ValueError, in one line, for anything else."""
    try:
        data = parse(text)
    except ValueError as error:
        raise ValueError(f"no record of a prunelaws run: truncated or not JSON ({error})") from None
    _check_version(data)
    try:
        run = _runs().validate_json(text)
        _laws().validate_python(run.laws)
        _pruners().validate_python(run.pruners)
    except ValidationError as error:
        raise ValueError(f"no record of a prunelaws run: {_first(error)}") from None
    _check_lengths(run)
    _check_precision(run)
    return run


def schema() -> dict[str, Any]:
    """The JSON Schema of a record."""
    made = _runs().json_schema(mode="serialization")
    made["properties"] |= {
        "laws": {"type": "array", "items": _laws().json_schema()["$defs"]["LawEntry"]},
        "pruners": {"type": "array", "items": _pruners().json_schema()["$defs"]["PrunerEntry"]},
        "version": {"const": SCHEMA_VERSION},
    }
    result: dict[str, Any] = _with_infinities(made)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **result}


@cache
def _runs() -> TypeAdapter[Run]:
    return TypeAdapter(Run)


@cache
def _laws() -> TypeAdapter[list[LawEntry]]:
    return TypeAdapter(list[LawEntry])


@cache
def _pruners() -> TypeAdapter[list[PrunerEntry]]:
    return TypeAdapter(list[PrunerEntry])


def _check_version(data: Any) -> None:
    version = data.get("version") if isinstance(data, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or "verdicts" not in data:
        raise ValueError("no record of a prunelaws run: it has no version and no verdicts")
    if version != SCHEMA_VERSION:
        age, remedy = ("newer", "update prunelaws") if version > SCHEMA_VERSION else ("older", "verify again")
        raise ValueError(
            f"this record has version {version}, {age} than the version {SCHEMA_VERSION} that is read here: {remedy}"
        )


def _check_lengths(run: Run) -> None:
    for record in run.runs:
        rounds = {len(record.targets), len(record.kept), len(record.mass), len(record.cut)}
        layers = {len(record.layers), len(record.sizes), *map(len, record.kept)}
        if len(rounds) > 1 or len(layers) > 1:
            raise ValueError(
                f"no record of a prunelaws run: the run of {record.pruner!r} on {record.model!r} "
                "has lists of rounds or layers that differ in length"
            )


def _check_precision(run: Run) -> None:
    for record in run.precision:
        done, missing = len(record.exchanged), len(record.kept) - len(record.exchanged)
        if done != len(record.kept_float32) or missing < 0 or bool(missing) != bool(record.ended):
            raise ValueError(
                f"no record of a prunelaws run: the float32 run of {record.pruner!r} on {record.model!r} "
                "has lists of rounds that do not fit"
            )


def _first(error: ValidationError) -> str:
    details = error.errors(include_url=False, include_input=False, include_context=False)
    where = ".".join(str(part) for part in details[0]["loc"])
    return f"{where}: {details[0]['msg']}" + (f" (and {len(details) - 1} more)" if len(details) > 1 else "")


def _with_infinities(part: Any) -> Any:
    if isinstance(part, list):
        return [_with_infinities(p) for p in part]
    if not isinstance(part, dict):
        return part
    inner = {key: _with_infinities(value) for key, value in part.items()}
    if inner.get("type") != "number":
        return inner
    outer = {key: inner.pop(key) for key in ("title", "default") if key in inner}
    return {**outer, "anyOf": [inner, {"enum": ["Infinity", "-Infinity", "NaN"]}]}
