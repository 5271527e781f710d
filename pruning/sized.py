"""Sized: operators with sizes that follow the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """A size that follows the number of samples: times * samples + plus."""

    times: int
    plus: int = 0


@dataclass(frozen=True)
class Sized:
    """An operator that follows the batch: in its sizes, by Rows, and to the device that it lies on.

    batch_of: the tensor whose samples are counted.
    """

    op: torch._ops.OpOverload

    @property
    def __name__(self) -> str:
        return plain_name(self.op)

    def __call__(self, *args: object, batch_of: Tensor, **kwargs: object) -> Any:
        """What the operator gives for as many samples as `batch_of` has."""
        if any(a.name == "device" for a in self.op._schema.arguments):
            kwargs["device"] = batch_of.device  # made where the network runs, not where it was traced
        samples = batch_of.shape[0]
        return self.op(*(_counted(a, samples) for a in args), **{n: _counted(a, samples) for n, a in kwargs.items()})


def plain_name(op: object) -> str:
    """The operator's name without library and overload, such as 'conv2d'."""
    if isinstance(op, torch._ops.OpOverload):
        return op._schema.name.rpartition("::")[2]
    return getattr(op, "__name__", str(op))


def _counted(arg: object, samples: int) -> object:
    if isinstance(arg, Rows):
        return arg.times * samples + arg.plus
    return type(arg)(_counted(a, samples) for a in arg) if isinstance(arg, (list, tuple)) else arg
