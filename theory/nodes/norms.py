"""Norms of a graph: one operator, or several that amount to one, and the groups in which they normalise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pruning.graph import Graph, Node, Value
from theory.nodes.local import Local, Point, Use
from theory.nodes.ways import Map, argument, map_of, parameter

# positions of gain, shift and eps among the arguments, and the eps that is meant where none is given
_KINDS: dict[str, tuple[int, int | None, int, float | None]] = {
    "layer_norm": (2, 3, 4, 1e-5),
    "rms_norm": (2, None, 3, None),
    "group_norm": (2, 3, 4, 1e-5),
    "instance_norm": (1, 2, 7, 1e-5),
    "batch_norm": (1, 2, 7, 1e-5),
}


@dataclass(frozen=True)
class Norm:
    """y = gain * (x - mean) / sqrt(v + eps) + shift; `reads` are the uses of x, `node` makes y.

    kind: the operator's, 'rms_norm' where several amount to it. axes: how many of the last ones it normalises, or
    in how many groups the channels are.
    """

    kind: str
    node: Node
    reads: tuple[Use, ...]
    gain: str | None
    shift: str | None
    eps: float | None
    axes: int = 0

    @property
    def centred(self) -> bool:
        """Whether the mean is taken off."""
        return self.kind != "rms_norm"

    @property
    def by_channel(self) -> bool:
        """Whether gain and shift belong to channels, the second axis, and not to the last axes."""
        return self.kind not in ("layer_norm", "rms_norm")

    @property
    def of_channels(self) -> bool:
        """Whether each channel is normalised for itself."""
        return self.kind in ("batch_norm", "instance_norm")

    @property
    def points(self) -> list[Point]:
        """Where x is read and y made."""
        return [*self.reads, self.node.name]

    @property
    def parameters(self) -> list[str | None]:
        """Gain and shift."""
        return [self.gain, self.shift]

    def grouped(self, t: Tensor) -> Tensor:
        """(problems, *shape) as (problems, groups, members), each with a mean and a deviation of its own."""
        if self.kind == "batch_norm":
            return t.transpose(1, 2).flatten(2)
        if self.kind == "group_norm":
            return t.reshape(len(t), t.shape[1] * self.axes, -1)
        return t.flatten(3).flatten(1, 2) if self.kind == "instance_norm" else t.flatten(-self.axes).flatten(1, -2)

    def ungrouped(self, t: Tensor, like: Tensor) -> Tensor:
        """The inverse of `grouped`: (problems, groups, members) in the shape of `like`."""
        if self.kind != "batch_norm":
            return t.reshape(like.shape)
        return t.reshape(like.transpose(1, 2).shape).transpose(1, 2)

    def per_parameter(self, t: Tensor) -> Tensor:
        """(problems, *shape) summed to (problems, entries of the gain)."""
        if self.by_channel:
            return t.transpose(1, 2).flatten(2).sum(2)
        return t.flatten(-self.axes).flatten(1, -2).sum(1)

    def spread(self, t: Tensor, like: Tensor) -> Tensor:
        """(problems, *gain's shape), so that it multiplies values of (problems, *shape)."""
        if self.by_channel:
            return t.reshape(len(t), 1, -1, *[1] * (like.dim() - 3))
        return t.reshape(len(t), *[1] * (like.dim() - t.dim()), *t.shape[1:])

    def damping(self, local: Local) -> tuple[Tensor, Tensor]:
        """eps / (v + eps) and 1 / sqrt(v + eps) per group: (problems, groups)."""
        x = self.grouped(local.value[self.reads[0]])
        v = x.var(-1, correction=0) if self.centred else x.square().mean(-1)
        eps = torch.finfo(x.dtype).eps if self.eps is None else self.eps
        return eps / (v + eps), (v + eps).rsqrt()

    def entering(self, local: Local) -> Tensor:
        """x * dR/dx, over all uses of x."""
        return torch.stack([local.flow(read) for read in self.reads]).sum(0)

    def slope(self, local: Local) -> Tensor:
        """dR/dx, over all uses of x."""
        return torch.stack([local.slope[read] for read in self.reads]).sum(0)

    def leaving(self, local: Local) -> Tensor:
        """(y - shift) * dR/dy."""
        y = local.value[self.node.name]
        shift = 0 if self.shift is None else self.spread(local.parameter[self.shift], y)
        return (y - shift) * local.slope[self.node.name]

    def driving(self, local: Local) -> Tensor:
        """|gain * dR/dy| / sqrt(v + eps) per group and member: what dR/dx is made of, before it cancels."""
        y, root = local.slope[self.node.name], self.damping(local)[1].unsqueeze(-1)
        gain = 1 if self.gain is None else self.spread(local.parameter[self.gain], y)
        return self.grouped((gain * y).abs()) * root


def norms_of(graph: Graph) -> list[Norm]:
    """Every norm that takes its statistics from what it normalises, and whose gain and shift are its own."""
    known = map_of(graph)
    found = [norm for node in graph.nodes for norm in (_single(node), _composed(node, known)) if norm is not None]
    return [n for n in found if all(known.reads[p] == 1 for p in n.parameters if p is not None)]


def _single(node: Node) -> Norm | None:
    if node.kind not in _KINDS or len(node.values()) != 1:
        return None
    gain, shift, eps, usual = _KINDS[node.kind]
    if node.kind in ("batch_norm", "instance_norm") and argument(node, 5) is not True:
        return None  # by running statistics
    given = argument(node, eps)
    size = argument(node, 1)
    axes = len(size) if isinstance(size, (list, tuple)) else size if isinstance(size, int) else 0
    return Norm(
        node.kind,
        node,
        ((node.name, 0),),
        parameter(node, gain),
        None if shift is None else parameter(node, shift),
        float(given) if isinstance(given, (int, float)) else usual,
        axes,
    )


def _composed(node: Node, known: Map) -> Norm | None:
    """x * rsqrt(mean(x^2) + eps), in another precision or not, times a gain: the RMS norm of Llama and its kin."""
    if node.kind != "rsqrt":
        return None
    plus = _maker(node, known, "add")
    mean = _maker(plus, known, "mean")
    square = _maker(mean, known, "pow", "square")
    if plus is None or mean is None or square is None or not isinstance(eps := argument(plus, 1), float):
        return None
    if argument(mean, 1) != [-1] or (square.kind == "pow" and argument(square, 1) != 2):
        return None
    x, readers = square.values()[0], known.readers[node.name]
    if len(readers) != 1 or readers[0].kind != "mul" or sorted(readers[0].values()) != sorted([x, node.name]):
        return None
    last, gain = _gained(readers[0], known)
    reads = ((square.name, 0), (readers[0].name, readers[0].values().index(x)))
    return Norm("rms_norm", last, reads, gain, None, eps, 1)


def _maker(node: Node | None, known: Map, *kinds: str) -> Node | None:
    first = argument(node, 0) if node is not None else None
    made = known.maker.get(first.name) if isinstance(first, Value) else None
    return made if made is not None and made.kind in kinds else None


def _gained(node: Node, known: Map) -> tuple[Node, str | None]:
    """The product with a gain behind a cast, if there is one."""
    for reader in known.readers[node.name] if len(known.readers[node.name]) == 1 else ():
        if reader.kind in ("type_as", "to"):
            found = _gained(reader, known)
            return found if found[1] else (node, None)
        if reader.kind == "mul" and len(reader.parameters()) == 1:
            return reader, reader.parameters()[0]
    return node, None


@dataclass(frozen=True)
class Affine:
    """A norm in evaluation mode: x * scale + shift, each number of which has its own entries of x."""

    product: Node
    sum: Node
    scale: str
    shift: str

    @property
    def points(self) -> list[Point]:
        """Where x is read, and what is made of it."""
        return [(self.product.name, 0), self.sum.name]

    @property
    def parameters(self) -> list[str | None]:
        """Scale and shift."""
        return [self.scale, self.shift]


def affines_of(graph: Graph) -> Iterator[Affine]:
    """Every product by a parameter whose only reader adds one of the same shape."""
    known = map_of(graph)
    for node in graph.nodes:
        scale, readers = node.parameters(), known.readers[node.name]
        if node.kind != "mul" or len(scale) != 1 or len(node.values()) != 1 or len(readers) != 1:
            continue
        shift = readers[0].parameters()
        own = len(shift) == 1 and known.reads[scale[0]] == known.reads[shift[0]] == 1
        if readers[0].kind == "add" and own and len(readers[0].values()) == 1:
            yield Affine(node, readers[0], scale[0], shift[0])


def summed_like(t: Tensor, like: Tensor) -> Tensor:
    """(problems, *shape) summed to the shape of a parameter (problems, *size) that is broadcast over it."""
    size = (len(t), *[1] * (t.dim() - like.dim()), *like.shape[1:])
    return t.sum_to_size(size).reshape(like.shape)
