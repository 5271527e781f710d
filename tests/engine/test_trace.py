"""Tracing: the network is the module, its graph is the shape's, and the module is left as it was."""

import copy
import logging
import threading
from collections.abc import Iterator

import pytest
import torch
from problems import bits, integer_weights, snapshot
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize
from torch.nn.utils import prune as torch_prune

from pruning.errors import ModelError
from pruning.graph import Edge, Graph
from pruning.models import make
from pruning.network import Network
from pruning.trace import trace
from theory.networks.shape import Act, Conv, Dense, Flatten, Pool, Shape, graph_of, module_of

SHAPES = {
    "dense": Shape((Dense(4, 3, True), Act("relu"), Dense(3, 2, True)), (4,), 2),
    "dense without bias": Shape((Dense(4, 3), Act("relu"), Dense(3, 1), Act("relu"), Dense(1, 2)), (4,), 2),
    "tanh": Shape((Dense(2, 3, True), Act("tanh"), Dense(3, 2)), (2,), 1),
    "linear after linear": Shape((Dense(4, 3), Dense(3, 2)), (4,), 1),
    "one layer": Shape((Dense(1, 1, True),), (1,), 1),
    "conv": Shape((Conv(2, 3, 3, bias=True), Act("relu"), Conv(3, 2, 2), Flatten(), Dense(18, 2)), (2, 6, 6), 2),
    "stride and padding": Shape((Conv(1, 2, 3, 2, 1, bias=True), Act("relu"), Flatten(), Dense(8, 2)), (1, 4, 4), 1),
    "groups": Shape((Conv(4, 6, 1, groups=2), Act("relu"), Conv(6, 6, 2, groups=6, bias=True)), (4, 3, 3), 2),
    "pools": Shape(
        (Conv(1, 3, 3, padding=1), Act("relu"), Pool("max", 2), Conv(3, 3, 1), Pool("avg", 2), Flatten(), Dense(3, 2)),
        (1, 4, 4),
        3,
    ),
    "flattened after a pool": Shape((Conv(1, 2, 1), Pool("avg", 2), Flatten(), Dense(8, 3, True)), (1, 4, 4), 1),
}


def outline(graph: Graph) -> object:
    """All that a law reads of a graph, without the names of its values."""

    def edge(e: Edge) -> object:
        return e.weight, e.shape, e.heads.tolist(), e.tails.tolist(), e.groups, e.transposed

    junctions = [
        (
            j.first,
            j.units,
            len(j.values),
            [edge(e) for e in j.incoming],
            [edge(e) for e in j.outgoing],
            [(s.name, s.units.tolist(), s.role) for s in j.sources],
            [n.kind for n in j.inner],
            len(j.objections),
            j.name,
        )
        for j in graph.junctions
    ]
    ends = (graph.inputs.tolist(), graph.outputs.tolist(), graph.is_chain, graph.weights)
    transfers = [(t.node.kind, t.tails.tolist(), t.heads.tolist(), t.degree) for t in graph.transfers]
    return junctions, transfers, ends, [(n.kind, n.where) for n in graph.nodes]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_traced_module_has_the_graph_of_its_shape(shape):
    network = trace(module_of(shape), torch.ones(shape.samples, *shape.input))
    assert outline(network.graph) == outline(graph_of(shape))
    assert {n: tuple(t.shape) for n, t in {**network.weights, **network.fixed}.items()} == shape.parameters()


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_forward_pass_is_the_modules_to_the_bit_for_any_batch_size(shape):
    module = module_of(shape)
    network = trace(module, torch.ones(shape.samples, *shape.input))
    for samples in (1, 2, 5):
        x = torch.randn(samples, *shape.input)
        assert bits(network.forward(network.weights, x)) == bits(module(x))


