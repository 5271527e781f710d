"""The journal of a frontier: what was found, and where the run in flight stands; no kill loses more than one round."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from safetensors.torch import save

from pruning.masks import Masks, check_against
from pruning.network import Network
from pruning.rounds import Standing

Shares = tuple[float | None, ...]  # per round, what was pruned as a share of R


class Journal:
    """A folder with a line for each thing that was found, and the masks of the run in flight.

    A line that was cut short, and masks of anything but the next run, are as if they were not there.
    """

    def __init__(self, folder: Path) -> None:
        """Raises OSError where the folder can't be written to."""
        folder.mkdir(parents=True, exist_ok=True)
        self._lines, self._flight = folder / "found.jsonl", folder / "flight.safetensors"
        self._found: dict[str, Any] = dict(_read(self._lines))
        _replace(self._lines, "".join(_line(*pair) for pair in self._found.items()).encode())

    def find(self, key: str, make: Callable[[], Any]) -> Any:
        """What is known under a key, or what `make` gives, which is then known: data, as JSON has it."""
        if key not in self._found:
            self.note(key, make())
            self._flight.unlink(missing_ok=True)
        return self._found[key]

    def note(self, key: str, value: Any) -> None:
        """Make something known."""
        with self._lines.open("a", encoding="utf-8") as file:
            file.write(_line(key, value))
        self._found[key] = json.loads(json.dumps(value))

    def known(self, key: str) -> Any:
        """What is known under a key. Raises KeyError where nothing is."""
        return self._found[key]

    def stand(self, key: str, standing: Standing, shares: Shares) -> None:
        """Note where the run in flight stands."""
        bits = {n: torch.from_numpy(np.packbits(m.cpu().numpy())) for n, m in standing.masks.items()}
        told = {
            "key": key,
            "round": standing.round,
            "calls": dict(standing.calls),
            "numbers": [standing.kept, standing.mass, standing.cut, standing.log_cut],
            "shares": shares,
        }
        _replace(self._flight, save(bits, {"standing": json.dumps(told)}))

    def stood(self, key: str, network: Network) -> tuple[Standing | None, Shares]:
        """Where the run in flight stood, if it is this one, and what its rounds pruned."""
        try:
            with safetensors.safe_open(self._flight, framework="pt") as file:
                told = json.loads((file.metadata() or {})["standing"])
                bits = {name: file.get_tensor(name).numpy() for name in file.keys()}  # noqa: SIM118 (no mapping)
            if told["key"] != key:
                return None, ()
            found = {n: np.unpackbits(bits[n], count=w.numel()).astype(bool) for n, w in network.weights.items()}
            masks = {n: torch.from_numpy(found[n]).view(w.shape).to(w.device) for n, w in network.weights.items()}
            check_against(network.weights, masks, "mask")
            kept, *numbers = told["numbers"]
            return Standing(told["round"], Masks(masks), told["calls"], tuple(kept), *numbers), tuple(told["shares"])
        except (OSError, safetensors.SafetensorError, ValueError, KeyError, TypeError):
            return None, ()


def _line(key: str, value: Any) -> str:
    return json.dumps([key, value]) + "\n"


def _read(path: Path) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    if not path.exists():
        return found
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            key, value = json.loads(line)
        except ValueError:  # cut short
            continue
        found[key] = value
    return found


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(path.name + ".part")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
