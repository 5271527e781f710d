"""Models of the transformers package are replayed to the bit, for any batch size, by operators that stay whole."""

import functools

import hub
import pytest
import torch
import transformers
from problems import bits
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from pruning.network import Network
from pruning.trace import trace

ALL = pytest.mark.parametrize("name", hub.MODELS, scope="module")  # model by model: each is traced in one process


@functools.cache
def traced(name: str, samples: int = 3, dtype: torch.dtype = torch.float64) -> Network:
    made = hub.MODELS[name]
    return trace(made.model(dtype), made.inputs(samples, dtype))


@ALL
@pytest.mark.parametrize("example", [1, 3])
def test_the_forward_pass_is_the_models_to_the_bit_for_any_batch_size(name, example):
    made, network = hub.MODELS[name], traced(name, example)
    model = made.model().requires_grad_(False)  # attention is computed in another way where a mask asks for a gradient
    for samples in (1, 2, 5):
        x = made.inputs(samples)
        with sdpa_kernel(SDPBackend.MATH):  # as it is replayed: the fused kernels have no second derivative
            assert bits(network.forward(network.weights, x)) == bits(model(x))


@pytest.mark.parametrize("name", hub.TIED)
def test_a_table_that_is_the_last_layer_too_is_one_weight(name):
    made = hub.TIED[name]
    model, network = made.model().requires_grad_(False), trace(made.model(), made.inputs(1))
    assert not {s.name for s in network.graph.entering} & set(network.weights)
    assert any("used more than once (tied)" in text for text in network.graph.objections)
    for samples in (1, 3):
        x = made.inputs(samples)
        with sdpa_kernel(SDPBackend.MATH):
            assert bits(network.forward(network.weights, x)) == bits(model(x))


@ALL
def test_the_gradient_by_the_weights_is_the_models(name):
    """To the bit but for the order in which the uses of a value are summed."""
    made, network = hub.MODELS[name], traced(name)
    model, x = made.model(), made.inputs(3)
    parameters = dict(model.named_parameters())
    gradient = torch.func.grad(lambda w: network.forward(w, x).square().sum())(dict(network.weights))
    wanted = torch.autograd.grad(model(x).square().sum(), [parameters[n] for n in network.weights], allow_unused=True)
    for (name, ours), theirs in zip(gradient.items(), wanted, strict=True):
        torch.testing.assert_close(ours, torch.zeros_like(ours) if theirs is None else theirs, msg=name)


@ALL
def test_many_weights_at_once_are_each_weights_in_turn(name):
    network, x = traced(name), hub.MODELS[name].inputs(2)
    several = {n: torch.stack([w, -w, w / 2]) for n, w in network.weights.items()}
    together = torch.vmap(lambda w: network.forward(w, x))(several)
    apart = [network.forward({n: w[i] for n, w in several.items()}, x) for i in range(3)]
    torch.testing.assert_close(together, torch.stack(apart))


@ALL
def test_every_weight_of_a_linear_or_convolution_layer_is_prunable_by_its_own_name(name):
    model, network = hub.MODELS[name].model(), traced(name)
    layers = [m for m in model.modules() if type(m).__name__ in ("Linear", "Conv1D", "Conv2d")]
    weights = {id(layer.weight) for layer in layers}
    wanted = {n for n, p in model.named_parameters() if id(p) in weights}  # a tied head bears the embedding's name
    unread = {"model.pooler.dense.weight"} if name == "bert" else set()  # it makes another output
    assert set(network.weights) | unread == wanted
    assert all(torch.equal(w, model.get_parameter(n)) for n, w in network.weights.items())


@ALL
def test_a_network_moved_to_double_precision_computes_in_it_throughout(name):
    seen: dict[str, torch.dtype] = {}

    def tap(value: str, tensor: Tensor) -> Tensor:
        seen[value] = tensor.dtype
        return tensor

    network = traced(name, dtype=torch.float32).to(dtype=torch.float64)
    network.graph.run({**network.fixed, **network.weights}, network.example, tap)
    assert set(seen.values()) == {torch.float64}


@ALL
def test_a_network_moved_to_single_precision_runs(name):
    network = traced(name).to(dtype=torch.float32)
    assert network.forward(network.weights, network.example).dtype == torch.float32


@ALL
def test_what_needs_no_input_is_not_computed_in_every_run(name):
    kinds = {node.kind for node in traced(name, dtype=torch.float32).graph.nodes}
    assert not kinds & {"arange", "full", "ones", "zeros", "new_ones", "cumsum", "le", "eq", "cos", "embedding", "to"}


@pytest.mark.parametrize("name", ["vit", "gpt2", "llama"])
def test_second_derivatives_exist(name):
    network, x = traced(name), hub.MODELS[name].inputs(2)

    def slope(weights: dict[str, Tensor]) -> Tensor:
        g = torch.func.grad(lambda w: network.forward(w, x).square().sum())(weights)
        return torch.stack([(g[n] * weights[n]).sum() for n in g]).sum()

    assert all(bool(torch.isfinite(h).all()) for h in torch.func.grad(slope)(dict(network.weights)).values())


WHOLE = {
    "vit": {"layer_norm", "scaled_dot_product_attention", "gelu", "conv2d"},
    "vit, eager": {"softmax", "matmul"},
    "gpt2": {"layer_norm", "scaled_dot_product_attention", "addmm"},
    "llama": {"silu", "scaled_dot_product_attention"},
    "convnext": {"layer_norm", "gelu"},
}


@pytest.mark.parametrize("name", WHOLE)
def test_operators_that_laws_speak_of_stay_whole(name):
    assert WHOLE[name] <= {node.kind for node in traced(name).graph.nodes}


def test_a_model_that_gives_its_cache_as_well_is_taken_by_its_first_output():
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=11)).eval()
    tokens = torch.tensor([[1, 2, 3], [7, 0, 7]])
    assert len(model(tokens)) == 2  # logits and keys and values
    network = trace(model, tokens[:1])
    with sdpa_kernel(SDPBackend.MATH):
        assert bits(network.forward(network.weights, tokens)) == bits(model(tokens).logits.detach())
    assert not any(node.kind == "cat" for node in network.graph.nodes)
    assert network.unpruned == {"transformer.wpe.weight": "read by embedding"}