@pytest.mark.parametrize("norm", [nn.BatchNorm1d, nn.BatchNorm2d])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batch_norm_is_its_evaluation_mode_to_rounding(norm, dtype):
    """y = (x - mean) g / sqrt(var + eps) + b, by the module in one order and by us in another.

    Either way no operand passes more than 8 roundings on its way to y (var + eps, root, quotient,
    times g, times x or mean, difference, sum), so each is within gamma_8 (|x s| + |mean s| + |b|),
    s = g / sqrt(var + eps), of y, and they are within twice that of each other.
    """
    source = torch.Generator().manual_seed(0)
    layer = norm(3).to(dtype)
    for tensor in (layer.weight.data, layer.bias.data, layer.running_mean):
        tensor.copy_(torch.randn(3, generator=source))
    layer.running_var.copy_(torch.rand(3, generator=source) * 10)
    first = nn.Linear(3, 3) if norm is nn.BatchNorm1d else nn.Conv2d(3, 3, 1)
    model = nn.Sequential(integer_weights(first).to(dtype), layer)
    x = torch.randint(-4, 5, (64, 3) if norm is nn.BatchNorm1d else (16, 3, 2, 2), generator=source).to(dtype)
    network = trace(model, x)
    ours, theirs = network.forward(network.weights, x), model.eval()(x)
    column = (-1,) if norm is nn.BatchNorm1d else (-1, 1, 1)
    scale = (layer.weight.double() / (layer.running_var.double() + layer.eps).sqrt()).view(column)
    size = (first(x) * scale).abs() + (layer.running_mean.view(column) * scale).abs() + layer.bias.view(column).abs()
    unit = torch.finfo(dtype).eps / 2
    assert ((ours.double() - theirs.double()).abs() <= 2 * (8 * unit / (1 - 8 * unit)) * size).all()
    assert network.graph.objections == ()
    assert list(network.fixed) == ["0.bias", "1.scale", "1.shift"]


def test_neutral_norms_see_no_statistics_and_no_shift():
    layer = nn.BatchNorm1d(2)
    layer.weight.data, layer.bias.data = torch.tensor([-2.0, 3.0]), torch.tensor([5.0, 7.0])
    layer.running_mean, layer.running_var = torch.tensor([11.0, 13.0]), torch.tensor([17.0, 19.0])
    neutral = trace(nn.Sequential(nn.Linear(2, 2), layer), torch.ones(1, 2)).neutral
    assert torch.equal(neutral["1.scale"], torch.tensor([2.0, 3.0]) / (1 + layer.eps) ** 0.5)
    assert not neutral["1.shift"].any()
    assert not neutral["0.bias"].any()


class Functional(nn.Module):
    """One layer, then a function: for models that are no chain of modules."""

    def __init__(self, function, layer: nn.Module | None = None) -> None:
        super().__init__()
        self.layer, self.head, self.function = layer or nn.Conv2d(1, 2, 2), nn.Linear(8, 3), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


FLATTENINGS = {
    "view": lambda m, x: m.head(m.layer(x).view(x.size(0), -1)),
    "view with literal features": lambda m, x: m.head(m.layer(x).view(-1, 8)),
    "reshape": lambda m, x: m.head(m.layer(x).relu().reshape(len(x), 8)),
    "flatten": lambda m, x: m.head(torch.flatten(m.layer(x), 1)),
    "flatten to a named axis": lambda m, x: m.head(m.layer(x).flatten(start_dim=1, end_dim=3)),
    "dropout and an in-place relu": lambda m, x: m.head(functional.dropout(m.layer(x).relu_().flatten(1), 0.5, False)),
}


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("function", FLATTENINGS.values(), ids=FLATTENINGS)
def test_every_way_to_flatten_knows_its_units_and_forgets_the_batch_size(function, batch):
    model = Functional(function)
    network, x = trace(model, torch.ones(batch, 1, 3, 3)), torch.randn(5, 1, 3, 3)
    assert bits(network.forward(network.weights, x)) == bits(model(x))
    assert network.graph.objections == ()
    units = network.graph.edges[1].tails
    assert units.tolist() == [u for u in network.graph.edges[0].heads.tolist() for _ in range(4)]


def test_a_view_to_three_axes_forgets_the_batch_size_too():
    model = Functional(lambda m, x: m.head(m.layer(x).view(x.shape[0], 2, 8)).mean(1), nn.Linear(4, 16))
    network, x = trace(model, torch.ones(2, 4)), torch.randn(5, 4)
    assert bits(network.forward(network.weights, x)) == bits(model(x))


IN_PLACE = {
    "its own input, used again": lambda m, x: (y := m.layer(x), m.head(functional.relu(y, inplace=True)) + y)[1],
    "the model's input": lambda m, x: m.head(functional.relu(x, inplace=True)) + x,
    "a sum": lambda m, x: m.head(m.layer(x).add_(x).relu_()),
}


@pytest.mark.parametrize("function", IN_PLACE.values(), ids=IN_PLACE)
def test_operators_in_place_give_what_the_module_gives_and_corrupt_nothing(function):
    model = Functional(function, nn.Linear(8, 8))
    model.head = nn.Linear(8, 8)
    x = torch.randn(3, 8)
    network, held = trace(model, x.clone()), x.clone()
    first, second = (network.forward(network.weights, held) for _ in range(2))
    assert torch.equal(held, x)
    assert bits(first) == bits(second) == bits(model(x.clone()))


