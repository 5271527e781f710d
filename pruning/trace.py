"""Tracing: any nn.Module becomes a Network, by torch.export, without being changed."""

from __future__ import annotations

import copy
import logging
import warnings
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils import prune as torch_prune

from pruning.graph import INPUT, Node, Param, Value, build
from pruning.masks import Masks
from pruning.network import Network

aten = torch.ops.aten


class ModelError(ValueError):
    """A model that can't be scored, with the reason and what to do."""


def trace(model: nn.Module, example: Tensor) -> Network:
    """The network that `model` computes in evaluation mode on inputs like `example`.

    The model is copied first and not changed. Masks of torch.nn.utils.prune and parametrizations
    are taken into the copy's weights; those masks become the network's `initial` ones. Parameters
    that don't require a gradient are prunable like others. Raises ModelError for sharded models,
    models that torch.export can't trace, and models without a linear or convolution weight.
    """
    _refuse_sharded(model)
    plain = copy.deepcopy(model).eval().requires_grad_(False)
    initial = _unwrap(plain)
    program = _export(plain, example)
    nodes, found = _translate(program)
    params = found.tensors
    try:
        graph = build(nodes, found.output, example, params)
    except ValueError as error:
        raise ModelError(f"{type(model).__name__} can't be traced: {error}") from error
    if not graph.weights:
        raise ModelError(
            f"{type(model).__name__} has no prunable layer: no weight of a linear or convolution operator was found"
        )
    weights = {n: params[n] for n in graph.weights}
    fixed = {n: t for n, t in params.items() if n not in weights}
    zeroed = {s.name for s in graph.sources}
    neutral = {n: torch.zeros_like(t) if n in zeroed else found.neutral.get(n, t) for n, t in fixed.items()}
    masks = Masks({n: initial.get(n, torch.ones_like(w, dtype=torch.bool)) for n, w in weights.items()})
    return Network(graph, weights, fixed, neutral, example, masks)


def _refuse_sharded(model: nn.Module) -> None:
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if type(tensor) not in (nn.Parameter, Tensor, nn.Buffer):
            raise ModelError(
                f"{name!r} is a {type(tensor).__name__}; weights of that kind (sharded or quantised) "
                "can't be swapped for scoring. Give the plain, gathered model"
            )
        if tensor.is_meta:
            raise ModelError(f"{name!r} lies on the meta device and has no values; load the weights first")


def _unwrap(model: nn.Module) -> dict[str, Tensor]:
    """Bake pruning hooks and parametrizations into plain weights; the masks found, by weight name."""
    masks: dict[str, Tensor] = {}
    for path, module in model.named_modules():
        dot = path + "." if path else ""
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
        for name in [n.removesuffix("_mask") for n, _ in module.named_buffers(recurse=False) if n.endswith("_mask")]:
            if f"{name}_orig" in dict(module.named_parameters(recurse=False)):
                masks[dot + name] = module.get_buffer(f"{name}_mask").bool()
                torch_prune.remove(module, name)  # type: ignore[no-untyped-call]
    return masks


def _export(model: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    exporter = logging.getLogger("torch.export")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            return torch.export.export(model, (example,))
    except Exception as error:
        first = str(error).strip().splitlines()
        raise ModelError(
            f"torch.export can't trace {type(model).__name__} on an input of shape {tuple(example.shape)}: "
            f"{type(error).__name__}: {first[0] if first else ''}"
        ) from error
    finally:
        exporter.setLevel(level)


@dataclass
class _Found:
    """What the translation collects: tensors by name, their neutral forms, the output's name."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    neutral: dict[str, Tensor] = field(default_factory=dict)
    output: str = ""


def _translate(program: torch.export.ExportedProgram) -> tuple[list[Node], _Found]:
    signature, found = program.graph_signature, _Found()
    stored: dict[str, Tensor] = {**program.state_dict, **program.constants}
    origin = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    names: dict[str, object] = {}
    nodes: list[Node] = []
    for node in program.graph.nodes:
        if node.op == "placeholder":
            names[node.name] = Param(origin[node.name]) if node.name in origin else Value(INPUT)
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
    args, kwargs = _arguments(op, tuple(named(a) for a in node.args), {k: named(v) for k, v in node.kwargs.items()})
    if op is aten.batch_norm.default:
        made = _batch_norm(node, args, where, stored, found)
    else:
        op, args = _reshape_as_flatten(op, args, node)
        made = [Node(node.name, op, args, where, kwargs)]
    for param in (a for m in made for a in m.args if isinstance(a, Param)):
        if param.name not in found.tensors:
            found.tensors[param.name] = stored[param.name].detach()
    names[node.name] = Value(made[-1].name)
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


def _reshape_as_flatten(
    op: torch._ops.OpOverload, args: tuple[object, ...], node: torch.fx.Node
) -> tuple[torch._ops.OpOverload, tuple[object, ...]]:
    """view(x, [batch, -1]) and flatten(x, 1, -1) as flatten(x, 1): it must not remember the batch size."""
    if op is aten.flatten.using_ints and args[1:] in ((1,), (1, -1)):
        return op, (args[0], 1)
    if op in (aten.view.default, aten.reshape.default):
        source = node.args[0]
        assert isinstance(source, torch.fx.Node)
        before, after = source.meta["val"].shape, node.meta["val"].shape
        if len(after) == 2 and after[0] == before[0]:
            return aten.flatten.using_ints, (args[0], 1)
    return op, args


def _batch_norm(
    node: torch.fx.Node, args: tuple[object, ...], where: str, stored: dict[str, Tensor], found: _Found
) -> list[Node]:
    """Batch norm in evaluation mode is one scale and one shift per channel."""
    x, gamma, beta, mean, variance, _, _, eps, *_ = args
    if not isinstance(mean, Param) or not isinstance(variance, Param):
        raise ModelError(f"{where}: batch norm without running statistics has no evaluation mode to score in")
    assert isinstance(eps, float)
    mu, var = stored[mean.name].detach(), stored[variance.name].detach()
    gain = stored[gamma.name].detach() if isinstance(gamma, Param) else torch.ones_like(var)
    offset = stored[beta.name].detach() if isinstance(beta, Param) else torch.zeros_like(mu)
    scale = gain / (var + eps).sqrt()
    column = (-1, *[1] * (node.meta["val"].dim() - 2))
    prefix = where + "." if where else ""
    found.tensors[prefix + "scale"] = scale.view(column)
    found.tensors[prefix + "shift"] = (offset - mu * scale).view(column)
    found.neutral[prefix + "scale"] = (gain.abs() / (1 + eps) ** 0.5).view(column)
    return [
        Node(node.name + "_scale", aten.mul.Tensor, (x, Param(prefix + "scale")), where),
        Node(node.name, aten.add.Tensor, (Value(node.name + "_scale"), Param(prefix + "shift")), where),
    ]
