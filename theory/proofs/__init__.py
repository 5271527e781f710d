"""The grade PROVED: laws as identities in all weights, biases, inputs and cotangents of small shapes, by sympy.

Independent of the laws' own measuring: no torch, and no code shared with it. Every pattern of a shape is
expanded; each statement has wrong versions that must not be provable.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from theory.proofs.statement import Proof, Statement, proof_of, statements_in

NOT_PROVED: Mapping[str, str] = MappingProxyType(
    {
        "B12b": "SynFlow sees |theta| alone, so there is no identity left to expand; what is tested are its bits",
        "B12c": "a permutation renames symbols; what can differ is the order of floating-point sums",
        "B13": "equality of bits is about floating point, not about polynomials",
        "B14": "purity is about memory: parameters, buffers, modes and random states",
        "C8": "the triangle inequality on A1's sums; no polynomial identity",
        "M": "laws of runs: which weight goes next depends on comparisons of all scores, not on one pattern",
        "S": "contracts of scores and masks: shapes, finiteness, counts",
    }
)


def _found() -> Mapping[str, Statement]:
    """Every statement of this folder by the number of its law. Raises ValueError on a number used twice."""
    found: dict[str, Statement] = {}
    for info in pkgutil.iter_modules(__path__):
        for statement in statements_in(importlib.import_module(f"{__name__}.{info.name}")):
            if found.setdefault(statement.id, statement) is not statement:
                raise ValueError(f"two statements are numbered {statement.id!r}")
    return MappingProxyType(dict(sorted(found.items(), key=lambda item: _order(item[0]))))


def _order(id: str) -> tuple[str, int, str]:
    digits = "".join(c for c in id if c.isdigit())
    return id[0], int(digits or 0), id


PROOFS = _found()


@cache
def prove(id: str) -> Proof:
    """Expand every identity of a law's statement.

    Raises KeyError where no statement has that number, with the reason where one is known, and ValueError
    with the first identity that does not expand to 0.
    """
    if id not in PROOFS:
        raise KeyError(f"{id}: {NOT_PROVED.get(id) or NOT_PROVED.get(id[0]) or 'no statement has this number'}")
    return proof_of(PROOFS[id])
