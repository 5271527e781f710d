"""Tracing: any nn.Module becomes a Network, by torch.export, without being changed."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from pruning.errors import ModelError, retold
from pruning.masks import Masks
from pruning.network import Network
from pruning.survey import build
from pruning.translate import translate
from pruning.unwrap import copied, refuse_unscorable, unwrap


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
    found = translate(_export(plain, example), _first_names(plain), _dtype_of(plain, example))
    params = found.tensors
    try:
        graph = build(found.nodes, found.output, example, params)
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


def _dtype_of(model: nn.Module, example: Tensor) -> torch.dtype:
    """The floating-point type that the model computes in."""
    types = (t.dtype for t in (example, *model.parameters()) if t.is_floating_point())
    return next(types, torch.get_default_dtype())


def _export(model: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    """The program for any number of samples, where the model admits that; else for the example's."""
    several = example if example.shape[0] > 1 else example.repeat(2, *[1] * (example.dim() - 1))
    try:
        program = _exported(model, several, ({0: torch.export.Dim.AUTO},))
        given = next(n for n in program.graph.nodes if n.name in program.graph_signature.user_inputs)
        if several is example or isinstance(given.meta["val"].shape[0], torch.SymInt):
            return program
    except Exception:  # told below, as it is for the example itself
        pass
    try:
        return _exported(model, example, None)
    except Exception as error:
        raise ModelError(
            f"torch.export can't trace {type(model).__name__} on an input of shape {tuple(example.shape)}: "
            f"{retold(error)}"
        ) from error


def _exported(model: nn.Module, example: Tensor, sizes: Any) -> torch.export.ExportedProgram:
    logged = logging.root.manager.disable
    logging.disable()
    try:
        with warnings.catch_warnings(), torch.no_grad(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            return torch.export.export(model, (example,), dynamic_shapes=sizes)
    finally:
        logging.disable(logged)
