"""Networks as data: a shape, a batch of problems of one shape, and one problem written out literally."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from pruning.graph import INPUT, Graph, Node, Param, Value, build
from pruning.masks import Masks
from pruning.network import Network
from pruning.problem import LOSSES, Loss, Problem

aten = torch.ops.aten


@dataclass(frozen=True)
class Dense:
    """A linear layer."""

    inputs: int
    outputs: int
    bias: bool = False


@dataclass(frozen=True)
class Conv:
    """A square two-dimensional convolution."""

    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    bias: bool = False


@dataclass(frozen=True)
class Pool:
    """A square pool, 'max' or 'avg'."""

    kind: str
    size: int


@dataclass(frozen=True)
class Act:
    """An activation by name: one of ACTIVATIONS."""

    name: str


@dataclass(frozen=True)
class Flatten:
    """Channels and positions into one axis."""


class Square(nn.Module):
    """x -> x^2: after a positive sum the same as relu^2, homogeneous of degree 2."""

    def forward(self, x: Tensor) -> Tensor:
        """Entry by entry."""
        return x.square()


Layer = Dense | Conv | Pool | Act | Flatten
ACTIVATIONS: Mapping[str, tuple[Any, type[nn.Module]]] = {
    "relu": (aten.relu.default, nn.ReLU),
    "tanh": (aten.tanh.default, nn.Tanh),
    "gelu": (aten.gelu.default, nn.GELU),
    "square": (aten.square.default, Square),
}
_POOLS = {"max": (aten.max_pool2d.default, nn.MaxPool2d), "avg": (aten.avg_pool2d.default, nn.AvgPool2d)}
_KINDS: dict[str, type] = {c.__name__: c for c in (Dense, Conv, Pool, Act, Flatten)}


@dataclass(frozen=True)
class Shape:
    """A network without its weights: layers in sequence, the shape of one input, samples in a batch."""

    layers: tuple[Layer, ...]
    input: tuple[int, ...]
    samples: int

    def parameters(self) -> dict[str, tuple[int, ...]]:
        """Shapes of weights and biases, by the names nn.Sequential gives them."""
        shapes: dict[str, tuple[int, ...]] = {}
        for i, layer in enumerate(self.layers):
            if isinstance(layer, Dense):
                shapes[f"{i}.weight"] = (layer.outputs, layer.inputs)
            elif isinstance(layer, Conv):
                shapes[f"{i}.weight"] = (layer.outputs, layer.inputs // layer.groups, layer.kernel, layer.kernel)
            if isinstance(layer, (Dense, Conv)) and layer.bias:
                shapes[f"{i}.bias"] = (layer.outputs,)
        return shapes

    def __str__(self) -> str:
        """The units of each layer, input first, such as 3-5-2."""
        widths = [self.input[0], *(la.outputs for la in self.layers if isinstance(la, (Dense, Conv)))]
        return "-".join(str(w) for w in widths)

    def to_json(self) -> dict[str, Any]:
        """Layers as data."""
        layers = [{"layer": type(layer).__name__, **asdict(layer)} for layer in self.layers]
        return {"layers": layers, "input": list(self.input), "samples": self.samples}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Shape:
        """The inverse of to_json. Raises KeyError or TypeError for what it did not write."""
        layers = tuple(_KINDS[d["layer"]](**{k: v for k, v in d.items() if k != "layer"}) for d in data["layers"])
        return cls(layers, tuple(data["input"]), data["samples"])


@lru_cache(maxsize=512)
def graph_of(shape: Shape) -> Graph:
    """The graph of a shape, built without tracing. Raises ValueError where layers don't fit together."""
    nodes: list[Node] = []
    last = INPUT
    params = {name: torch.empty(size, device="meta") for name, size in shape.parameters().items()}
    for i, layer in enumerate(shape.layers):
        name = f"value{i}"
        bias = Param(f"{i}.bias") if f"{i}.bias" in params else None
        args: tuple[object, ...]
        if isinstance(layer, Dense):
            op, args = aten.linear.default, (Param(f"{i}.weight"), bias)
        elif isinstance(layer, Conv):
            op = aten.conv2d.default
            sides = ([layer.stride] * 2, [layer.padding] * 2, [1, 1], layer.groups)
            args = (Param(f"{i}.weight"), bias, *sides)
        elif isinstance(layer, Pool):
            op, args = _POOLS[layer.kind][0], ([layer.size] * 2, [layer.size] * 2)
        elif isinstance(layer, Act):
            op, args = ACTIVATIONS[layer.name][0], ()
        else:
            op, args = aten.flatten.using_ints, (1,)
        nodes.append(Node(name, op, (Value(last), *args), str(i)))
        last = name
    return build(nodes, last, torch.empty((shape.samples, *shape.input), device="meta"), params)


