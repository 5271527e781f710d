"""What edges, sources and transfers say of units, against loops over every weight."""

from itertools import product

import pytest
import torch
from operators import TABLE
from torch import Tensor, nn

from pruning.graph import Edge, Graph
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


class First(nn.Module):
    """One layer between others that share units: three of its eight inputs, or outputs, are those of one unit."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.before, self.layer = nn.Linear(3, 4), layer

    def forward(self, x: Tensor) -> Tensor:
        four = self.before(x)
        return self.layer(torch.cat([four, four[:, :3], four[:, :1]], 1))


class InFirst(nn.Module):
    """A weight laid out (in, out), as in addmm."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(3, 4)), nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x, self.weight).unflatten(1, (2, 2)).sum(1)


MODELS |= {
    "units of several channels": (First(nn.Linear(8, 2)), (3,)),
    "addmm": (InFirst(), (3,)),
    "transposed": (nn.Sequential(nn.ConvTranspose2d(4, 6, (3, 2), groups=2)), (4, 3, 3)),
    "transposed, one group": (nn.Sequential(nn.ConvTranspose1d(3, 2, 2)), (3, 3)),
}


@pytest.fixture(params=MODELS)
def graph(request: pytest.FixtureRequest) -> Graph:
    model, shape = MODELS[request.param]
    return trace(model, torch.ones(2, *shape)).graph


def drawn(name: str) -> Graph:
    """That of a network in the table of operators."""
    row = TABLE[name]
    return trace(row.model.double(), torch.ones(2, *row.size, dtype=torch.float64)).graph


@pytest.fixture
def edge(graph: Graph) -> Edge:
    return graph.edges[-1]


def units(edge: Edge, index: tuple[int, ...]) -> tuple[int, int]:
    """The tail and the head unit of one weight, from what the layer's own documentation says."""
    first, second = index[:2]
    if edge.transposed:  # (in, out / groups, ...)
        group = first // (edge.shape[0] // edge.groups)
        channels = first, group * edge.shape[1] + second
    else:  # (out, in / groups, ...)
        group = first // (edge.shape[0] // edge.groups)
        channels = group * edge.shape[1] + second, first
    return int(edge.tails[channels[0]]), int(edge.heads[channels[1]])


def numbered(*shape: int) -> Tensor:
    return torch.arange(1.0, torch.Size(shape).numel() + 1, dtype=torch.float64).reshape(shape)


def indices(edge: Edge) -> list[tuple[int, ...]]:
    return list(product(*map(range, edge.shape)))


def test_channels_belong_to_the_units_of_what_made_them(graph, request):
    """By shape alone: one unit per channel, and the features of a flattened channel with it."""
    edge, name = graph.edges[-1], request.node.callspec.params["graph"]
    repeats = {"flattened": 4, "addmm": 1}.get(name, 1)
    assert len(edge.heads) == (edge.shape[1] * edge.groups if edge.transposed else edge.shape[0])
    assert len(edge.tails) == (edge.shape[0] if edge.transposed else edge.shape[1] * edge.groups)
    if name == "units of several channels":
        assert (edge.tails - edge.tails.min()).tolist() == [0, 1, 2, 3, 0, 1, 2, 0]
        assert edge.channels_per_tail == 3 and edge.channels_per_head == 1
    elif name == "addmm":
        assert (edge.heads - edge.heads.min()).tolist() == [0, 1, 0, 1] and edge.channels_per_head == 2
    else:
        assert torch.equal(edge.tails, torch.unique(edge.tails).repeat_interleave(repeats))
        assert torch.equal(edge.heads, torch.unique(edge.heads)) and edge.channels_per_tail == repeats


@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
def test_sums_into_and_out_of_units(graph, edge, lead):
    scores = numbered(*lead, *edge.shape)
    into, out_of = (torch.zeros(*lead, graph.units).double() for _ in range(2))
    for index in indices(edge):
        tail, head = units(edge, index)
        into[..., head] += scores[(..., *index)]
        out_of[..., tail] += scores[(..., *index)]
    assert torch.equal(edge.into(scores, graph.units), into)
    assert torch.equal(edge.out_of(scores, graph.units), out_of)


