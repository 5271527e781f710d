"""Tracing: any nn.Module becomes a Network, without being changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning.errors import ModelError
from pruning.graph import Graph
from pruning.masks import Masks, Tensors
from pruning.network import Network
from pruning.program import Program, program_of
from pruning.sized import plain_name
from pruning.survey import build
from pruning.translate import translate
from pruning.unwrap import copied, refuse_unscorable, unwrap


def trace(model: nn.Module, example: Tensor) -> Network:
    """The network that `model` computes in evaluation mode on inputs like `example`.

    The model is copied first and not changed. Masks of torch.nn.utils.prune and parametrizations
    are taken into the copy's weights; those masks, and those that parametrizations keep in a buffer
    called `mask`, become the network's `initial` ones. Parameters
    that don't require a gradient are prunable like others; of several outputs the first counts.
    Raises ModelError for sharded models, models that can't be traced or that lie on another
    device or in another dtype than `example`, and models without a linear or convolution weight.
    """
    refuse_unscorable(model, example)
    plain = copied(model).eval().requires_grad_(False)
    initial = unwrap(plain)
    found = traced(plain, example)
    masks = Masks({n: initial.get(n, torch.ones_like(w, dtype=torch.bool)) for n, w in found.weights.items()})
    neutral = {n: found.neutral_of(n, t) for n, t in found.fixed.items()}
    return Network(found.graph, found.weights, found.fixed, neutral, example, masks, found.unpruned, found.turns)


@dataclass(frozen=True)
class Traced:
    """What is read off a plain module: see Network. norms: what a norm's scale and shift are without data."""

    graph: Graph
    weights: Tensors
    fixed: Tensors
    norms: Tensors
    unpruned: Mapping[str, str]
    turns: tuple[str, ...]

    def neutral_of(self, name: str, fixed: Tensor) -> Tensor:
        """What one of `fixed` is where a score must not see data or biases."""
        if any(name == source.name for source in self.graph.sources):
            return torch.zeros_like(fixed)
        return self.norms.get(name, fixed)


def traced(plain: nn.Module, example: Tensor) -> Traced:
    """Read a module, in evaluation mode, without hooks or parametrizations. Raises ModelError as `trace` does."""
    program, names = program_of(plain, example), _first_names(plain)
    found = translate(program, names, _dtype_of(plain, example))
    params = found.tensors
    try:
        shapes = {n: torch.empty_like(t, device="meta") for n, t in params.items()}
        graph = build(found.nodes, found.output, torch.empty_like(example, device="meta"), shapes)
    except ValueError as error:
        raise ModelError(f"{type(plain).__name__} can't be traced: {error}") from error
    if not any(params[n].numel() for n in graph.weights):
        raise ModelError(
            f"{type(plain).__name__} has no prunable layer: "
            "no linear or convolution operator whose weight has entries was found"
        )
    weights = {n: params[n] for n in graph.weights}
    fixed = {n: t for n, t in params.items() if n not in weights}
    return Traced(graph, weights, fixed, found.neutral, _unpruned(program, names, weights), program.turns)


def _unpruned(program: Program, first_names: Mapping[str, str], weights: Tensors) -> dict[str, str]:
    """Parameters of two axes or more that no linear or convolution operator multiplies by, and what reads them."""
    readers: dict[str, set[str]] = {}
    for place in (n for n in program.graph.nodes if n.name in program.parameters):
        name = program.parameters[place.name]
        if program.tensors[name].dim() > 1 and first_names[name] not in weights:
            kinds = {plain_name(n.target) for n in place.users if n.op == "call_function"}
            readers.setdefault(first_names[name], set()).update(kinds)
    return {n: f"read by {', '.join(sorted(kinds))}" if kinds else "never read" for n, kinds in readers.items()}


def _first_names(model: nn.Module) -> dict[str, str]:
    """Every name of a parameter to the one that `named_parameters` gives it: tied weights have several."""
    first: dict[int, str] = {}
    return {n: first.setdefault(id(p), n) for n, p in model.named_parameters(remove_duplicate=False)}


def _dtype_of(model: nn.Module, example: Tensor) -> torch.dtype:
    """The floating-point type that the model computes in."""
    types = (t.dtype for t in (example, *model.parameters()) if t.is_floating_point())
    return next(types, torch.get_default_dtype())
