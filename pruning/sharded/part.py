"""Part: what one process holds of a tensor that torch.distributed has sharded, and where that is in the whole."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.distributed.tensor.placement_types import Placement

from pruning.errors import ModelError


@dataclass(frozen=True)
class Part:
    """A box of a tensor: from `start` on so many entries (`size`) along each axis of its `shape`.

    counted: whether this process counts what lies in it; of several that hold the same box one does.
    """

    shape: tuple[int, ...]
    mesh: DeviceMesh
    placements: tuple[Placement, ...]
    start: tuple[int, ...]
    size: tuple[int, ...]
    counted: bool

    @classmethod
    def of(cls, name: str, tensor: DTensor) -> Part:
        """Raises ModelError for a placement that is neither replicated nor sharded in even pieces along an axis."""
        mesh = tensor.device_mesh
        coordinate = mesh.get_coordinate()
        if coordinate is None or mesh.size() != torch.distributed.get_world_size():
            raise ModelError(
                f"{name!r} lies on {mesh.size()} of {torch.distributed.get_world_size()} processes; "
                "wanted a model that all processes hold parts of"
            )
        start, size, counted = [0] * tensor.dim(), list(tensor.shape), True
        for axis, (placement, at) in enumerate(zip(tensor.placements, coordinate, strict=True)):
            if type(placement) is Replicate:
                counted &= at == 0
            elif type(placement) is Shard:
                piece = -(-size[placement.dim] // mesh.size(axis))  # as torch.chunk cuts: the last ones may be empty
                first = min(at * piece, size[placement.dim])
                start[placement.dim] += first
                size[placement.dim] = min(piece, size[placement.dim] - first)
            else:
                raise ModelError(
                    f"{name!r} is placed by {placement}; wanted Shard or Replicate on each axis of its mesh"
                )
        return cls(tuple(tensor.shape), mesh, tuple(tensor.placements), tuple(start), tuple(size), counted)

    def wrapped(self, own: Tensor) -> DTensor:
        """What each process holds, as one tensor."""
        strides = torch.empty(self.shape, device="meta").stride()
        made: DTensor = DTensor.from_local(
            own, self.mesh, self.placements, run_check=False, shape=torch.Size(self.shape), stride=strides
        )
        return made

    def whole(self, own: Tensor) -> Tensor:
        """The whole tensor, gathered from all processes; all of them must ask for it."""
        with torch.no_grad():
            gathered: Tensor = self.wrapped(own.detach()).full_tensor()
            return gathered.clone() if gathered._is_view() else gathered  # what others are views of

    def own(self, whole: Tensor) -> Tensor:
        """This process's part of a whole tensor, in memory of its own."""
        box = tuple(slice(a, a + n) for a, n in zip(self.start, self.size, strict=True))
        return whole[box].clone(memory_format=torch.contiguous_format)

    def places(self, where: Tensor) -> Tensor:
        """Flat indices in the part as those in the whole."""
        found = torch.zeros_like(where)
        for axis, (first, n) in enumerate(zip(self.start, self.size, strict=True)):
            along = where // math.prod(self.size[axis + 1 :]) % max(n, 1)
            found += (along + first) * math.prod(self.shape[axis + 1 :])
        return found
