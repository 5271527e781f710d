"""Witnesses in files: the corpus that ships with the package, and folders of anyone's own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

from pruning.network import check_finite
from theory.networks.spec import NetSpec
from theory.verdict import Witness

CORPUS = Path(__file__).parent / "corpus"
Corpus = Mapping[tuple[str, str], Witness]  # by law and pruner


def load_corpus(folder: Path = CORPUS) -> dict[tuple[str, str], Witness]:
    """Every witness in a folder, by law and pruner. Raises ValueError naming a file that is none."""
    found = [read_witness(path) for path in sorted(folder.glob("*.json"))]
    return {(witness.law, witness.pruner): witness for witness in found}


def load_corpora(folders: Iterable[Path]) -> dict[tuple[str, str], Witness]:
    """The witnesses that came with the package, and those in folders of one's own.

    Raises ValueError for a folder that there is not, and naming a file that is no witness.
    """
    found = load_corpus()
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"there is no folder {str(folder)!r} to take witnesses from")
        found |= {(law, f"{pruner} ({folder})"): w for (law, pruner), w in load_corpus(folder).items()}
    return found


def read_witness(path: Path) -> Witness:
    """The witness in a file. Raises OSError where it can't be read, ValueError for a file that is no witness."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise ValueError(f"it holds a {type(data).__name__}, wanted an object with the names of a witness")
        return checked(Witness(**data))
    except OSError:
        raise
    except Exception as error:  # json, names, types, shapes: whatever is wrong, it is the file
        raise ValueError(f"{path} is no witness that prunelaws wrote: {error}") from error


def checked(witness: Witness) -> Witness:
    """The witness, if its network can be made and its weights are finite; raises whatever that raises."""
    check_finite(NetSpec.from_json(witness.spec).batch().weights)
    return witness


def save_witness(witness: Witness, folder: Path = CORPUS) -> Path:
    """Write a witness into a folder, under its own name; the file appears whole or not at all."""
    path = folder / witness_name(witness.law, witness.pruner)
    beside = path.with_suffix(".part")
    try:
        beside.write_text(json.dumps(asdict(witness), indent=1) + "\n", encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def witness_name(law: str, pruner: str) -> str:
    """The file name under which the witness of a law and a pruner is kept."""
    return "".join(c if c.isalnum() else "-" for c in f"{law}--{pruner}") + ".json"
