"""Flow: what enters and leaves each unit under an objective, and the derived bound on what rounding does to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from pruning.graph import INPUT, Edge, Graph, Node, Param, Source
from pruning.masks import Tensors
from pruning.roundings import UnreadableFlow, extra_uses, only_sums, roundings
from theory.numerics import eta, gamma, largest_integer, least_magnitude


@dataclass(frozen=True)
class Flow:
    """What one forward and one backward pass of an objective R say about one problem.

    value: R; output, input: <y, dR/dy> and <x, dR/dx> with their rounding errors; bias: per source
    b * dR/db, entry by entry; mass: per unit the absolute saliency around it; bound: per unit the rounding of
    its balance; total: the absolute saliency of all weights; exact: 1 where every number on the way
    was an integer small enough; clear: where no product on the way, nor a score, can have underflowed.
    """

    value: Tensor
    output: Tensor
    output_error: Tensor
    input: Tensor
    input_error: Tensor
    bias: dict[str, Tensor]
    mass: Tensor
    bound: Tensor
    total: Tensor
    exact: Tensor
    clear: Tensor

    def flat(self) -> dict[str, Tensor]:
        """Every tensor in one mapping, the form that vmap returns."""
        alone = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "bias"}
        return alone | {f"bias/{n}": t for n, t in self.bias.items()}

    @classmethod
    def of(cls, flat: Mapping[str, Tensor]) -> Flow:
        """The inverse of flat()."""
        bias = {k.removeprefix("bias/"): t for k, t in flat.items() if k.startswith("bias/")}
        return cls(bias=bias, **{k: t for k, t in flat.items() if not k.startswith("bias/")})


# R as a function of the biases and of a tap on every value of the forward pass
Tapped = Callable[[Tensors, Callable[[str, Tensor], Tensor]], Tensor]


def measure_flow(graph: Graph, weights: Tensors, fixed: Tensors, objective: Tapped) -> Flow:
    """The flow of an objective through a network, with the bound on what rounding does to each balance.

    Derivation, for a hidden unit. Let a, d be the *computed* values and cotangents, T = |w| sum |d||a|
    the absolute saliency of a weight, T_b = |b| sum |d| that of a bias. A weighted operator has n
    products (and perhaps a bias) in each sum of the forward pass, m in each sum of the backward pass,
    and B samples times positions in the slope of a weight; c of its channels, or features, are the
    unit's, at most (c_in of its outputs on the way in, c_out of its inputs on the way out).
      Way in: S_w is computed as w * (sum_B d a)(1 + gamma_B)(1 + u), and the law sums c_in n of them.
      A computed output z differs from sum w a + b by gamma_{n+1} (sum |w||a| + |b|). So the incoming
      sum differs from sum d z over the unit's outputs by at most gamma_{n + c_in n + B + 1} T_in.
      A bias's own saliency, of e entries of the unit, differs from sum d b by gamma_{B+e} T_b, and
      its part of z adds the gamma_{n+1}.
      Way out: an input's cotangent differs from sum w d by gamma_m sum |w||d|, so the outgoing sum
      differs from sum a d over the unit's inputs by at most gamma_{m + c_out m + B + 1} T_out.
      In between every operator passes on sum d a. Those that move entries, relu, and max that chooses
      each entry once, do so exactly; every other one rounds k times, forward and backward (see
      roundings), each time by u times the absolute flow |d||a| through it (see _through).
      f: each further use of a value adds one rounding to its cotangent, each further weight or bias of
      the unit one to the law's sums; a bias also one to z. What these round is the absolute flow of a
      value, which moves, relu and max pass on undiminished, so it is that of operators that round or
      of weights further on, and is charged there.
    Hence the gap is at most gamma_{n + c_in n + B + 2 + f} T_in + gamma_{n + B + e + 2 + f} T_b +
    gamma_{m + c_out m + B + 2 + f} T_out + gamma_{k+f} of what passes the operators between, whatever
    the depth; the 2 pays for T, the gap and the bound being rounded themselves. Underflow adds eta
    times the absolute sums that its errors are multiplied by.
    The flow counts as exact where every value and cotangent is an integer (a maximum may share its own
    among three that are tied), no operator rounds integers, and all absolute partial sums, forward,
    backward, over the weights and over input and output, are below 2^53 (2^24 in float32). Raises
    UnreadableFlow.
    """
    values: dict[str, Tensor] = {}
    runs: Counter[str] = Counter()

    def record(name: str, value: Tensor) -> Tensor:
        runs[name] += 1
        values[name] = value
        return value

    objective(fixed, record)
    if set(runs.values()) != {1}:
        raise UnreadableFlow(f"the objective runs the network {max(runs.values(), default=0)} times, wanted once")

    def shifted(offsets: dict[str, Tensor], constants: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        value = objective(constants, lambda name, v: v + offsets[name])
        return value, value

    zeros = {name: torch.zeros_like(v) for name, v in values.items()}
    gradient: Any = torch.func.grad(shifted, argnums=(0, 1), has_aux=True)  # typed by torch as without aux
    (slopes, by_fixed), value = gradient(zeros, dict(fixed))
    # an objective that puts neutral constants in their place is left unmoved by what they are
    unknown = {name: torch.full_like(t, torch.nan) for name, t in fixed.items()}
    reads = objective(unknown, lambda name, v: v).isnan() if graph.entering else torch.zeros_like(value).bool()
    return _Reader(graph, weights, fixed, values, slopes, by_fixed, reads).flow(value)


class _Reader:
    def __init__(
        self,
        graph: Graph,
        weights: Tensors,
        fixed: Tensors,
        values: Tensors,
        slopes: Tensors,
        by_fixed: Tensors,
        reads: Tensor,
    ) -> None:
        self.graph, self.weights, self.fixed = graph, weights, fixed
        self.values, self.slopes, self.by_fixed, self.reads = values, slopes, by_fixed, reads
        self.dtype = next(iter(weights.values())).dtype
        self.nodes = {node.name: node for node in graph.nodes}
        self.absolute = {e.node.name: self._absolute(e) for e in graph.edges}

    def flow(self, value: Tensor) -> Flow:
        bias = {s.name: self.fixed[s.name] * self.by_fixed[s.name] for s in self.graph.entering}
        mass, bound = self._balances()
        output, output_error = self._inner_product(self.graph.output)
        input_, input_error = self._inner_product(INPUT)
        total = torch.stack([t.sum() for t, _ in self.absolute.values()]).sum()
        exact = self._exact(total)
        least = least_magnitude([*self.weights.values(), *self.values.values(), *self.slopes.values()])
        clear = least**3 > torch.finfo(self.dtype).smallest_normal  # a score is a product of three
        return Flow(value, output, output_error, input_, input_error, bias, mass, bound, total, exact, clear)

    def _absolute(self, edge: Edge) -> tuple[Tensor, Tensor]:
        """T = |w| sum |d||a| per weight, and the largest absolute partial sum in the three products."""
        node = self.nodes[edge.node.name]  # as it runs here, should its operator have been replaced
        a, d = self._argument(node).abs(), self.slopes[node.name].abs()
        w = self.weights[edge.weight].abs()
        forward, back, *_ = torch.func.vjp(lambda x, v: _without_bias(node, edge.weight, x, v), a, w)
        to_a, to_w = back(d)
        peak = torch.stack([forward.amax(), to_a.amax(), to_w.amax()]).amax()
        return w * to_w, peak

    def _argument(self, node: Node) -> Tensor:
        return self.values[node.values()[0]]

    def _balances(self) -> tuple[Tensor, Tensor]:
        """Absolute saliency around each unit, and the bound on its balance."""
        units = self.graph.units
        further = _further(self.graph).to(self.slopes[INPUT].device)
        around = self._around()
        mass = torch.zeros(units, dtype=self.dtype, device=further.device)
        bound = torch.zeros_like(mass)
        for edge in self.graph.edges:
            saliency, weights = self.absolute[edge.node.name][0], self.weights[edge.weight].abs()
            t, summed = edge.into(saliency, units), edge.fan_in * edge.channels_per_head
            mass, bound = mass + t, bound + t * self._gamma(edge, edge.fan_in + summed + further)
            bound = bound + self._underflow(edge, edge.into(weights, units), summed, around)
            t, summed = edge.out_of(saliency, units), edge.fan_out * edge.channels_per_tail
            mass, bound = mass + t, bound + t * self._gamma(edge, edge.fan_out + summed + further)
            bound = bound + self._underflow(edge, edge.out_of(weights, units), summed, around)
        for source in self.graph.entering:
            t, entries = self._source(source), source.entries_per_unit
            terms = self.slopes[source.node.name].numel() // source.units.numel() + self._fan_in(source) + entries
            mass, bound = mass + t, bound + t * gamma(terms + 2 + further, self.dtype) + eta(self.dtype) * entries
        for node in self.graph.nodes:
            k = roundings(node, self.values) if node.name in self.slopes and node.name not in self.absolute else 0
            if k:
                bound = bound + self._through(node) * gamma(k + further, self.dtype)
                bound = bound + eta(self.dtype) * k * around
        return mass, bound

    def _fan_in(self, source: Source) -> int:
        """Products that a bias is added to."""
        return next((e.fan_in for e in self.graph.edges if e.node.name == source.node.name), 1)

    def _gamma(self, edge: Edge, k: Tensor) -> Tensor:
        return gamma(k + self._terms(edge) + 2, self.dtype)

    def _terms(self, edge: Edge) -> int:
        return self.slopes[edge.node.name].numel() // max(len(edge.heads), 1)

    def _around(self) -> Tensor:
        """What a product lost inside a junction may be multiplied by, per unit."""
        sizes = {n: v.abs().sum() + self.slopes[n].abs().sum() for n, v in self.values.items() if n in self.slopes}
        zero = torch.zeros((), dtype=self.dtype, device=self.slopes[INPUT].device)
        junctions = self.graph.junctions
        sums = [torch.stack([zero, *(sizes[n] for n in j.values if n in sizes)]).sum() for j in junctions]
        counts = torch.tensor([j.units for j in junctions], device=zero.device)
        return torch.stack(sums).repeat_interleave(counts, output_size=self.graph.units)

    def _underflow(self, edge: Edge, weights: Tensor, terms: int, around: Tensor) -> Tensor:
        """eta times what the lost products would have been multiplied by, and one for each that stands alone."""
        return eta(self.dtype) * (terms * around + self._terms(edge) * weights + terms)

    def _through(self, node: Node) -> Tensor:
        """Absolute flow that passes a parameter-free operator, per unit."""
        operands, slope = node.values(), self.slopes[node.name].abs()
        if node.kind in ("mul", "div"):
            return self._by_unit(node.name, self.values[node.name].abs() * slope)
        if node.kind in ("add", "sub"):
            parts = [(self.values[n].abs() * slope).expand_as(slope) for n in operands]
            return torch.stack([self._by_unit(node.name, p) for p in parts]).sum(0)
        x = self.values[operands[0]]
        _, back, *_ = torch.func.vjp(lambda v: node.run({**self.values, operands[0]: v}, self.fixed), x)
        return self._by_unit(operands[0], x.abs() * back(slope)[0].abs())

    def _by_unit(self, name: str, flow: Tensor) -> Tensor:
        try:
            return self.graph.by_unit(name, flow)
        except ValueError as error:
            raise UnreadableFlow(str(error)) from error

    def _inner_product(self, name: str) -> tuple[Tensor, Tensor]:
        terms = self.values[name] * self.slopes[name]
        return terms.sum(), terms.abs().sum() * gamma(terms.numel() + 1, self.dtype)

    def _exact(self, total: Tensor) -> Tensor:
        plain = all(only_sums(n) or roundings(n, self.values) == 0 for n in self._inner())
        if not plain or self.graph.objections:
            return torch.zeros_like(total, dtype=torch.bool)
        constants = [t for t in self.fixed.values() if t.is_floating_point()]
        given = [*self.weights.values(), *constants, *self.values.values(), *self.slopes.values()]
        whole = torch.stack([(t == t.round()).all() for t in given]).all()
        sums = [peak for _, peak in self.absolute.values()] + [total + self._bias_total()]
        sums += [(self.values[n] * self.slopes[n]).abs().sum() for n in (INPUT, self.graph.output)]
        sums += [t.abs().amax() for t in (*self.values.values(), *self.slopes.values())]
        uses = Counter(name for node in self.graph.nodes for name in node.values())  # whose cotangents are summed
        added = sum(t.abs().amax() for t in constants)  # a bias joins a sum of products
        most = max(uses.values()) * self._spread() * torch.stack(sums).amax() + added
        return whole & (most < largest_integer(self.dtype))

    def _inner(self) -> list[Node]:
        """Operators without weights that a slope goes through."""
        return [n for n in self.graph.nodes if n.name not in self.absolute and n.name in self.slopes]

    def _spread(self) -> int:
        """From how many places at most an operator sums the cotangents of one entry."""
        sums = [node for node in self._inner() if only_sums(node)]
        wide = [self.values[n.name].numel() // self.values[v].numel() for n in sums for v in n.values()]
        return max([1, *wide, *(roundings(n, self.values) + 1 for n in sums)])

    def _source(self, source: Source) -> Tensor:
        """|b| sum |d| per unit; 0 where the objective does not read the bias."""
        each = self.fixed[source.name].abs() * self.slopes[source.node.name].abs().sum_to_size(
            _aligned(source, self.slopes[source.node.name])
        ).reshape(self.fixed[source.name].shape)
        return torch.where(self.reads, source.into(each, self.graph.units), 0)

    def _bias_total(self) -> Tensor:
        flows = [self._source(s).sum() for s in self.graph.entering]
        return torch.stack(flows).sum() if flows else torch.zeros((), dtype=self.dtype)


def _without_bias(node: Node, weight: str, x: Tensor, w: Tensor) -> Tensor:
    """The product of a weighted operator alone."""
    name = node.values()[0]
    args = tuple(None if isinstance(a, Param) and a.name != weight else a for a in node.args)
    if node.kind == "addmm":
        return x @ w
    return replace(node, args=args).run({name: x}, {weight: w})


def _aligned(source: Source, slopes: Tensor) -> tuple[int, ...]:
    """The shape of a shift as it is added to values of the shape of `slopes`. Raises UnreadableFlow."""
    own = tuple(source.units.shape)
    if not source.node.kind.startswith(("conv", "linear", "addmm", "add", "sub")):
        raise UnreadableFlow(f"{source.node.where}: how the slope of {source.name!r} is summed is not derived")
    if source.node.kind.startswith("conv"):
        return (1, *own, *[1] * (slopes.dim() - 2))
    return (1,) * (slopes.dim() - len(own)) + own


def _further(graph: Graph) -> Tensor:
    """f: further uses of a value, and further weights and biases of a unit, which the law and the pass both add."""
    joined = [len(j.incoming) + len(j.outgoing) + 2 * len(j.sources) + extra_uses(graph, j) for j in graph.junctions]
    counts = torch.tensor([j.units for j in graph.junctions])
    return torch.tensor(joined).repeat_interleave(counts, output_size=graph.units)
