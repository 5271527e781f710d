"""Certificates: what a pruning run did, as a file that somebody else can check."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from pruning.masks import Masks, Tensors
from pruning.network import Network
from pruning.rounds import Trace

Arrays = dict[str, NDArray[Any]]
FORMAT = 1
TINY = torch.finfo(torch.float64).tiny  # the least number with all its digits
FIELDS = {"died": "i2", "mass": "f8", "cut": "f8", "margin": "f8", "left": "i8"}


@dataclass(frozen=True)
class Origin:
    """What was run: names as they were typed, and what a built-in model was drawn with."""

    pruner: str
    model: str
    schedule: str
    seed: int
    classes: int | None = None


@dataclass(frozen=True)
class Certificate:
    """What a run did, round by round, bound by digests to its network and its masks.

    held: `died`, one int16 per weight, layer after layer: the round of its removal, 0 for what is left, -1 for what was
    masked from the start; and per round the scores pruned (`mass`), R before it (`cut`), the share of R left over when
    roundings are taken off (`margin`), and the weights that are left (`left`). said: format, layers and their shapes,
    digests of network, masks and of all this (`contents`), the share of R that roundings may hide, and the origin.
    """

    said: Mapping[str, Any]
    held: Arrays

    @property
    def origin(self) -> Origin:
        """What was run."""
        return Origin(**self.said["origin"])

    @property
    def rounds(self) -> int:
        """Number of rounds."""
        return len(self.held["mass"])

    def masks_at(self, round_: int) -> Masks:
        """The masks after a round; 0 is before the first."""
        parts = np.split(self.held["died"], np.cumsum([math.prod(size) for _, size in self.said["layers"]])[:-1])
        kept = {n: (d == 0) | (d > round_) for (n, _), d in zip(self.said["layers"], parts, strict=True)}
        return Masks({n: torch.from_numpy(kept[n].reshape(size)) for n, size in self.said["layers"]})


def certificate(network: Network, trace: Trace, rounding: float, origin: Origin) -> Certificate:
    """The certificate of a run. rounding: the share of R that roundings may hide.

    Raises ValueError for a run without an R, or with one that is
    beyond float64, and for one that revives weights: a round of removal says nothing then.
    """
    if any(trace.revived):
        raise ValueError("weights came back in this run, and a certificate is of weights that fall once")
    ends = torch.stack([trace.mass, trace.cut])
    lost = (ends > 0) & (ends < TINY) | (ends[1] == 0) & (trace.log_cut > -math.inf)
    if not bool(torch.isfinite(ends).all()) or bool(lost.any()):
        raise ValueError("the run has rounds without an R, or with one beyond float64: there is no mass to certify")
    share = torch.where(trace.cut > 0, trace.mass / trace.cut, 2.0)
    held: Arrays = {
        "died": np.concatenate([d.cpu().numpy().astype(np.int16).reshape(-1) for d in trace.died.values()]),
        "mass": trace.mass.numpy(),
        "cut": trace.cut.numpy(),
        "margin": (1 - share - rounding).numpy(),
        "left": trace.kept.sum(1).numpy(),
    }
    said = {
        "format": FORMAT,
        "rounding": rounding,
        "layers": [[n, list(d.shape)] for n, d in trace.died.items()],
        "network": digest(sorted(as_scored(network).items())),
        "masks": digest((n, m.cpu().numpy()) for n, m in trace.masks.items()),
        "origin": asdict(origin),
    }
    return Certificate({**said, "contents": _contents(said, held)}, held)


def as_scored(network: Network) -> Arrays:
    """Every parameter as SynFlow reads it, in float64: the weights as they are, all else neutral."""
    params: Tensors = {**network.neutral, **network.weights}
    return {n: t.detach().cpu().double().numpy() for n, t in params.items()}


def write_certificate(path: Path, made: Certificate) -> None:
    """Write a certificate; it appears whole or not at all. Raises OSError where it can't be written."""
    beside = path.with_name(path.name + ".part")
    try:
        beside.write_bytes(save(made.held, {"certificate": _text(made.said)}))
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read_certificate(path: Path) -> Certificate:
    """A certificate as it was written. Raises ValueError for anything else, FileNotFoundError where there is none."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    try:
        with safe_open(path, framework="numpy") as opened:
            words = opened.metadata() or {}
            held = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (it is no mapping)
        said = json.loads(words["certificate"])
        form, bound = said["format"], said["contents"]
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is no certificate, or is cut short ({type(error).__name__}: {error})") from None
    if form != FORMAT:
        raise ValueError(f"it has format {form!r}, and format {FORMAT} is known here")
    if not _is_sound(said):
        raise ValueError("it does not say what a certificate says")
    size = sum(math.prod(shape) for _, shape in said["layers"])
    good = {n: a.dtype.str[1:] for n, a in held.items()} == FIELDS and all(a.ndim == 1 for a in held.values())
    if not good or len(held["died"]) != size or len({len(held[n]) for n in FIELDS if n != "died"}) != 1:
        raise ValueError("it does not hold the tensors of a certificate")
    if words != {"certificate": _text(said)} or bound != _contents(said, held):
        raise ValueError("it was altered after it was written: its contents have another digest")
    return Certificate(said, held)


def _is_sound(said: Mapping[str, Any]) -> bool:
    """Whether each entry is there and of its type, and nothing else is."""
    origin, layers = said.get("origin"), said.get("layers")
    return (
        set(said) == {"format", "rounding", "layers", "network", "masks", "origin", "contents"}
        and _is_whole(said["format"], FORMAT, FORMAT)
        and isinstance(said["rounding"], float)
        and all(isinstance(said[name], str) for name in ("network", "masks", "contents"))
        and isinstance(layers, list)
        and all(isinstance(layer, list) and len(layer) == 2 and _is_layer(*layer) for layer in layers)
        and isinstance(origin, dict)
        and set(origin) == {field.name for field in fields(Origin)}
        and all(
            isinstance(origin[name], str) and origin[name].isprintable() for name in ("pruner", "model", "schedule")
        )
        and _is_whole(origin["seed"], 0, 2**32 - 1)
        and (origin["classes"] is None or _is_whole(origin["classes"], 1, 2**63 - 1))
    )


def _is_layer(name: object, shape: object) -> bool:
    return isinstance(name, str) and isinstance(shape, list) and all(_is_whole(n, 0, 2**63 - 1) for n in shape)


def _is_whole(number: object, least: int, most: int) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and least <= number <= most


def _text(said: Mapping[str, Any]) -> str:
    return json.dumps(said, sort_keys=True)


def digest(arrays: Iterable[tuple[str, NDArray[Any]]]) -> str:
    """SHA-256 over names, types, shapes and bytes."""
    seen = hashlib.sha256()
    for name, array in arrays:
        seen.update(f"{name} {array.dtype.str[1:]} {array.shape} ".encode())
        seen.update(np.ascontiguousarray(array).tobytes())
    return seen.hexdigest()


def _contents(said: Mapping[str, Any], held: Arrays) -> str:
    """The digest of all but itself."""
    return digest([(_text({k: v for k, v in said.items() if k != "contents"}), np.zeros(0)), *sorted(held.items())])
