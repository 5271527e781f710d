"""Surroundings: torch's modes and everybody's random states, which a scorer may not leave changed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def surroundings() -> dict[str, Any]:
    """What surrounds a scoring, by name."""
    return {
        "torch's random state": torch.get_rng_state(),
        "numpy's random state": np.random.get_state(),
        "python's random state": random.getstate(),
        "torch's gradient mode": torch.is_grad_enabled(),
        "torch's default dtype": torch.get_default_dtype(),
        "torch's choice of deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
    }


def differing(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Names of what is not the same."""
    return [name for name, value in before.items() if _plain(value) != _plain(after[name])]


def _plain(value: Any) -> Any:
    """As what compares at once: to write out numpy's state takes longer than most scorings of small networks."""
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return value.numpy().tobytes() if isinstance(value, torch.Tensor) else getattr(value, "tobytes", lambda: value)()


@contextmanager
def as_they_were() -> Iterator[None]:
    """Afterwards all is as it was: what a scorer does to them reaches neither the next one nor the caller."""
    before = surroundings()
    try:
        yield
    finally:
        torch.set_rng_state(before["torch's random state"])
        np.random.set_state(before["numpy's random state"])
        random.setstate(before["python's random state"])
        torch.set_grad_enabled(before["torch's gradient mode"])
        torch.set_default_dtype(before["torch's default dtype"])
        _choose_deterministic(before["torch's choice of deterministic algorithms"])


def reseed(seed: int) -> None:
    """Let a number decide what is drawn on the CPU from here on, from whichever generator."""
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed other devices as well
    np.random.seed(seed % 2**32)
    random.seed(seed)


def unlike_any(seed: int) -> None:
    """Set them as nobody does, so that whoever sets them is seen to have done it."""
    reseed(seed)
    torch.set_grad_enabled(True)
    torch.set_default_dtype(torch.float32)
    _choose_deterministic(False)


def _choose_deterministic(wanted: bool) -> None:
    if torch.are_deterministic_algorithms_enabled() != wanted:  # to say it again takes half a millisecond
        torch.use_deterministic_algorithms(wanted)