def test_a_buffer_that_the_model_writes_is_read_as_written():
    def counted(m: Functional, x: Tensor) -> Tensor:
        m.calls += 1
        return m.layer(x) * m.calls

    model = Functional(counted, nn.Linear(2, 2))
    model.register_buffer("calls", torch.ones(1))
    network, x = trace(model, torch.ones(1, 2)), torch.randn(3, 2)
    first, second = (network.forward(network.weights, x) for _ in range(2))
    assert model.calls.item() == 1
    assert bits(first) == bits(second) == bits(model(x))


THROUGH_MEMORY = {
    "a view of what is used again": lambda m, x: (y := m.layer(x), y.view(-1).relu_(), y)[2],
    "what has a view that is used again": lambda m, x: (y := m.layer(x), v := y.view(-1, 4), y.relu_(), v)[3],
    "a slice": lambda m, x: (y := m.layer(x), y[:, :2].mul_(2), m.head(y))[2],
}


@pytest.mark.parametrize("function", THROUGH_MEMORY.values(), ids=THROUGH_MEMORY)
def test_writing_into_shared_memory_is_refused_and_not_misread(function):
    with pytest.raises(ModelError, match=r"(relu_|mul_) writes into memory that is read later as"):
        trace(Functional(function, nn.Linear(8, 8)), torch.ones(3, 8))


def test_resnet18_joins_its_residual_sums():
    """Each stage is one junction of its convolutions' units, each block's inside another."""
    model, example = make("resnet18", 0)
    graph = trace(model, example).graph
    stages = [j for j in graph.hidden if len(j.incoming) > 1]
    assert graph.objections == ()
    assert len(graph.edges) == 21
    assert sorted(j.units for j in graph.hidden) == sorted([64, 64, 64, 128, 128, 128, 256, 256, 256, 512, 512, 512])
    assert {j.units: [e.weight for e in j.incoming] for j in stages} == {
        64: ["0.weight", "3.conv2.weight", "4.conv2.weight"],
        128: ["5.conv2.weight", "5.shortcut.0.weight", "6.conv2.weight"],
        256: ["7.conv2.weight", "7.shortcut.0.weight", "8.conv2.weight"],
        512: ["9.conv2.weight", "9.shortcut.0.weight", "10.conv2.weight"],
    }
    assert not graph.is_chain


OBJECTIONS = {
    "a softmax": (nn.Sequential(nn.Linear(2, 2), nn.Softmax(1), nn.Linear(2, 2)), "1: softmax is not known"),
    "a layer norm": (
        nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)),
        "1: layer_norm lets no saliency through unit by unit",
    ),
    "a tanh": (nn.Sequential(nn.Linear(2, 2), nn.Tanh()), "1: tanh is not known"),
    "a product with itself": (
        Functional(lambda m, x: (y := m.layer(x)) * y, nn.Linear(2, 2)),
        "mul makes is joined with something else",
    ),
    "a computed weight": (Functional(lambda m, x: functional.linear(x, m.layer(x)), nn.Linear(2, 2)), "linear is not"),
    "a part of a weight": (Functional(lambda m, x: functional.linear(m.layer(x), m.layer.weight[:1])), "linear is not"),
}
OBJECTIONS["a part of a weight"][0].layer = nn.Linear(2, 2)


@pytest.mark.parametrize(("model", "objection"), OBJECTIONS.values(), ids=OBJECTIONS)
def test_an_operator_that_is_not_known_is_named_with_its_module(model, objection):
    assert any(objection in text for text in trace(model, torch.ones(1, 2)).graph.objections)


def test_a_computed_bias_joins_the_units_that_it_is_added_to():
    model = Functional(lambda m, x: functional.linear(x, m.head.weight, m.layer(x)[0]), nn.Linear(2, 2))
    model.head = nn.Linear(2, 2)
    graph = trace(model, torch.ones(1, 2)).graph
    assert graph.objections == ()
    first, second = graph.edges
    assert first.heads.tolist() == second.heads.tolist() == graph.outputs.tolist()


