"""Tracing: any nn.Module becomes a Network, by torch.export, without being changed."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pruning.errors import ModelError, retold
from pruning.graph import INPUT, Node, Param, Value
from pruning.masks import Masks
from pruning.network import Network
from pruning.survey import build
from pruning.unwrap import copied, refuse_unscorable, unwrap

aten = torch.ops.aten


def trace(model: nn.Module, example: Tensor) -> Network:
    """The network that `model` computes in evaluation mode on inputs like `example`.

    The model is copied first and not changed. Masks of torch.nn.utils.prune and parametrizations
    are taken into the copy's weights; those masks become the network's `initial` ones. Parameters
    that don't require a gradient are prunable like others; of several outputs the first counts.
    Raises ModelError for sharded models, models that torch.export can't trace or that lie on another
    device or in another dtype than `example`, and models without a linear or convolution weight.
    """
    refuse_unscorable(model, example)
    plain = copied(model).eval().requires_grad_(False)
    initial = unwrap(plain)
    program = _export(plain, example)
    nodes, found = _translate(program, _first_names(plain))
    params = found.tensors
    try:
        graph = build(nodes, found.output, example, params)
    except ValueError as error:
        raise ModelError(f"{type(model).__name__} can't be traced: {error}") from error
    if not any(params[n].numel() for n in graph.weights):
        raise ModelError(
            f"{type(model).__name__} has no prunable layer: no weight of a linear or convolution operator was found"
        )
    weights = {n: params[n] for n in graph.weights}
    fixed = {n: t for n, t in params.items() if n not in weights}
    zeroed = {s.name for s in graph.sources}
    neutral = {n: torch.zeros_like(t) if n in zeroed else found.neutral.get(n, t) for n, t in fixed.items()}
    masks = Masks({n: initial.get(n, torch.ones_like(w, dtype=torch.bool)) for n, w in weights.items()})
    return Network(graph, weights, fixed, neutral, example, masks)


def _first_names(model: nn.Module) -> dict[str, str]:
    """Every name of a parameter to the one that `named_parameters` gives it: tied weights have several."""
    first: dict[int, str] = {}
    return {n: first.setdefault(id(p), n) for n, p in model.named_parameters(remove_duplicate=False)}


def _export(model: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    logged = logging.root.manager.disable
    logging.disable()
    try:
        with warnings.catch_warnings(), torch.no_grad(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            return torch.export.export(model, (example,))
    except Exception as error:
        raise ModelError(
            f"torch.export can't trace {type(model).__name__} on an input of shape {tuple(example.shape)}: "
            f"{retold(error)}"
        ) from error
    finally:
        logging.disable(logged)


@dataclass
class _Found:
    """What the translation collects: tensors by name, their neutral forms, the output's name.

    base: for a node that shares another's memory, the node whose memory that is.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    neutral: dict[str, Tensor] = field(default_factory=dict)
    output: str = ""
    base: dict[str, str] = field(default_factory=dict)


def _translate(program: torch.export.ExportedProgram, first_names: dict[str, str]) -> tuple[list[Node], _Found]:
    signature, found = program.graph_signature, _Found()
    stored: dict[str, Tensor] = {**program.state_dict, **program.constants}
    stored |= {first: stored[name] for name, first in first_names.items() if name in stored}
    origin = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    names: dict[str, object] = {}
    nodes: list[Node] = []
    for node in program.graph.nodes:
        if node.op == "placeholder":
            source = origin.get(node.name)
            names[node.name] = Value(INPUT) if source is None else Param(first_names.get(source, source))
        elif node.op == "call_function":
            nodes += _call(node, names, stored, found)
        elif node.op == "output":
            found.output = _single_output(node, names)
    return nodes, found


def _single_output(node: torch.fx.Node, names: dict[str, object]) -> str:
    results = node.args[0]
    first = results[0] if isinstance(results, (tuple, list)) and results else results
    value = names.get(first.name) if isinstance(first, torch.fx.Node) else None
    if not isinstance(value, Value):
        raise ModelError("the model's output is no tensor that depends on its input")
    return value.name


def _call(node: torch.fx.Node, names: dict[str, object], stored: dict[str, Tensor], found: _Found) -> list[Node]:
    where = _where(node)

    def named(arg: Any) -> object:
        if isinstance(arg, torch.fx.Node):
            return names[arg.name]
        return type(arg)(named(a) for a in arg) if isinstance(arg, (list, tuple)) else arg

    if not isinstance(node.target, torch._ops.OpOverload):
        raise ModelError(f"{where}: {node.target} is no tensor operator that can be replayed")
    op = _functional(node.target, where)
    in_place = op is not node.target
    _follow_memory(node, in_place, names, where, found)
    args, kwargs = _arguments(op, tuple(named(a) for a in node.args), {k: named(v) for k, v in node.kwargs.items()})
    if op is aten.batch_norm.default:
        made = _batch_norm(node, args, where, stored, found)
    else:
        op, args = _without_batch_size(op, args, node)
        made = [Node(node.name, op, args, where, kwargs)]
    for param in (a for m in made for a in m.args if isinstance(a, Param)):
        if param.name not in found.tensors:
            found.tensors[param.name] = stored[param.name].detach()
    names[node.name] = Value(made[-1].name)
    if in_place and isinstance(node.args[0], torch.fx.Node):
        names[node.args[0].name] = names[node.name]
    return made


