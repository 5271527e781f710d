"""Small modules of the literature, each with the number of constant linear laws that theory gives it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Gated(nn.Module):
    """down(f(gate(x)) * up(x)), without biases: SwiGLU by silu, ReGLU by relu."""

    def __init__(self, inputs: int, hidden: int, outputs: int, activation: nn.Module) -> None:
        super().__init__()
        self.gate, self.up = (nn.Linear(inputs, hidden, bias=False) for _ in range(2))
        self.down, self.activation = nn.Linear(hidden, outputs, bias=False), activation

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.down(self.activation(self.gate(x)) * self.up(x))
        return made


class Head(nn.Module):
    """One head of softmax attention; `rotary` turns queries and keys by position, pairs half a width apart."""

    def __init__(self, width: int, rotary: bool = False, bias: bool = False) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=bias) for _ in range(4))
        self.rotary, self.width = rotary, width

    def forward(self, x: Tensor) -> Tensor:
        q, k = self.q(x), self.k(x)
        if self.rotary:
            q, k = (self._turned(one) for one in (q, k))
        weights = (q @ k.transpose(-2, -1) / self.width**0.5).softmax(-1)
        made: Tensor = self.o(weights @ self.v(x))
        return made

    def _turned(self, x: Tensor) -> Tensor:
        half = self.width // 2
        steps = torch.arange(x.shape[1], dtype=x.dtype)[:, None] * 0.5 ** torch.arange(half, dtype=x.dtype)
        angle = torch.cat([steps, steps], -1)
        other = torch.cat([-x[..., half:], x[..., :half]], -1)
        return x * angle.cos() + other * angle.sin()


class Experts(nn.Module):
    """Mixture of experts: ReLU networks, summed by a softmax over a router's scores."""

    def __init__(self, inputs: int, hidden: int, outputs: int, experts: int) -> None:
        super().__init__()
        self.router = nn.Linear(inputs, experts, bias=False)
        self.up = nn.ModuleList(nn.Linear(inputs, hidden, bias=False) for _ in range(experts))
        self.down = nn.ModuleList(nn.Linear(hidden, outputs, bias=False) for _ in range(experts))

    def forward(self, x: Tensor) -> Tensor:
        shares = self.router(x).softmax(-1)
        made = [down(up(x).relu()) for up, down in zip(self.up, self.down, strict=True)]
        total = made[0] * shares[:, :1]
        for i, one in enumerate(made[1:], 1):
            total = total + one * shares[:, i : i + 1]
        return total


class StateSpace(nn.Module):
    """A selective state space (Gu and Dao 2023): steps, B and C by linear layers of the input, one scan over tokens.

    h_t = exp(-step_t) h_(t-1) + step_t * x_t B_t^T, y_t = h_t C_t, with x, steps, B and C all made of the input u.
    """

    def __init__(self, inputs: int, channels: int, states: int, outputs: int) -> None:
        super().__init__()
        self.x, self.step = (nn.Linear(inputs, channels, bias=False) for _ in range(2))
        self.b, self.c = (nn.Linear(inputs, states, bias=False) for _ in range(2))
        self.out = nn.Linear(channels, outputs, bias=False)

    def forward(self, u: Tensor) -> Tensor:
        x, step, b, c = self.x(u), functional.softplus(self.step(u)), self.b(u), self.c(u)
        state = torch.zeros_like(x[:, 0, :, None] * b[:, 0, None, :])
        made = []
        for t in range(u.shape[1]):
            state = torch.exp(-step[:, t])[:, :, None] * state + (step[:, t] * x[:, t])[:, :, None] * b[:, t, None, :]
            made.append((state * c[:, t, None, :]).sum(-1))
        y: Tensor = self.out(torch.stack(made, 1))
        return y
