"""Translation: several outputs, constants, sizes that follow the batch, casts, memory that is written."""

from collections.abc import Callable

import pytest
import torch
from problems import bits
from torch import Tensor, nn

from pruning.errors import ModelError
from pruning.graph import Param
from pruning.trace import trace


class Odd(nn.Module):
    """One layer, a few tensors beside it, then a function of the model and its input: (samples, 4) to anything."""

    def __init__(self, function: Callable[["Odd", Tensor], Tensor]) -> None:
        super().__init__()
        source = torch.Generator().manual_seed(0)
        self.layer, self.function = nn.Linear(4, 6), function
        self.table = nn.Parameter(torch.randn(9, 6, generator=source))
        self.register_buffer("scale", torch.randn(6, generator=source))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def positions(m: Odd, x: Tensor) -> Tensor:
    return m.layer(x) + nn.functional.embedding(torch.arange(x.shape[1]).sum()[None], m.table)


def painted(m: Odd, x: Tensor) -> Tensor:
    mask = torch.zeros(6)
    mask[2:4] = 1
    mask[:1].add_(m.scale[:1])
    return m.layer(x) * mask


def painted_between(m: Odd, x: Tensor) -> Tensor:
    mask = torch.ones(6)
    first = m.layer(x) * mask
    mask[2:4] = 3
    return first + m.layer(x) * mask


def filled(m: Odd, x: Tensor) -> Tensor:
    y = torch.zeros(x.shape[0], 6)
    return y.add_(m.layer(x)) * 2


def causal(m: Odd, x: Tensor) -> Tensor:
    y = m.layer(x).view(-1, 2, 3).transpose(1, 2)
    mask = torch.full((x.shape[0], 1, 3, 3), -torch.inf).triu(1)
    return ((y @ y.mT)[:, None] + mask).softmax(-1)


SEVERAL: dict[str, Callable[[Odd, Tensor], Tensor]] = {
    "split": lambda m, x: (p := m.layer(x).split(2, -1), p[0] * p[2] + p[1])[1],
    "split by sizes": lambda m, x: (p := m.layer(x).split([1, 5], 1), p[1] * p[0])[1],
    "chunk": lambda m, x: m.layer(x).chunk(4, 1)[2],
    "unbind": lambda m, x: m.layer(x).view(-1, 2, 3).unbind(1)[1],
    "topk": lambda m, x: m.layer(x).topk(2).values,
    "sort": lambda m, x: m.layer(x).sort(descending=True).values,
    "the place of the largest": lambda m, x: (p := m.layer(x).max(1), x.gather(1, p.indices[:, None] % 4) * 2)[1],
    "parts of a weight": lambda m, x: nn.functional.linear(m.layer(x), m.table.split(3)[1]),
}
CONSTANT: dict[str, Callable[[Odd, Tensor], Tensor]] = {
    "positions": positions,
    "a mask that is painted": painted,
    "a mask that is painted between two uses": painted_between,
    "a mask for every sample": causal,
    "a buffer's function": lambda m, x: m.layer(x) * m.scale.abs().sqrt(),
    "an entry that constants choose": lambda m, x: m.layer(x) + m.table[torch.arange(x.shape[1]).sum()],
    "eye": lambda m, x: m.layer(x) @ torch.eye(6),
}
SIZED: dict[str, Callable[[Odd, Tensor], Tensor]] = {
    "a token for every sample": lambda m, x: torch.cat([m.table[:1].expand(x.shape[0], -1), m.layer(x)], 1),
    "samples picked one by one": lambda m, x: m.layer(x)[torch.arange(x.shape[0]), 2],
    "all but the first axis merged": lambda m, x: m.layer(x).view(2 * x.shape[0], 3).view(x.shape[0], 3, 2),
    "zeros that are filled": filled,
    "ones of another kind": lambda m, x: m.layer(x) * torch.ones(x.shape[0], 1, dtype=torch.int32),
    "division by the number of samples": lambda m, x: m.layer(x) * (x.shape[0] + 1),
    "rows counted": lambda m, x: m.layer(x) + torch.arange(x.shape[0])[:, None],
}
ALL = {**SEVERAL, **CONSTANT, **SIZED}


@pytest.mark.parametrize("example", [1, 2])
@pytest.mark.parametrize("function", ALL.values(), ids=ALL)
def test_the_replay_is_the_model_to_the_bit_for_any_batch_size(function, example):
    model = Odd(function)
    network = trace(model, torch.randn(example, 4))
    for samples in (1, 2, 5):
        x = torch.randn(samples, 4)
        with torch.no_grad():
            assert bits(network.forward(network.weights, x)) == bits(model(x))


@pytest.mark.parametrize("function", CONSTANT.values(), ids=CONSTANT)
def test_constants_are_nodes_no_more_and_bear_their_modules_path(function):
    network = trace(Odd(function), torch.randn(2, 4))
    assert all(node.values() for node in network.graph.nodes)
    assert all("layer" not in n or n == "layer.bias" for n in network.fixed)


def test_parts_are_slices_and_entries_so_that_every_value_is_one_tensor():
    kinds = {name: [n.kind for n in trace(Odd(f), torch.ones(2, 4)).graph.nodes] for name, f in SEVERAL.items()}
    assert kinds["split"] == ["linear", "slice", "slice", "slice", "mul", "add"]
    assert kinds["unbind"][-1] == "select"
    assert kinds["topk"] == ["linear", "topk", "getitem"]


