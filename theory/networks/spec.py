"""NetSpec: one problem written out literally, down to every weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

import torch

from pruning.problem import LOSSES
from theory.networks.batch import Batch, batch_of
from theory.networks.layers import Act, Branches, Layer
from theory.networks.shape import Shape

BRIEF = 8  # layers that are read


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
        return f"Net({', '.join(_written(self.shape.layers, self.values, ''))})"

    @property
    def brief(self) -> str:
        """The same, but of more layers than anyone reads only the first ones, and how many there are."""
        parts = _written(self.shape.layers, self.values, "")
        return str(self) if len(parts) <= BRIEF else f"Net({', '.join(parts[:BRIEF])}, ... {len(parts)} layers in all)"

    def to_json(self) -> dict[str, Any]:
        """The problem as data."""
        rest = {k: getattr(self, k) for k in ("values", "inputs", "targets", "loss", "seed")}
        return {"shape": self.shape.to_json(), **rest}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> NetSpec:
        """The inverse of to_json."""
        return cls(shape=Shape.from_json(data["shape"]), **{k: v for k, v in data.items() if k != "shape"})


def _written(layers: tuple[Layer, ...], values: Mapping[str, Any], path: str) -> list[str]:
    parts = []
    for i, layer in enumerate(layers):
        if isinstance(layer, Act) and layer.name == "relu":
            continue
        if isinstance(layer, Branches):
            branches = (_written(b, values, f"{path}{i}.{j}.") for j, b in enumerate(layer.branches))
            parts.append(f"{layer.join}({', '.join('[' + ', '.join(b) + ']' for b in branches)})")
        else:
            parts.append(f"{type(layer).__name__}({', '.join(_arguments(layer, values, f'{path}{i}.'))})")
    return parts


_IMPLIED = {"inputs", "outputs", "bias", "kernel", "channels", "size", "rows"}  # the numbers show them


def _arguments(layer: Layer, values: Mapping[str, Any], path: str) -> list[str]:
    """The numbers of a layer, and what else is not as usual of it."""
    numbers = [(name, _plain(values[path + name])) for name in layer.parameters()]
    first = [text if name == "weight" else f"{name}={text}" for name, text in numbers]
    implied = _IMPLIED if numbers else set()
    rest = [f for f in fields(layer) if f.name not in implied]  # type: ignore[arg-type]
    known = [(f.name, getattr(layer, f.name), f.default) for f in rest]
    return first + [f"{n}={v!r}" if d is not MISSING else repr(v) for n, v, d in known if v != d]


def _plain(values: Any) -> str:
    if isinstance(values, list):
        return "[" + ", ".join(_plain(v) for v in values) + "]"
    return f"{values:.6g}" if isinstance(values, float) else str(values)
