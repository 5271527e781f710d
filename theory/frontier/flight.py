"""The run in flight: what fell in each of its rounds, written as it falls: no kill loses more than a round."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from pruning.network import Network
from pruning.rounds import Standing

Shares = tuple[float | None, ...]  # per round, what was pruned as a share of R
Flat = NDArray[Any]


class Flight:
    """A file of a run's rounds; a round that was cut short, and the rounds of any other run, are as if not there.

    Each round is a line of JSON and the flat indices, of all layers one behind the other, of the weights that fell, and
    of those that came back.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._died: Flat | None = None  # as it is on the file

    def begin(self, key: str, network: Network) -> tuple[Standing | None, Shares]:
        """Where the run of this name stands, and what its rounds pruned; nothing where it was not in flight."""
        died = np.concatenate([m.cpu().numpy().ravel() - np.int16(1) for m in network.initial.values()])
        standing, shares, end = None, list[float | None](), 0
        if self._path.exists():
            with self._path.open("rb") as file:
                for told, fallen, risen in _rounds(file, key, len(died)):
                    died[fallen], died[risen] = told["round"], 0
                    standing, end = told, file.tell()
                    shares.append(told["share"])
        self._died = died
        with self._path.open("r+b" if end else "wb") as file:
            file.truncate(end)
            file.seek(end)
            if not end:
                file.write(json.dumps(key).encode() + b"\n")
        if standing is None:
            return None, ()
        made = dict(zip(network.weights, _parts(died, network), strict=True))
        kept, *numbers = standing["numbers"]
        return Standing(standing["round"], made, standing["calls"], tuple(kept), *numbers), tuple(shares)

    def add(self, standing: Standing, share: float | None) -> None:
        """Note a round."""
        assert self._died is not None
        died = np.concatenate([d.cpu().numpy().ravel() for d in standing.died.values()])
        fallen, risen = np.flatnonzero(died == standing.round), np.flatnonzero((self._died > 0) & (died == 0))
        self._died = died
        told = {
            "round": standing.round,
            "calls": dict(standing.calls),
            "numbers": [standing.kept, standing.mass, standing.cut, standing.log_cut],
            "share": share,
            "fallen": len(fallen),
            "risen": len(risen),
        }
        indices = np.concatenate([fallen, risen]).astype(_kind(len(died)))
        with self._path.open("ab") as file:
            file.write(json.dumps(told).encode() + b"\n" + indices.tobytes() + b"\n")

    def end(self) -> None:
        """Forget it."""
        self._path.unlink(missing_ok=True)


def _rounds(file: BinaryIO, key: str, weights: int) -> Iterator[tuple[dict[str, Any], Flat, Flat]]:
    """The rounds that are whole."""
    if file.readline() != json.dumps(key).encode() + b"\n":
        return
    kind, due = np.dtype(_kind(weights)), 1
    while line := file.readline():
        try:
            told = json.loads(line)
            count = told["fallen"] + told["risen"]
            body = file.read(count * kind.itemsize + 1)
        except (ValueError, KeyError, TypeError):
            return
        if told["round"] != due or len(body) != count * kind.itemsize + 1 or body[-1:] != b"\n":
            return
        indices = np.frombuffer(body[:-1], kind)
        yield told, indices[: told["fallen"]], indices[told["fallen"] :]
        due += 1


def _parts(died: Flat, network: Network) -> Iterator[torch.Tensor]:
    start = 0
    for weight in network.weights.values():
        yield torch.from_numpy(died[start : start + weight.numel()].copy()).view(weight.shape).to(weight.device)
        start += weight.numel()


def _kind(weights: int) -> str:
    return "<i4" if weights < 2**31 else "<i8"
