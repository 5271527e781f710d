"""Pruners published beside SynFlow and after it: short rewrites, one file each, with the claims of their papers."""

from pruning.pruner import Pruner
from pruning.pruners import pruners_in


def newer() -> dict[str, Pruner]:
    """Every Pruner that a module of this folder holds, by name. Raises ValueError on a name used twice."""
    return pruners_in(__name__, __path__)