class Tied(nn.Module):
    """Reads its inputs by the weight that it also writes its outputs with."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.Embedding(5, 3)
        self.write = nn.Linear(3, 5, bias=False)
        self.write.weight = self.read.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.write(self.read(x))


def shared_module() -> nn.Module:
    layer = nn.Linear(3, 3)
    return nn.Sequential(layer, nn.ReLU(), layer)


def shared_weight() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    return model


@pytest.mark.parametrize(
    ("model", "example"),
    [
        (shared_module(), torch.ones(2, 3)),
        (shared_weight(), torch.ones(2, 3)),
        (Tied(), torch.zeros(2, 4, dtype=torch.long)),
    ],
    ids=["module", "weight", "embedding"],
)
def test_tied_weights_are_one_weight_and_objected_to(model, example):
    network = trace(model, example)
    assert set(network.weights) <= {name for name, _ in model.named_parameters()}
    assert len(network.weights) == 1
    assert any("used more than once (tied)" in text for text in network.graph.objections)
    assert bits(network.forward(network.weights, example)) == bits(model(example))


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_a_layer_without_outputs_is_a_layer_without_weights():
    network = trace(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 0)), torch.ones(1, 2))
    assert network.initial.kept_by_layer() == [6, 0]
    with pytest.raises(ModelError, match="has no prunable layer"):
        trace(nn.Linear(2, 0), torch.ones(1, 2))


@pytest.mark.parametrize("model", [nn.Sequential(nn.ReLU()), nn.Identity(), nn.BatchNorm1d(3)], ids=repr)
def test_a_model_without_a_prunable_layer_is_refused(model):
    with pytest.raises(ModelError, match="has no prunable layer: no linear or convolution operator whose weight"):
        trace(model, torch.ones(2, 3))


def test_masks_of_torch_prune_are_taken_over():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    torch_prune.random_unstructured(model[0], "weight", amount=5)
    torch_prune.l1_unstructured(model[0], "bias", amount=1)
    mask, weight, x = model[0].weight_mask.clone(), model[0].weight.detach().clone(), torch.randn(2, 4)
    network = trace(model, x)
    assert list(network.weights) == ["0.weight", "2.weight"]
    assert torch.equal(network.weights["0.weight"], weight)
    assert torch.equal(network.initial["0.weight"], mask.bool())
    assert network.initial["2.weight"].all()
    assert bits(network.forward(network.weights, x)) == bits(model(x))
    assert torch_prune.is_pruned(model)
    assert isinstance(model[0].weight_orig, nn.Parameter)


def test_masks_of_a_pruned_module_that_is_used_twice_are_taken_over():
    layer = nn.Linear(3, 3)
    torch_prune.random_unstructured(layer, "weight", amount=4)
    network = trace(nn.Sequential(layer, nn.ReLU(), layer), torch.ones(1, 3))
    assert list(network.weights) == ["0.weight"]
    assert torch.equal(network.initial["0.weight"], layer.weight_mask.bool())


@pytest.mark.parametrize("wrap", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_parametrised_weights_are_unwrapped_in_the_copy_alone(wrap):
    torch.manual_seed(0)
    model, x = nn.Sequential(wrap(nn.Linear(4, 3)), nn.ReLU(), nn.Linear(3, 2)).eval(), torch.randn(2, 4)
    twin = copy.deepcopy(model)
    before = model(x)
    network = trace(model, x)
    assert torch.equal(network.weights["0.weight"], model[0].weight)
    assert bits(network.forward(network.weights, x)) == bits(before) == bits(model(x)) == bits(twin(x))
    assert parametrize.is_parametrized(model[0])


class Noisy(nn.Module):
    """A model with everything that tracing might disturb."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.ReLU(inplace=True), nn.Dropout(0.5))
        self.head = nn.Linear(8, 3)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.head(self.inner(x).flatten(1))


def test_the_model_is_left_as_it_was():
    model = Noisy()
    model.head.weight.requires_grad_(False)
    model.inner[1].eval()
    model(torch.randn(2, 1, 3, 3)).sum().backward()
    model.head.register_forward_hook(lambda *_: None)
    example = torch.randn(2, 1, 3, 3)

    def state() -> object:
        parameters = dict(model.named_parameters())
        return (
            snapshot(model.state_dict()),
            {n: (id(p), p.requires_grad, p._version) for n, p in parameters.items()},
            {n: (id(p.grad), bits(p.grad)) for n, p in parameters.items() if p.grad is not None},
            [(n, type(m), m.training, len(m._forward_hooks), sorted(vars(m))) for n, m in model.named_modules()],
            bits(torch.get_rng_state()),
            torch.is_grad_enabled(),
        )

    before, held = state(), example.clone()
    network = trace(model, example)
    for tensor in (*network.weights.values(), *network.fixed.values()):
        tensor.fill_(7)
    assert state() == before
    assert torch.equal(example, held)
    assert model.training


def test_frozen_parameters_are_prunable_like_others():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)).requires_grad_(False)
    assert list(trace(model, torch.ones(1, 2)).weights) == ["0.weight", "2.weight"]


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * torch.rand(()).item()


