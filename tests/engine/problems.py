"""Small problems that several tests of the engine share."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pruning.network import Network
from pruning.problem import Loss, Problem, squared_error
from pruning.trace import trace


def integer_weights(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model in float64 with every parameter an integer from -3 to 3, so that sums of products are exact."""
    source = torch.Generator().manual_seed(seed)
    model = model.double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randint(-3, 4, parameter.shape, generator=source))
    return model


def dense_model(seed: int = 0) -> nn.Module:
    layers = [nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 2)]
    return integer_weights(nn.Sequential(*layers), seed)


def integer_batch(inputs: tuple[int, ...], outputs: tuple[int, ...], seed: int = 1) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    x, y = (torch.randint(-2, 4, shape, generator=source).double() for shape in (inputs, outputs))
    return x, y


def problem_of(model: nn.Module, batch: tuple[Tensor, Tensor], loss: Loss = squared_error, seed: int = 0) -> Problem:
    return Problem(trace(model, batch[0]), batch, loss, seed)


def dense_problem(seed: int = 0) -> Problem:
    return problem_of(dense_model(seed), integer_batch((3, 4), (3, 2)), seed=seed)


def bits(tensor: Tensor) -> bytes:
    """The memory of a tensor, so that -0.0 and 0.0 differ and a NaN equals itself."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def snapshot(tensors: Mapping[str, Tensor]) -> dict[str, bytes]:
    return {name: bits(tensor) for name, tensor in tensors.items()}


def everything(problem: Problem) -> dict[str, bytes]:
    """Every bit of a problem."""
    network: Network = problem.network
    groups = {"weights": network.weights, "fixed": network.fixed, "neutral": network.neutral, "masks": network.initial}
    found = {f"{group}/{n}": b for group, tensors in groups.items() for n, b in snapshot(tensors).items()}
    found["example"] = bits(network.example)
    if problem.batch:
        found |= {"inputs": bits(problem.batch[0]), "targets": bits(problem.batch[1])}
    return found
