"""What an edge says of its units, against loops over every weight."""

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from pruning.graph import Edge
from pruning.trace import trace

MODELS = {
    "dense": (nn.Sequential(nn.Linear(4, 3)), (4,)),
    "convolution": (nn.Sequential(nn.Conv2d(2, 3, 2)), (2, 3, 3)),
    "grouped": (nn.Sequential(nn.Conv2d(4, 6, (2, 1), groups=2)), (4, 3, 3)),
    "depthwise": (nn.Sequential(nn.Conv1d(3, 6, 2, groups=3)), (3, 4)),
    "three-dimensional": (nn.Sequential(nn.Conv3d(2, 2, 2)), (2, 2, 2, 2)),
    "flattened": (nn.Sequential(nn.Conv2d(1, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)), (1, 3, 3)),
    "pooled": (nn.Sequential(nn.Conv2d(1, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)), (1, 3, 3)),
    "one neuron": (nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1)), (1,)),
}


@pytest.fixture(params=MODELS)
def edge(request: pytest.FixtureRequest) -> Edge:
    model, shape = MODELS[request.param]
    return trace(model, torch.ones(2, *shape)).graph.edges[-1]


def units(edge: Edge, index: tuple[int, ...]) -> tuple[int, int]:
    """The tail and the head unit of one weight, from what the layer's own documentation says."""
    head, column = index[0], index[1]
    if edge.spread > 1:
        return column // edge.spread, head
    group = head // (edge.shape[0] // edge.groups)
    return group * edge.shape[1] + column, head


def numbered(*shape: int) -> Tensor:
    return torch.arange(1.0, torch.Size(shape).numel() + 1, dtype=torch.float64).reshape(shape)


def indices(edge: Edge) -> list[tuple[int, ...]]:
    return list(product(*map(range, edge.shape)))


@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
def test_sums_into_and_out_of_units(edge, lead):
    scores = numbered(*lead, *edge.shape)
    into, out_of = torch.zeros(*lead, edge.shape[0]).double(), torch.zeros(*lead, edge.tail_units).double()
    for index in indices(edge):
        tail, head = units(edge, index)
        into[..., head] += scores[(..., *index)]
        out_of[..., tail] += scores[(..., *index)]
    assert torch.equal(edge.into(scores), into)
    assert torch.equal(edge.out_of(scores), out_of)


@pytest.mark.parametrize("lead", [(), (2,)])
def test_spreading_one_number_per_unit(edge, lead):
    heads, tails = numbered(*lead, edge.shape[0]), numbered(*lead, edge.tail_units)
    per_head, per_tail = torch.zeros(*lead, *edge.shape).double(), torch.zeros(*lead, *edge.shape).double()
    for index in indices(edge):
        tail, head = units(edge, index)
        per_head[(..., *index)], per_tail[(..., *index)] = heads[..., head], tails[..., tail]
    assert torch.equal(edge.per_head(heads), per_head)
    assert torch.equal(edge.per_tail(tails), per_tail)


def test_products_per_sum(edge):
    """fan_in: weights per head unit. fan_out: weights per input feature, of which a tail unit has `spread`."""
    tails, heads = zip(*(units(edge, index) for index in indices(edge)), strict=True)
    assert {heads.count(h) for h in range(edge.shape[0])} == {edge.fan_in}
    assert {tails.count(t) for t in range(edge.tail_units)} == {edge.fan_out * edge.spread}


def test_a_layer_without_inputs_or_outputs_sums_to_nothing():
    edge = Edge("w", trace(nn.Linear(2, 2), torch.ones(1, 2)).graph.nodes[0], (0, 3), 0, 1, 3, 1, 1)
    assert edge.into(torch.ones(0, 3)).shape == (0,)
    assert edge.out_of(torch.ones(0, 3)).tolist() == [0, 0, 0]
    assert edge.per_tail(torch.ones(3)).shape == (0, 3)


def test_a_tap_sees_every_value_and_may_replace_it():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    network, x = trace(model, torch.ones(1, 2)), torch.ones(3, 2)
    seen: dict[str, Tensor] = {}

    def tap(name: str, value: Tensor) -> Tensor:
        seen[name] = value
        return torch.zeros_like(value) if name == "relu" else value

    result = network.graph.run({**network.fixed, **network.weights}, x, tap)
    assert list(seen) == ["input", *(node.name for node in network.graph.nodes)]
    assert torch.equal(seen["linear"], model[0](x))
    assert torch.equal(result, model[2](torch.zeros(3, 2)))


def test_a_chain_is_told_from_a_branch():
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.a(x) + self.b(x)

    assert trace(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)), torch.ones(1, 2)).graph.is_chain
    graph = trace(Beside(), torch.ones(1, 2)).graph
    assert not graph.is_chain
    assert graph.objections == ()
    assert len(graph.junctions[graph.output_junction].incoming) == 2
    assert len(graph.junctions[graph.output_junction].sources) == 2
