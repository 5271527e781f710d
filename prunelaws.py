"""prunelaws: holds neural-network pruners to their theory. The unique name that every entry point loads.

Imports nothing heavy: the three packages behind it have common names, so it first makes sure that the
ones found are ours, and loads the public face only when it is asked for.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_PUBLIC = {
    "Claim": "pruning.pruner",
    "Pruner": "pruning.pruner",
    "prune": "pruning.engine",
    "scored": "pruning.pruner",
    "saliency": "pruning.pruner",
    "trace": "pruning.trace",
}
__all__ = ["Claim", "Pruner", "main", "prune", "saliency", "scored", "trace"]  # noqa: F822 (loaded lazily)


def shadowed() -> str | None:
    """What hides one of our packages, in one line; None when all three are ours."""
    home = Path(__file__).resolve().parent
    for name in ("pruning", "theory", "reports"):
        spec = find_spec(name)
        found = Path(spec.origin).resolve() if spec and spec.origin else None
        if found is None or found.parent != home / name:
            return (
                f"the package {name!r} of prunelaws is hidden by {found or 'another one'}: "
                f"wanted {home / name}. Rename yours, or run from another folder"
            )
    return None


def main() -> None:
    """The command `prunelaws`."""
    problem = shadowed()
    if problem:
        sys.exit(f"prunelaws: {problem}")
    try:
        import_module("reports.cli").main()
    except KeyboardInterrupt:
        sys.exit(130)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"prunelaws has no {name!r}; it offers {', '.join(sorted(_PUBLIC))}")
    problem = shadowed()
    if problem:
        raise ImportError(problem)
    return getattr(import_module(_PUBLIC[name]), name)


if __name__ == "__main__":
    main()
