"""What is put in torch's place equals it, and is differentiated twice, one by one and many at once."""

import pytest
import torch
from problems import bits
from torch.func import grad, vmap
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from pruning.mended import prelu, scaled_dot_product_attention


@pytest.mark.parametrize(
    ("size", "slopes"), [((4,), 1), ((2, 3), 1), ((2, 3), 3), ((2, 3, 4), 3), ((2, 3, 4, 5), 1), ((2, 3, 4, 5), 3)]
)
def test_prelu_is_torchs_to_the_bit(size, slopes):
    x, weight = torch.randn(size), torch.randn(slopes)
    x[x > 1] = 0
    x[x < -1] = -0.0
    assert bits(prelu(x, weight)) == bits(functional.prelu(x, weight))
    for argument in (0, 1):
        ours, theirs = (
            grad(lambda *a, f=f: f(*a).square().sum(), argument)(x, weight) for f in (prelu, functional.prelu)
        )
        torch.testing.assert_close(ours, theirs)


def test_prelus_second_derivative_many_at_once_is_each_in_turn():
    x, weights = torch.randn(4, 3), torch.rand(5, 3)
    points, directions = torch.randn(5, 3), torch.randn(6, 3)

    def second(w, a, v):
        return grad(lambda p: (grad(lambda q: prelu(x * q, a).square().sum())(p) * v).sum())(w)

    together = vmap(lambda w, a: vmap(lambda v: second(w, a, v))(directions))(points, weights)
    apart = [[second(w, a, v) for v in directions] for w, a in zip(points, weights, strict=True)]
    torch.testing.assert_close(together, torch.stack([torch.stack(row) for row in apart]))


@pytest.mark.parametrize(
    "options", [{}, {"is_causal": True}, {"scale": 0.5}, {"attn_mask": torch.ones(5, 5).tril().bool()}]
)
def test_attention_is_torchs_to_the_bit(options):
    q, k, v = torch.randn(3, 2, 4, 5, 6).unbind()
    with sdpa_kernel(SDPBackend.MATH):
        theirs = functional.scaled_dot_product_attention(q, k, v, **options)
    assert bits(scaled_dot_product_attention(q, k, v, **options)) == bits(theirs)


def test_attention_with_grouped_queries_is_torchs_to_the_bit():
    q, k, v = torch.randn(2, 4, 5, 6), *torch.randn(2, 2, 2, 5, 6).unbind()
    with sdpa_kernel(SDPBackend.MATH):
        theirs = functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    assert bits(scaled_dot_product_attention(q, k, v, enable_gqa=True)) == bits(theirs)
