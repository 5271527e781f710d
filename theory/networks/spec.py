"""NetSpec: one problem written out literally, down to every weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from pruning.problem import LOSSES
from theory.networks.batch import Batch, batch_of
from theory.networks.shape import Act, Conv, Dense, Shape


@dataclass(frozen=True)
class NetSpec:
    """One problem written out: every weight, bias, input and target as a number."""

    shape: Shape
    values: dict[str, Any]
    inputs: Any
    targets: Any
    loss: str
    seed: int

    def batch(self, dtype: torch.dtype = torch.float64) -> Batch:
        """The problem as a batch of one. Raises ValueError where numbers and shape don't fit."""
        if self.loss not in LOSSES:
            raise ValueError(f"there is no loss {self.loss!r}; wanted one of {', '.join(LOSSES)}")
        tensors = {n: torch.tensor(v, dtype=dtype).unsqueeze(0) for n, v in self.values.items()}
        for name, size in self.shape.parameters().items():
            if name not in tensors or tuple(tensors[name].shape[1:]) != size:
                raise ValueError(f"the literal network has no values of shape {size} for {name!r}")
        inputs = None if self.inputs is None else torch.tensor(self.inputs, dtype=dtype).unsqueeze(0)
        kind = torch.int64 if self.loss == "cross-entropy" else dtype
        targets = None if self.targets is None else torch.tensor(self.targets, dtype=kind).unsqueeze(0)
        return batch_of(self.shape, tensors, inputs, targets, self.loss, self.seed)

    @classmethod
    def of(cls, batch: Batch, index: int) -> NetSpec:
        """One problem of a batch, written out."""
        assert batch.shape is not None and isinstance(batch.loss, str)
        tensors = {**batch.weights, **batch.fixed}
        return cls(
            batch.shape,
            {n: tensors[n][index].tolist() for n in batch.shape.parameters()},
            None if batch.inputs is None else batch.inputs[index].tolist(),
            None if batch.targets is None else batch.targets[index].tolist(),
            batch.loss,
            batch.seed,
        )

    def __str__(self) -> str:
        """Such as Net(Dense([[1]]), Dense([[2]])); the ReLUs between weighted layers are not written."""
        parts = []
        for i, layer in enumerate(self.shape.layers):
            if isinstance(layer, Act) and layer.name == "relu":
                continue
            if isinstance(layer, (Dense, Conv)):
                bias = f", bias={_plain(self.values[f'{i}.bias'])}" if layer.bias else ""
                sides = f", stride={layer.stride}" if isinstance(layer, Conv) and layer.stride > 1 else ""
                parts.append(f"{type(layer).__name__}({_plain(self.values[f'{i}.weight'])}{bias}{sides})")
            else:
                inner = ", ".join(repr(v) for v in asdict(layer).values())
                parts.append(f"{type(layer).__name__}({inner})")
        return f"Net({', '.join(parts)})"

    def to_json(self) -> dict[str, Any]:
        """The problem as data."""
        rest = {k: getattr(self, k) for k in ("values", "inputs", "targets", "loss", "seed")}
        return {"shape": self.shape.to_json(), **rest}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> NetSpec:
        """The inverse of to_json."""
        return cls(shape=Shape.from_json(data["shape"]), **{k: v for k, v in data.items() if k != "shape"})


def _plain(values: Any) -> str:
    if isinstance(values, list):
        return "[" + ", ".join(_plain(v) for v in values) + "]"
    return f"{values:.6g}" if isinstance(values, float) else str(values)
