"""Programs: the operators of a model as torch.export finds them or, where it can't, as the model runs them once."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import get_proxy_mode, make_fx
from torch.utils._pytree import tree_leaves

from pruning.errors import ModelError, retold

aten = torch.ops.aten
_FOLLOWED = "what is checked is the way that it goes on its example"


@dataclass(frozen=True)
class Program:
    """A graph of operators and the tensors that it is given.

    parameters, others: of each placeholder but the input's the name of its tensor in `tensors`: of parameters, and of
    buffers and constants. turns: of a model that was followed, where it went by a number that it read off a tensor.
    """

    graph: fx.Graph
    parameters: Mapping[str, str]
    others: Mapping[str, str]
    tensors: Mapping[str, Tensor]
    turns: tuple[str, ...] = ()


def program_of(model: nn.Module, example: Tensor) -> Program:
    """The model's operators for any number of samples, where it admits that; else for the example's.

    Raises ModelError where torch.export can't trace the model and it can't be followed on the example either.
    """
    model.forward = _first_output(model.forward)
    several = example if example.shape[0] > 1 else example.repeat(2, *[1] * (example.dim() - 1))
    try:
        program = _exported(model, several, ({0: torch.export.Dim.AUTO},))
        given = next(n for n in program.graph.nodes if n.name in program.graph_signature.user_inputs)
        if several is example or isinstance(given.meta["val"].shape[0], torch.SymInt):
            return _plain(program)
    except Exception:  # told below, as it is for the example itself
        pass
    try:
        return _plain(_exported(model, example, None))
    except Exception as error:
        try:
            return _followed(model, example)
        except ModelError as other:
            raise ModelError(f"{type(model).__name__} can't be traced: {other}") from error
        except Exception:  # what torch.export says of it is clearer
            raise ModelError(
                f"torch.export can't trace {type(model).__name__} on an input of shape {tuple(example.shape)}: "
                f"{retold(error)}"
            ) from error


def _first_output(forward: Callable[..., Any]) -> Callable[..., Any]:
    """The forward pass that gives the first tensor of what it gave: what comes after may be of types of its own."""

    @functools.wraps(forward)
    def first(*args: Any, **kwargs: Any) -> Any:
        made = forward(*args, **kwargs)
        while not isinstance(made, Tensor):
            parts = list(made.values()) if isinstance(made, Mapping) else made
            if not isinstance(parts, (list, tuple)) or not parts:
                raise ModelError(f"it gives {type(made).__name__}, wanted a tensor, or several with the output first")
            made = parts[0]
        return made

    return first


def _exported(model: nn.Module, example: Tensor, sizes: Any) -> torch.export.ExportedProgram:
    with _quiet():
        program = torch.export.export(model, (example,), dynamic_shapes=sizes)
    if any(n.target is aten.item.default for n in program.graph.nodes):
        raise ModelError("the model goes by a number that it reads off a tensor")
    return program


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without gradients, warnings or logs, and without the fused attention that modules leave out when traced."""
    logged, fused = logging.root.manager.disable, torch.backends.mha.get_fastpath_enabled()
    logging.disable()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings(), torch.no_grad(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logged)
        torch.backends.mha.set_fastpath_enabled(fused)


def _plain(program: torch.export.ExportedProgram) -> Program:
    signature = program.graph_signature
    others = {**signature.inputs_to_buffers, **signature.inputs_to_lifted_tensor_constants}
    tensors: dict[str, Tensor] = {**program.state_dict, **program.constants}
    return Program(program.graph, signature.inputs_to_parameters, others, tensors)


def _followed(model: nn.Module, example: Tensor) -> Program:
    """The operators that run on the example itself: at each turn that the model takes by a value, the way it takes.

    Raises ModelError where they give something else when they are run again.
    """
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    names = list(tensors)

    def run(x: Tensor, *given: Tensor) -> Any:
        return torch.func.functional_call(model, dict(zip(names, given, strict=True)), (x,))

    with _quiet(), _paths_noted(model):
        made = make_fx(run, pre_dispatch=True, _error_on_data_dependent_ops=False)(example, *tensors.values())
    graph = made.graph
    numbers = [n for n in graph.nodes if n.target is aten.item.default]
    with _quiet():
        again = _Reading(made)
        if not _same(again.run(example, *tensors.values()), model(example)):
            raise ModelError("what the model ran on its example gives something else when it is run again")
    for node in graph.nodes:
        node.args = fx.map_arg(node.args, lambda n: again.numbers.get(n, n))
    graph.eliminate_dead_code()
    places = [n for n in graph.nodes if n.op == "placeholder"][1:]
    given = {place.name: name for place, name in zip(places, names, strict=True)}
    owned = {name for name, _ in model.named_parameters()}
    parameters = {place: name for place, name in given.items() if name in owned}
    others = {place: name for place, name in given.items() if name not in owned}
    for node in [n for n in graph.nodes if n.op == "get_attr"]:  # a constant that is none of the model's tensors
        tensors[node.name] = node.meta["val"] = getattr(made, str(node.target))
        node.op = "placeholder"
        others[node.name] = node.name
    turns = dict.fromkeys(
        f"{_path(n)}: the model goes by a number that it reads off a tensor; {_FOLLOWED}" for n in numbers
    )
    return Program(
        graph, parameters, others, tensors, tuple(turns) or (f"torch.export can't trace the model; {_FOLLOWED}",)
    )


class _Reading(fx.Interpreter):
    """Runs a graph and keeps the numbers that it reads off tensors."""

    def __init__(self, made: fx.GraphModule) -> None:
        super().__init__(made)
        self.numbers: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        found = super().run_node(n)
        if n.target is aten.item.default:
            self.numbers[n] = found
        return found


def _same(made: Any, other: Any) -> bool:
    pairs = zip(tree_leaves(made), tree_leaves(other), strict=True)
    return all(torch.equal(a, b) if isinstance(a, Tensor) else a == b for a, b in pairs)


def _path(node: fx.Node) -> str:
    return next(reversed(node.meta.get("nn_module_stack") or {"": None})) or node.name


@contextlib.contextmanager
def _paths_noted(model: nn.Module) -> Iterator[None]:
    """While it lasts, hooks note on each operator that is traced the path of the module that runs it."""
    inside: list[tuple[str, type[nn.Module]]] = []
    marked = 0

    def mark() -> None:
        nonlocal marked
        mode = get_proxy_mode()
        nodes = list(mode.tracer.graph.nodes) if mode is not None else []
        for node in nodes[marked:]:
            node.meta["nn_module_stack"] = {path: (path, kind) for path, kind in inside}
        marked = len(nodes)

    def enter(path: str, module: nn.Module) -> None:
        mark()
        inside.append((path, type(module)))

    def leave() -> None:
        mark()
        inside.pop()

    handles = [
        handle
        for path, module in model.named_modules()
        for handle in (
            module.register_forward_pre_hook(lambda m, args, p=path: enter(p, m)),
            module.register_forward_hook(lambda m, args, made: leave()),
        )
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