def _where(node: torch.fx.Node) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    paths = [str(path) for path, _ in stack.values() if path]
    return paths[-1].removeprefix("L['self'].") if paths else node.name


def _functional(op: torch._ops.OpOverload, where: str) -> torch._ops.OpOverload:
    name = op._schema.name.removeprefix("aten::")
    if not name.endswith("_") or name.startswith("_"):
        return op
    packet = getattr(aten, name.rstrip("_"), None)
    if packet is None or op._overloadname not in packet.overloads():
        raise ModelError(f"{where}: the in-place operator {name} has no pure form")
    pure: torch._ops.OpOverload = getattr(packet, op._overloadname)
    return pure


def _follow_memory(node: torch.fx.Node, in_place: bool, names: dict[str, object], where: str, found: _Found) -> None:
    """Note whose memory the node shares. Raises ModelError where it writes into memory that is read by another name.

    The replay is pure: what reads the written tensor by its own name sees the new value, a view of it would not.
    """
    source, op = node.args[0] if node.args else None, node.target
    assert isinstance(op, torch._ops.OpOverload)
    shares = any(r.alias_info for r in op._schema.returns) or op is aten.dropout.default  # in evaluation mode
    if not isinstance(source, torch.fx.Node) or not shares:
        return
    base = found.base[node.name] = found.base.get(source.name, source.name)
    others = [n for n in node.graph.nodes if n.name in names and n is not source] if in_place else []
    for other in others:
        same = found.base.get(other.name, other.name) == base
        if same and any(user is not node and user.name not in names for user in other.users):
            raise ModelError(
                f"{where}: {op._schema.name.removeprefix('aten::')} writes into memory that is read later "
                f"as {other.name!r}; give it a tensor of its own, or don't work in place"
            )


def _arguments(
    op: torch._ops.OpOverload, args: tuple[object, ...], kwargs: dict[str, object]
) -> tuple[tuple[object, ...], tuple[tuple[str, object], ...]]:
    """The call with every positional argument in its place and defaults dropped, so that rules can read it."""
    schema = op._schema.arguments
    given = [*args, *(kwargs.get(a.name, a.default_value) for a in schema[len(args) :] if not a.kwarg_only)]
    while given and not isinstance(given[-1], (Value, Param)) and given[-1] == schema[len(given) - 1].default_value:
        given.pop()
    named = ((a.name, kwargs.get(a.name, a.default_value)) for a in schema if a.kwarg_only)
    defaults = {a.name: a.default_value for a in schema}
    return tuple(given), tuple((n, v) for n, v in named if v != defaults[n])


def _without_batch_size(
    op: torch._ops.OpOverload, args: tuple[object, ...], node: torch.fx.Node
) -> tuple[torch._ops.OpOverload, tuple[object, ...]]:
    """A reshape that keeps the batch axis, without the batch's size in it; as flatten(x, 1) where it is that."""
    if op not in (aten.view.default, aten.reshape.default, aten.flatten.using_ints):
        return op, args
    source = node.args[0]
    assert isinstance(source, torch.fx.Node)
    before, after = source.meta["val"].shape, node.meta["val"].shape
    if not before or not after or after[0] != before[0]:
        return op, args
    if len(after) == 2:
        return aten.flatten.using_ints, (args[0], 1)
    return (op, args) if op is aten.flatten.using_ints else (aten.reshape.default, (args[0], [-1, *after[1:]]))


def _batch_norm(
    node: torch.fx.Node, args: tuple[object, ...], where: str, stored: dict[str, Tensor], found: _Found
) -> list[Node]:
    """Batch norm in evaluation mode is one scale and one shift per channel."""
    x, gamma, beta, mean, variance, training, _, eps, *_ = args
    if training or not isinstance(mean, Param) or not isinstance(variance, Param):
        raise ModelError(f"{where}: batch norm by the batch's own statistics has no evaluation mode to score in")
    if isinstance(gamma, Value) or isinstance(beta, Value):
        raise ModelError(f"{where}: batch norm with a computed weight or bias can't be replayed; give it parameters")
    assert isinstance(eps, float)
    mu, var = stored[mean.name].detach(), stored[variance.name].detach()
    gain = stored[gamma.name].detach() if isinstance(gamma, Param) else torch.ones_like(var)
    offset = stored[beta.name].detach() if isinstance(beta, Param) else torch.zeros_like(mu)
    scale = gain / (var + eps).sqrt()
    column = (-1, *[1] * (node.meta["val"].dim() - 2))
    prefix = mean.name.removesuffix("running_mean")  # that of the statistics: a module may hold several
    found.tensors[prefix + "scale"] = scale.view(column)
    found.tensors[prefix + "shift"] = (offset - mu * scale).view(column)
    found.neutral[prefix + "scale"] = (gain.abs() / (1 + eps) ** 0.5).view(column)
    return [
        Node(node.name + "_scale", aten.mul.Tensor, (x, Param(prefix + "scale")), where),
        Node(node.name, aten.add.Tensor, (Value(node.name + "_scale"), Param(prefix + "shift")), where),
    ]
