"""Mask files: safetensors, keyed by parameter name, provenance in the header; no pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors
import torch
from safetensors.torch import save

from pruning.masks import Masks, Tensors, check_against, whole


def save_masks(path: Path | str, masks: Tensors, provenance: Mapping[str, str]) -> None:
    """Write `masks` to `path`, with `provenance` as text in the header.

    The file appears whole or not at all: it is written beside its place and moved there. Masks that are DTensors are
    gathered, so all processes must ask, and the first of them writes.
    Raises TypeError for masks that are not boolean or provenance that is no text, ValueError where there are no masks,
    OSError where the file can't be written.
    """
    masks = masks if isinstance(masks, Masks) else Masks(masks)
    path = Path(path)
    if not all(isinstance(text, str) for pair in provenance.items() for text in pair):
        raise TypeError(f"the provenance is {dict(provenance)!r}, wanted texts by name")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(path.parent)!r} to put {path.name!r} into")
    gathered = {name: whole(mask) for name, mask in masks.items()}
    if any(gathered[n] is not mask for n, mask in masks.items()) and torch.distributed.get_rank():
        return  # of DTensors the first process writes them
    beside = path.with_name(path.name + ".part")
    try:
        beside.write_bytes(save({name: mask.cpu().contiguous() for name, mask in gathered.items()}, dict(provenance)))
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def load_masks(path: Path | str, weights: Tensors) -> tuple[Masks, dict[str, str]]:
    """The masks in `path`, checked against the names and shapes of `weights`, and their provenance.

    Raises ValueError for a file that is truncated, foreign or made for another network, FileNotFoundError where there
    is none, TypeError for weights that are no mapping.
    """
    if not isinstance(weights, Mapping):
        raise TypeError(f"got {type(weights).__name__} for weights, wanted tensors by name: see prunelaws.trace")
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header: dict[str, str] = file.metadata() or {}
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is no mask file, or is cut short: {error}") from None
    try:
        check_against(weights, stored, "mask")
        return Masks({name: stored[name] for name in weights}), header
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} holds no masks for this network: {error}") from None
