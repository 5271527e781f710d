"""Models that torch.export can't trace are followed on their example: their operators, their units, their turns."""

import pytest
import torch
from operators import TABLE, traced
from torch import Tensor, nn

import pruning.program
from pruning.errors import ModelError
from pruning.graph import Graph
from pruning.network import Network
from pruning.program import program_of
from pruning.trace import trace


class Turning(nn.Module):
    """Goes by what it sees: `way(self, h)` is the hidden value, or something made of it by a number read off it."""

    def __init__(self, way) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.turn = _Turn(way)
        self.last = nn.Linear(4, 2)
        self.steps = torch.arange(2.0)
        self.register_buffer("threshold", torch.tensor(0.5))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.turn(self.first(x)).mean((2, 3))) + self.steps


class _Turn(nn.Module):
    def __init__(self, way) -> None:
        super().__init__()
        self.way = way

    def forward(self, h: Tensor) -> Tensor:
        return self.way(h)


WAYS = {
    "a branch": lambda h: 2 * h if h.mean() > 0 else h - 1,
    "the other branch": lambda h: h - 1 if h.mean() < 0 else 3 * h,
    "a number": lambda h: h / h.max().item(),
    "a loop": lambda h: [h := h + 1 for _ in range(int(h.max() > 0) + 1)][-1],
}


@pytest.fixture
def followed(monkeypatch):
    """trace, of a model that torch.export is kept from."""

    def refuse(*_: object) -> None:
        raise RuntimeError("kept from it")

    monkeypatch.setattr(pruning.program, "_exported", refuse)
    return trace


def example(samples: int = 2) -> Tensor:
    return torch.randn(samples, 3, 6, 6, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_the_way_that_the_example_takes_is_replayed_to_the_bit_and_the_turn_is_named(way):
    model = Turning(way).eval()
    network = trace(model, example())
    with torch.no_grad():
        assert torch.equal(network.forward(network.weights, example()), model(example()))
    (turn,) = network.turns
    assert turn.startswith("turn: the model goes by a number that it reads off a tensor")
    assert set(network.weights) == {"first.0.weight", "last.weight"}
    assert {n.where for n in network.graph.nodes} >= {"first.0", "first.2", "turn", "last"}
    assert "first.1.scale" in network.fixed, "batch norm is its evaluation mode here as well"


class Scaled(nn.Module):
    """Reads a number off its own weight, by numpy."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.last = nn.Linear(4, 3), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.layer(x) * float(self.layer.weight.detach().numpy().max()))


def test_a_model_that_reads_its_weights_by_numpy_is_followed():
    network = trace(Scaled(), torch.ones(2, 4))
    assert network.turns == (
        "torch.export can't trace the model; what is checked is the way that it goes on its example",
    )


def outline(network: Network) -> object:
    """What the theory reads of a graph, apart from how its values are named."""
    graph: Graph = network.graph
    junctions = sorted((j.units, len(j.incoming), len(j.outgoing), bool(j.objections)) for j in graph.junctions)
    edges = sorted((e.weight, tuple(e.shape), e.groups, e.transposed) for e in graph.edges)
    return junctions, edges, sorted(s.name for s in graph.attached), len(graph.transfers), sorted(network.weights)


# what is made of a constant as often as there are samples is a constant of the followed model
BY_SAMPLES = {"token for the class", "module, tokens first"}


@pytest.mark.parametrize("name", TABLE)
def test_a_followed_model_has_the_units_that_it_has_when_exported(name, followed, monkeypatch):
    row = TABLE[name]
    model, x = row.model.double(), torch.randn(2, *row.size, generator=torch.Generator().manual_seed(1)).double()
    there = followed(model, x)
    monkeypatch.undo()
    plain = traced(row)
    assert there.turns and not plain.turns
    assert (outline(there) == outline(plain)) is (name not in BY_SAMPLES)
    assert torch.equal(there.forward(there.weights, x), plain.forward(plain.weights, x))


def test_what_is_not_the_same_when_run_again_is_refused():
    model = Turning(lambda h: h * torch.rand(()).item())
    with pytest.raises(ModelError, match=r"Turning can't be traced: .* gives something else when it is run again"):
        trace(model, example())


def test_the_model_keeps_no_hook_and_no_change():
    model = Turning(WAYS["a branch"]).eval()
    before = {n: t.clone() for n, t in model.state_dict().items()}
    program = program_of(model, example())
    assert program.turns and all(torch.equal(t, before[n]) for n, t in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
