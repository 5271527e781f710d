"""Operators whose own form torch does not differentiate twice, or wrongly, in a form that it does.

Both are found by name like the operators that they stand for; tests hold them to those.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

aten = torch.ops.aten


def prelu(x: Tensor, weight: Tensor) -> Tensor:
    """The slope of a channel, along the second axis, where x <= 0. Nested vmaps mistake the axes of torch's own."""
    slope = weight.reshape(-1, *[1] * (x.dim() - 2)) if x.dim() > 1 else weight
    return torch.where(x > 0, x, slope * x)


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """By products and softmax: the fused kernels have no second derivative."""
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype).masked_fill(~attn_mask, -torch.inf)
    found: tuple[Tensor, Tensor] = aten._scaled_dot_product_attention_math.default(
        query, key, value, attn_mask, dropout_p, is_causal, None, scale=scale, enable_gqa=enable_gqa
    )
    return found[0]


MENDED: Mapping[object, Callable[..., Tensor]] = {
    aten.prelu.default: prelu,
    aten.scaled_dot_product_attention.default: scaled_dot_product_attention,
}