class Uncopyable(nn.Linear):
    def __init__(self) -> None:
        super().__init__(3, 3)
        self.lock = threading.Lock()


def training_norm(m: Functional, x: Tensor) -> Tensor:
    return functional.batch_norm(m.layer[0](x), m.layer[1].running_mean, m.layer[1].running_var, training=True)


def graded(m: Functional, x: Tensor) -> Tensor:
    with torch.enable_grad():
        return m.layer(x)


class Sharded(nn.Parameter):
    """Stands for DTensor and the quantised kinds: a parameter of its own class."""


def of_own_class() -> nn.Module:
    model = nn.Linear(3, 3)
    model.weight.__class__ = Sharded
    return model


REFUSED = {
    "control flow by chance": (
        Branching,
        "Branching can't be traced: what the model ran on its example gives something",
    ),
    "a lock": (Uncopyable, "Uncopyable can't be copied, and scoring must not touch the original: TypeError"),
    "meta weights": (lambda: nn.Linear(3, 3, device="meta"), "'weight' lies on the meta device and has no values"),
    "another dtype": (lambda: nn.Linear(3, 3).double(), "the example input is torch.float32 and the weights of Linear"),
    "another width": (lambda: nn.Linear(4, 3), "torch.export can't trace Linear on an input of shape"),
    "lazy weights": (lambda: nn.LazyLinear(3), "'weight' has no shape yet"),
    "a class of their own": (of_own_class, "'weight' is a Sharded; weights of that kind"),
    "norm by the batch": (lambda: nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, track_running_stats=False)), "1: b"),
    "norm in training": (
        lambda: Functional(training_norm, nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))),
        "has no evaluation mode to score in",
    ),
    "no module": (lambda: len, "got builtin_function_or_method and Tensor, wanted an nn.Module"),
    "no tensor out": (lambda: Functional(lambda m, x: 3.0, nn.Linear(3, 3)), "it gives float, wanted a tensor"),
    "no tensor operator": (lambda: Functional(graded, nn.Linear(3, 3)), "is no tensor operator that can be replayed"),
}


@pytest.fixture
def torch_log() -> Iterator[list[str]]:
    """Warnings and errors that torch logs; its loggers write to streams of their own and don't pass them on."""
    heard: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    loggers = [logging.getLogger(name) for name in list(logging.root.manager.loggerDict) if name.startswith("torch")]
    for logger in loggers:
        logger.addHandler(handler)
    yield heard
    for logger in loggers:
        logger.removeHandler(handler)


@pytest.mark.parametrize(("model", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_scored_is_refused_in_one_line_and_nothing_is_printed(model, message, capfd, torch_log):
    with pytest.raises(ModelError) as caught:
        trace(model(), torch.ones(2, 3))
    assert torch_log == []
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("example", [torch.tensor(1.0), torch.ones(3)], ids=["a number", "one sample"])
def test_an_example_without_a_batch_axis_is_refused(example):
    with pytest.raises(ModelError, match=r"the example input has shape .*; wanted a batch"):
        trace(nn.Linear(3, 3), example)


def test_a_model_on_another_device_than_its_example_is_refused():
    with pytest.raises(ModelError, match="'weight' lies on cpu and the example input on meta; move one"):
        trace(nn.Linear(3, 3), torch.ones(2, 3, device="meta"))


def test_a_convolution_of_one_sample_is_not_read_along_the_wrong_axis():
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 2, 1))
    with pytest.raises(ModelError, match="no prunable layer"):
        trace(model, torch.ones(3, 3, 3))


def test_moving_a_network_converts_every_tensor_and_keeps_masks_boolean():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    there = trace(model, torch.ones(2, 3)).to("meta", torch.float16)
    tensors = [*there.weights.values(), *there.fixed.values(), *there.neutral.values(), there.example]
    assert {(t.dtype, t.device.type) for t in tensors} == {(torch.float16, "meta")}
    assert {m.dtype for m in there.initial.values()} == {torch.bool}


def test_other_weights_must_fit():
    network: Network = trace(nn.Linear(3, 2), torch.ones(2, 3))
    ones = {"weight": torch.ones(2, 3)}
    assert torch.equal(network.with_weights(ones).weights["weight"], ones["weight"])
    with pytest.raises(ValueError, match=r"the weight of 'weight' has shape \(3, 2\), wanted \(2, 3\)"):
        network.with_weights({"weight": torch.ones(3, 2)})


def test_vgg_is_replayed_to_the_bit():
    model, example = make("vgg11", 0, 10)
    network = trace(model, example)
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert bits(network.forward(network.weights, x)) == bits(model(x))