@pytest.mark.parametrize("lead", [(), (2,)])
def test_spreading_one_number_per_unit(graph, edge, lead):
    values = numbered(*lead, graph.units)
    per_head, per_tail = (torch.zeros(*lead, *edge.shape).double() for _ in range(2))
    for index in indices(edge):
        tail, head = units(edge, index)
        per_head[(..., *index)], per_tail[(..., *index)] = values[..., head], values[..., tail]
    assert torch.equal(edge.per_head(values), per_head)
    assert torch.equal(edge.per_tail(values), per_tail)


def test_products_per_sum(edge):
    """fan_in: weights per output channel. fan_out: weights per input channel, or feature."""
    apart = Edge("w", edge.node, edge.shape, *map(torch.arange, map(len, (edge.heads, edge.tails))), edge.groups)
    apart = Edge(*(getattr(apart, n) for n in ("weight", "node", "shape", "heads", "tails", "groups")), edge.transposed)
    tails, heads = zip(*(units(apart, index) for index in indices(edge)), strict=True)
    assert {heads.count(h) for h in range(len(edge.heads))} == {edge.fan_in}
    assert {tails.count(t) for t in range(len(edge.tails))} == {edge.fan_out}


def test_a_layer_without_inputs_or_outputs_sums_to_nothing():
    node = trace(nn.Linear(2, 2), torch.ones(1, 2)).graph.nodes[0]
    edge = Edge("w", node, (0, 3), torch.arange(0), torch.arange(3))
    assert edge.into(torch.ones(0, 3), 3).tolist() == [0, 0, 0]
    assert edge.out_of(torch.ones(0, 3), 3).tolist() == [0, 0, 0]
    assert edge.per_tail(torch.ones(3)).shape == (0, 3)


def test_sources_add_to_their_units():
    """A shift per pair of channels, a bias per channel: each entry to its own unit, and two samples at once."""
    for name in ("shift of pairs", "positions", "residual sum"):
        graph = drawn(name)
        for source in graph.sources:
            flow, expected = numbered(2, *source.units.shape), torch.zeros(2, graph.units).double()
            for index in product(*map(range, source.units.shape)):
                expected[:, int(source.units[index])] += flow[(..., *index)]
            assert torch.equal(source.into(flow, graph.units), expected)


def test_products_pass_back_what_leaves_them_times_their_degree():
    """(x * c)^3 times d, unit by unit: x and c each get three times what leaves the product, d gets it once."""
    graph = drawn("product of products")
    scores = {e.weight: numbered(*e.shape) for e in graph.edges}
    out = graph.outgoing(scores)
    last = graph.edges[-1].out_of(scores["b.weight"], graph.units)
    direct = torch.stack([e.out_of(scores[e.weight], graph.units) for e in graph.edges]).sum(0)
    whole = graph.edges[-1].tails
    for edge in graph.edges[:-1]:
        through = out[edge.heads] - direct[edge.heads]
        assert torch.equal(through, last[whole]), "x, c and d each multiply once"
    for name, degree in (("squared relu", 2), ("root", 0.5), ("times itself", 2)):
        graph = drawn(name)
        scores = {e.weight: numbered(*e.shape) for e in graph.edges}
        first, second = graph.edges
        wanted = degree * second.out_of(scores[second.weight], graph.units)[second.tails]
        assert torch.equal(graph.outgoing(scores)[first.heads], wanted)


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

    class Round(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(2, 3), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x).relu()) + x

    twice = nn.Linear(2, 2)
    for other in (
        Round(),
        nn.Sequential(twice, nn.ReLU(), twice),
    ):  # by an identity from end to end, and a shared layer
        assert not trace(other, torch.ones(1, 2)).graph.is_chain
    assert trace(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)), torch.ones(1, 2)).graph.is_chain
    graph = trace(Beside(), torch.ones(1, 2)).graph
    assert not graph.is_chain
    assert graph.objections == ()
    end = graph.junction_of(int(graph.outputs[0]))
    assert len(end.incoming) == 2 and len(end.sources) == 2 and end.name == "a + b"
    assert end.span == slice(end.first, end.first + 2) and graph.hidden == ()