def module_of(shape: Shape) -> nn.Sequential:
    """The same network as a plain module, with torch's own initial weights."""
    layers: list[nn.Module] = []
    for layer in shape.layers:
        if isinstance(layer, Dense):
            layers.append(nn.Linear(layer.inputs, layer.outputs, bias=layer.bias))
        elif isinstance(layer, Conv):
            sides = (layer.kernel, layer.stride, layer.padding)
            layers.append(nn.Conv2d(layer.inputs, layer.outputs, *sides, groups=layer.groups, bias=layer.bias))
        elif isinstance(layer, Pool):
            layers.append(_POOLS[layer.kind][1](layer.size))
        elif isinstance(layer, Act):
            layers.append(ACTIVATIONS[layer.name][1]())
        else:
            layers.append(nn.Flatten())
    return nn.Sequential(*layers)


@dataclass(frozen=True)
class Batch:
    """Problems of one shape, stacked: every tensor has a leading axis over the problems.

    network gives the graph and the example; its own weights are not used. `neutral` is what data-free
    scores see in place of `fixed`. `shape` is None for a traced model, which can't be written out.
    """

    network: Network
    weights: dict[str, Tensor]
    fixed: dict[str, Tensor]
    neutral: dict[str, Tensor]
    inputs: Tensor | None
    targets: Tensor | None
    loss: str | Loss
    seed: int
    shape: Shape | None

    @property
    def size(self) -> int:
        """Number of problems."""
        return len(next(iter(self.weights.values())))

    def problem(self, index: int) -> Problem:
        """One of the problems, alone; its tensors are views."""
        return self.unstacked({k: t[index] for k, t in self.stacked().items()})

    def stacked(self) -> dict[str, Tensor]:
        """Every stacked tensor in one flat mapping, the form that vmap takes."""
        groups = {"weights": self.weights, "fixed": self.fixed, "neutral": self.neutral}
        flat = {f"{group}/{n}": t for group, tensors in groups.items() for n, t in tensors.items()}
        if self.inputs is not None and self.targets is not None:
            flat |= {"inputs": self.inputs, "targets": self.targets}
        return flat

    def unstacked(self, flat: Mapping[str, Tensor]) -> Problem:
        """The problem of one slice of `stacked()`."""

        def group(name: str) -> dict[str, Tensor]:
            return {k.removeprefix(name + "/"): t for k, t in flat.items() if k.startswith(name + "/")}

        batch = (flat["inputs"], flat["targets"]) if "inputs" in flat else None
        network = replace(self.network, weights=group("weights"), fixed=group("fixed"), neutral=group("neutral"))
        loss = LOSSES[self.loss] if isinstance(self.loss, str) else self.loss
        return Problem(network, batch, loss, self.seed)

    def to(self, dtype: torch.dtype | None = None, device: torch.device | None = None) -> Batch:
        """A copy in another floating-point type or on another device."""

        def one(tensor: Tensor) -> Tensor:
            return tensor.to(device, dtype if tensor.is_floating_point() else None)

        def moved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {n: one(t) for n, t in tensors.items()}

        return replace(
            self,
            network=replace(self.network, example=one(self.network.example)),
            weights=moved(self.weights),
            fixed=moved(self.fixed),
            neutral=moved(self.neutral),
            inputs=None if self.inputs is None else one(self.inputs),
            targets=None if self.targets is None else one(self.targets),
        )

    def only(self, index: int) -> Batch:
        """The batch that holds just one of the problems."""

        def one(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {n: t[index : index + 1] for n, t in tensors.items()}

        return replace(
            self,
            weights=one(self.weights),
            fixed=one(self.fixed),
            neutral=one(self.neutral),
            inputs=None if self.inputs is None else self.inputs[index : index + 1],
            targets=None if self.targets is None else self.targets[index : index + 1],
        )

    def singles(self) -> Iterator[Problem]:
        """Each problem alone."""
        return (self.problem(i) for i in range(self.size))


def batch_of(
    shape: Shape,
    tensors: Mapping[str, Tensor],
    inputs: Tensor | None,
    targets: Tensor | None,
    loss: str,
    seed: int,
) -> Batch:
    """Problems of `shape` from stacked weights and biases."""
    graph = graph_of(shape)
    weights = {n: tensors[n] for n in graph.weights}
    fixed = {n: t for n, t in tensors.items() if n not in weights}
    neutral = {n: torch.zeros_like(t) for n, t in fixed.items()}
    first = next(iter(tensors.values()))
    example = torch.ones((shape.samples, *shape.input), dtype=first.dtype, device=first.device)
    network = Network(
        graph, {n: w[0] for n, w in weights.items()}, {}, {}, example, Masks.full({n: w[0] for n, w in weights.items()})
    )
    return Batch(network, weights, fixed, neutral, inputs, targets, loss, seed, shape)


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


def parameter_count(shape: Shape) -> int:
    """Numbers in all weights and biases."""
    return sum(math.prod(size) for size in shape.parameters().values())
