"""Asking a pruner about a torch module: its scores there, and the problem that `prune` takes."""

from __future__ import annotations

import warnings

from torch import Tensor, nn

from pruning.answers import call_scorer, check_asked, check_scores
from pruning.masks import Masks, Tensors, check_against
from pruning.network import Network, check_finite
from pruning.problem import LOSSES, Loss, Probe, Problem, check_batch
from pruning.pruner import Pruner, State
from pruning.trace import trace


def problem(
    module: nn.Module,
    inputs: Tensor,
    targets: Tensor | None = None,
    *,
    loss: str | Loss = "squared-error",
    seed: int = 0,
) -> Problem:
    """A module and a batch of data as what a pruner is run on: see `prune` and `scores`.

    inputs: (samples, ...), which also are the example that the module is traced by; targets: the loss's, or None where
    there is no data. A module whose parameters are DTensors (fully_shard, parallelize_module) is taken in its parts:
    all processes call this, and `prune`, together and with the same numbers. loss: "squared-error" (half the sum of
    squares), "cross-entropy" (the mean), or a function of outputs and targets. Warns where the module goes by values:
    it is taken as it goes on these inputs. Raises ModelError for a module that can't be traced, ValueError for no
    samples, an unknown loss, and targets that it can't take, TypeError for a seed that is no number.
    """
    if isinstance(loss, str) and loss not in LOSSES:
        raise ValueError(f"there is no loss {loss!r}; wanted one of {', '.join(LOSSES)}, or a function")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"the seed is {seed!r}, wanted a whole number")
    if not isinstance(inputs, Tensor) or not inputs.dim() or not len(inputs):
        got = f"a tensor of {tuple(inputs.shape)}" if isinstance(inputs, Tensor) else type(inputs).__name__
        raise ValueError(f"the inputs are {got}, wanted a tensor (samples, ...) of one sample or more")
    batch = None if targets is None else (inputs, targets)
    network = _traced(module, inputs, targets)
    for turn in network.turns:
        warnings.warn(turn, stacklevel=2)
    made = Problem(network, batch, LOSSES[loss] if isinstance(loss, str) else loss, seed)
    check_batch(made)
    return made


def _traced(module: nn.Module, inputs: Tensor, targets: Tensor | None) -> Network:
    if not _is_sharded(module):
        return trace(module, inputs)
    from pruning.sharded.traced import (  # torch's shards take half a second to import
        same_everywhere,
        same_kind,
        trace_sharded,
    )

    given = {"inputs": inputs, "targets": targets}
    for what, tensor in given.items():
        if not same_kind(tensor):
            raise ValueError(f"the {what} are not of one shape and type on all processes; each takes the whole batch")
    network = trace_sharded(module, inputs)
    for what, tensor in given.items():
        if tensor is not None and network.together and not same_everywhere(tensor, network.together):
            raise ValueError(f"the {what} are not the same on all processes; each must be given the whole batch")
    return network


def _is_sharded(module: nn.Module) -> bool:
    tensors = (*module.parameters(), *module.buffers()) if isinstance(module, nn.Module) else ()
    return any(type(t).__name__ == "DTensor" or hasattr(t, "device_mesh") for t in tensors)


def scores(pruner: Pruner, problem: Problem, masks: Tensors | None = None) -> dict[str, Tensor]:
    """The scores that a pruner gives the weights of a problem, by name; under masks, where there are any.

    Raises ScoreError for scores that can't be used, ValueError for masks that don't fit, for weights that are NaN or
    infinite, and for a pruner that gives masks alone, TypeError for what is no pruner or no problem.
    """
    check_asked(pruner, problem)
    network = problem.network
    if network.together:
        raise ValueError("no process has all scores of a sharded network; see `prune`")
    if pruner.score is None:
        raise ValueError(f"{pruner.name!r} gives masks and no scores; see `prune`")
    check_finite(network.weights)
    kept = network.initial if masks is None else Masks(masks)
    check_against(network.weights, kept, "mask")
    found = call_scorer(pruner, network, State(network.weights, kept), Probe(problem))
    check_scores(pruner.name, network.weights, found)
    return found