def test_what_weights_are_made_of_stays_in_the_run():
    """So that a scorer that looks for the weight's own gradient finds it, and no made-up name is pruned."""
    standardised = Odd(lambda m, x: nn.functional.linear(m.layer(x), m.table - m.table.mean(1, keepdim=True)))
    network = trace(standardised, torch.ones(2, 4))
    assert list(network.weights) == ["layer.weight"]
    assert "table" in network.fixed
    assert [n.kind for n in network.graph.nodes] == ["linear", "mean", "sub", "linear"]


def test_a_weight_that_is_also_read_as_a_constant_is_one_tensor():
    network = trace(Odd(lambda m, x: m.layer(x) + m.layer.weight[:, 0]), torch.ones(2, 4))
    x, halved = torch.randn(3, 4), {"layer.weight": network.weights["layer.weight"] / 2}
    wanted = nn.functional.linear(x, halved["layer.weight"], network.fixed["layer.bias"]) + halved["layer.weight"][:, 0]
    assert torch.equal(network.forward(halved, x), wanted)


def test_a_constant_that_is_a_parameter_bears_its_name():
    network = trace(Odd(lambda m, x: m.layer(x) + m.table[None].mean(1) + m.table[None, 0]), torch.ones(2, 4))
    assert sorted(network.fixed) == ["layer.bias", "mean", "select"]
    network = trace(Odd(lambda m, x: m.layer(x)[:, None] + m.table.expand(9, 6)), torch.ones(2, 4))
    assert sorted(network.fixed) == ["layer.bias", "table"]


class Rounded(nn.Module):
    """A norm computed in single precision whatever the model's own, as language models do it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.float32)
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
        return self.layer(wide.softmax(-1, dtype=torch.float32).to(x.dtype))


def test_casts_are_the_models_and_follow_the_network_when_it_is_moved():
    single, double = Rounded(), Rounded().double()
    x = torch.randn(3, 4, dtype=torch.float64)
    in_single, in_double = trace(single, x.float()), trace(double, x)
    assert bits(in_double.forward(in_double.weights, x)) == bits(double(x))
    assert not {"to", "type_as"} & {n.kind for n in in_single.graph.nodes}
    assert all("dtype" not in dict(n.kwargs) for n in in_single.graph.nodes)
    moved = in_double.to(dtype=torch.float32)
    assert bits(moved.forward(moved.weights, x.float())) == bits(double.float()(x.float()))


class Recurrent(nn.Module):
    """A recurrent layer starts with zeros that it makes itself, in the type that it was traced in."""

    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.layer, self.head, self.idle = kind(4, 3, batch_first=True), nn.Linear(3, 2), nn.Linear(2, 5, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[0])


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_recurrent_layers_are_replayed_in_any_precision_and_their_weights_are_said_not_to_be_pruned(kind):
    model, x = Recurrent(kind).requires_grad_(False), torch.randn(3, 5, 4)
    network = trace(model, x[:1])
    assert bits(network.forward(network.weights, x)) == bits(model(x))
    moved = network.to(dtype=torch.float64)
    assert bits(moved.forward(moved.weights, x.double())) == bits(model.double()(x.double()))
    read = f"read by {kind.__name__.lower()}"
    assert network.unpruned == {
        "layer.weight_ih_l0": read, "layer.weight_hh_l0": read, "idle.weight": "never read"
    }  # fmt: skip


def test_a_batch_of_one_that_the_model_insists_on_is_kept():
    class Alone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            assert x.shape[0] == 1
            return self.layer(x).view(1, 2, 2)

    model, x = Alone(), torch.randn(1, 4)
    network = trace(model, x)
    assert bits(network.forward(network.weights, x)) == bits(model(x))


def test_random_constants_are_not_frozen():
    network = trace(Odd(lambda m, x: m.layer(x) + torch.rand(6)), torch.ones(2, 4))
    assert not torch.equal(*(network.forward(network.weights, torch.ones(1, 4)) for _ in range(2)))


def stale_view(m: Odd, x: Tensor) -> Tensor:
    y = torch.zeros(6)
    view = y[:3]
    y.add_(m.layer(x)[0])
    return m.layer(x)[:, :3] * view


REFUSED = {
    "several of nothing": (lambda m, x: (), "it gives tuple, wanted a tensor"),
    "a size that depends on data": (lambda m, x: m.layer(x)[x.sum(1) > 0], "torch.export can't trace|depends on the"),
    "a view of what the input was written into": (stale_view, "writes into memory that is read later as"),
    "sizes that do not grow evenly": (
        lambda m, x: m.layer(x) * torch.ones(x.shape[0] ** 2)[:6].sum(),
        "does not grow evenly with the number of samples",
    ),
}


@pytest.mark.parametrize(("function", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_replayed_is_refused_in_one_line(function, message):
    with pytest.raises(ModelError, match=message) as caught:
        trace(Odd(function), torch.ones(8, 4))
    assert "\n" not in str(caught.value)


def test_parameters_of_a_node_are_tensors_of_the_network():
    network = trace(Odd(positions), torch.ones(2, 4))
    named = {a.name for n in network.graph.nodes for a in n.args if isinstance(a, Param)}
    assert named == {*network.weights, *network.fixed}
