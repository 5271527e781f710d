"""Kinked networks: weights and inputs so plain that preactivations of exactly 0 and tied maxima are everywhere."""

import torch
from hypothesis import strategies as st
from torch import Tensor

from theory.networks.conv import conv_shapes
from theory.networks.dense import mlp_shapes
from theory.networks.family import Family


def signs(shape: tuple[int, ...], source: torch.Generator) -> Tensor:
    """1 and -1, evenly."""
    return torch.randint(0, 2, shape, generator=source).double() * 2 - 1


kinked = Family(
    "kinked",
    st.one_of(mlp_shapes(), conv_shapes(("max",), False)),
    signs,
    signs,
    "squared-error",
    generic=False,
    order=15,
)
