"""Discovery: the numbers of the literature, derived and found; what the catalogue spans, and the gaps it has."""

import pytest
import smallmodels as small
import torch
from torch import nn

from pruning.problem import Problem, squared_error
from pruning.pruner import Pruner, scored
from pruning.pruners import built_in as built_in_pruners
from pruning.pruners.grasp import TEMPERATURE
from pruning.trace import trace
from theory.discovery.architecture import Architecture
from theory.discovery.discover import Discovery, discover
from theory.discovery.integers import whole_basis
from theory.discovery.nullspace import null_space, orthonormal, outside
from theory.discovery.rows import Level
from theory.networks import built_in
from theory.networks.family import examples
from theory.networks.layers import Act, Branches, Conv, Dense, Embedding, Flatten, Layer, Norm, TokenMean
from theory.networks.shape import Shape, parameter_count

PRUNERS = built_in_pruners()
LARGEST = 250  # parameters of a shape whose null space is taken here


def corrected_grasp(network, state, probe):
    weights = state.effective
    g = probe.grad(network, weights, TEMPERATURE)
    product = probe.hvp(network, weights, g, TEMPERATURE)
    return {n: weights[n] * product[n] + g[n] ** 2 for n in weights}


CORRECTED = scored("corrected grasp", corrected_grasp)


def mlp(activation: str = "relu", bias: bool = False) -> Shape:
    act = Act(activation)
    return Shape((Dense(3, 4, bias), act, Dense(4, 3, bias), act, Dense(3, 2, bias)), (3,), 2)


def of_module(model: nn.Module, *inputs: int, level: Level | None = None) -> Discovery:
    model = model.double()
    network = trace(model, torch.ones(inputs, dtype=torch.float64))
    outputs = network.forward(network.weights, network.example)
    problem = Problem(network, (network.example, torch.zeros_like(outputs)), squared_error, 0)
    learned = {name for name, _ in model.named_parameters()}
    return discover(Architecture.of_problem("module", problem, learned), level=level)


def counted(found: Discovery) -> tuple[int, int]:
    """Laws found, and how many of them the catalogue gives; only where the gap says so."""
    assert found.convincing and found.basis.whole
    assert found.fresh <= found.space.slack
    return len(found.laws), len(found.laws) - len(found.unexplained)


def words(found: Discovery) -> list[str]:
    return [law.words for law in found.unexplained]


# pruners: 4 + 3 hidden units of a chain without biases balance, and nothing else does


@pytest.mark.parametrize(
    ("pruner", "laws"),
    [
        (PRUNERS["synflow"], 7),
        (CORRECTED, 7),
        (PRUNERS["grasp"], 0),
        (PRUNERS["snip"], 0),
        (PRUNERS["magnitude"], 0),
        (PRUNERS["random"], 0),
    ],
    ids=lambda x: getattr(x, "name", None),
)
def test_the_table_of_pruners(pruner: Pruner, laws: int):
    found = discover(Architecture.of_shape("mlp", mlp()), pruner)
    assert counted(found) == (laws, laws)
    assert (found.basis.stated, found.basis.held) == (7, laws)


@pytest.mark.parametrize(("bias", "rows"), [(False, 30), (True, 39)])
def test_the_saliency_of_the_loss_has_a_law_per_hidden_unit(bias, rows):
    found = discover(Architecture.of_shape("mlp", mlp(bias=bias)))
    assert found.rows.size == rows
    assert counted(found) == (7, 7)
    assert {law.laws for law in found.laws} == {("A1",)}


def test_synflow_sees_no_biases_and_that_is_no_law():
    found = discover(Architecture.of_shape("mlp", mlp(bias=True)), PRUNERS["synflow"])
    assert counted(found) == (7, 7)
    assert found.idle == ("0.bias", "2.bias", "4.bias")


@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_activations_of_no_degree_leave_no_law(activation):
    assert counted(discover(Architecture.of_shape("control", mlp(activation)))) == (0, 0)


# modules of the literature


def test_a_gate_of_no_degree_leaves_up_against_down():
    """5 hidden units, each S(up) = S(down); S(gate) is in none."""
    assert counted(of_module(small.Gated(3, 5, 2, nn.SiLU()), 3, 3)) == (5, 5)


def test_a_gate_of_degree_one_doubles_them():
    """5 hidden units, each S(gate) = S(up) = S(down)."""
    assert counted(of_module(small.Gated(3, 5, 2, nn.ReLU()), 3, 3)) == (10, 10)


@pytest.mark.parametrize(("rotary", "bias", "laws"), [(False, False, 8), (True, False, 6), (False, True, 12)])
def test_one_head_of_four_dimensions(rotary, bias, laws):
    """Values against outputs: 4. Queries against keys: 4 dimensions, or 2 rotated pairs. Key biases: 4 of nothing."""
    assert counted(of_module(small.Head(4, rotary, bias), 2, 3, 4)) == (laws, laws)


def test_rotary_keys_use_their_biases():
    """4 dimensions of values, 2 pairs of queries and keys; biases of keys carry something now."""
    assert counted(of_module(small.Head(4, rotary=True, bias=True), 2, 3, 4)) == (6, 6)


@pytest.mark.parametrize(("hidden", "experts"), [(4, 2), (2, 4), (3, 2)])
def test_experts_have_a_law_per_hidden_unit_and_the_router_none(hidden, experts):
    """A factor from the router scales what an expert makes: each hidden ReLU balances, hidden * experts in all."""
    assert counted(of_module(small.Experts(3, hidden, 2, experts), 3, 3)) == (hidden * experts,) * 2


@pytest.mark.parametrize(("channels", "states"), [(2, 2), (1, 2), (3, 1), (2, 1)])
def test_the_gap_of_selective_state_spaces(channels, states):
    """y is linear in x, in B and in C, each with the others and the steps held.

    Channel by channel what x carries leaves through W_out; state by state what B carries C does; and what C carries
    in all is what y does: channels + states + 1 laws. The catalogue states none of them: the scan multiplies what
    it sums. With one channel and two states it is the 4 of the literature.
    """
    found = of_module(small.StateSpace(3, channels, states, 2), 2, 3, 3)
    assert counted(found) == (channels + states + 1, 0)
    if (channels, states) == (2, 2):
        assert sorted(words(found)) == [
            "S(b.weight[0]) = S(c.weight[0])",
            "S(b.weight[1]) = S(c.weight[1])",
            "S(c.weight) = S(out.weight)",
            "S(x.weight[0]) = S(out.weight[:, 0])",
            "S(x.weight[1]) = S(out.weight[:, 1])",
        ]


# completeness


def is_degenerate(layers: tuple[Layer, ...]) -> bool:
    """Whether some norm with a mean has one value to normalise: it is constant, and nothing before it is felt."""
    inner = (branch for la in layers if isinstance(la, Branches) for branch in la.branches)
    norms = [la for la in layers if isinstance(la, Norm)]
    single = [n for n in norms if n.kind == "layer" and (n.size[-1] if len(n.size) < 3 else 2) == 1]
    paired = [n for n in norms if n.kind == "group" and torch.Size(n.size).numel() == 2 - n.size[0] % 2]
    return bool(single or paired) or any(is_degenerate(branch) for branch in inner)


def taps_apart(conv: Conv, side: int) -> bool:
    """Whether some positions of what a convolution makes are reached by taps of their own, along an axis."""
    made = conv.fitted((conv.inputs, side, side))[1][1]
    a, b = (side, made) if conv.transposed else (made, side)
    ways = [
        (i, tap, i * conv.stride - conv.padding + tap * conv.dilation) for i in range(a) for tap in range(conv.kernel)
    ]
    reached = [{tap for i, tap, at in ways if 0 <= at < b and (at if conv.transposed else i) == o} for o in range(made)]
    groups: list[set[int]] = []
    for taps in filter(None, reached):
        groups = [g for g in groups if not g & taps] + [taps.union(*(g for g in groups if g & taps))]
    return len(groups) > 1


def has_taps_apart(shape: Shape) -> bool:
    size, found = shape.input, False
    for layer in shape.layers:
        found = found or (isinstance(layer, Conv) and taps_apart(layer, size[1]))
        size = layer.fitted(size)[1]
    return found


def in_a_gap(shape: Shape) -> bool:
    """The two gaps that are tested by themselves below."""
    return is_degenerate(shape.layers) or has_taps_apart(shape)


@pytest.mark.parametrize("family", built_in().values(), ids=lambda f: f.name)
def test_the_catalogue_spans_every_law_of_the_families(family):
    """But for norms of one value (below), nothing is found that is not known, and all that is stated is found."""
    looked = 0
    for shape, _ in examples(family, 14, 5):
        if parameter_count(shape) > LARGEST or in_a_gap(shape):
            continue
        found = discover(Architecture.of_shape(family.name, shape))
        assert counted(found)[0] == found.basis.stated == found.basis.held, shape
        assert words(found) == [], shape
        looked += 1
    assert looked >= 3


@pytest.mark.parametrize("level", [Level.UNITS, Level.TENSORS])
@pytest.mark.parametrize("family", built_in().values(), ids=lambda f: f.name)
def test_coarser_rows_are_explained_as_well(family, level):
    for shape, _ in examples(family, 8, 5):
        if parameter_count(shape) <= LARGEST and not in_a_gap(shape):
            found = discover(Architecture.of_shape(family.name, shape), level=level)
            assert counted(found)[0] == found.basis.stated == found.basis.held, shape
            assert words(found) == [], shape


def test_the_gap_of_norms_of_one_value():
    """Layer norm of one feature is constant, so the residual stream around it balances: no law of norms says so."""
    block = Branches("sum", ((Norm("layer", (2, 1)), Dense(1, 1), Act("relu"), Dense(1, 1)), ()))
    shape = Shape((Dense(1, 1), block, TokenMean(), Dense(1, 2, True)), (2, 1), 2).fitted()
    assert is_degenerate(shape.layers)
    found = discover(Architecture.of_shape("one feature", shape))
    assert words(found) == ["S(0.weight) + S(1.0.3.weight) = S(3.weight)"]


def test_the_gap_of_positions_that_share_no_tap():
    """A transposed convolution of one position makes 2 x 2, one tap each: then A1 holds position by position.

    The catalogue's units are whole channels: 3 laws of hidden channels are known, 2 * (4 - 1) more are found.
    """
    layers = (Conv(1, 1, 2), Act("relu"), Conv(1, 2, 2, transposed=True), Act("relu"), Flatten(), Dense(8, 2))
    shape = Shape(layers, (1, 2, 2), 2).fitted()
    assert has_taps_apart(shape)
    found = discover(Architecture.of_shape("taps apart", shape))
    assert counted(found) == (9, 3)
    assert "S(2.weight[:, 0, 0, 0]) = S(5.weight[:, 0])" in words(found)


def test_the_gap_of_a_group_of_one_value():
    """A group norm whose groups are single values makes 0 of them: nothing before it carries anything."""
    shape = Shape((Dense(1, 2), Norm("group", (2,)), Act("relu"), Dense(2, 2, True)), (1,), 2)
    assert is_degenerate(shape.layers)
    assert {"S(0.weight[0]) = 0", "S(0.weight[1]) = 0"} <= set(words(discover(Architecture.of_shape("one", shape))))


def test_a_piece_that_few_samples_show_is_seen():
    """Biases make every sample of a deep and narrow network live, and few of them let anything through."""
    layers = [la for _ in range(5) for la in (Dense(1, 1, True), Act("relu"))]
    shape = Shape((*layers, Dense(1, 2, True)), (1,), 1)
    assert counted(discover(Architecture.of_shape("narrow", shape))) == (5, 5)


def test_matrix_laws_of_linear_networks_are_no_laws_of_scores():
    """A12 balances a 3 x 3 matrix of gradients times weights; on S = theta * g its diagonal is left, 3 laws."""
    shape = Shape((Dense(2, 3), Dense(3, 2)), (2,), 3)
    assert counted(discover(Architecture.of_shape("linear", shape))) == (3, 3)


def test_powers_come_with_their_degree():
    shape = Shape((Dense(2, 3, True), Act("relu3"), Dense(3, 2)), (2,), 2)
    found = discover(Architecture.of_shape("power", shape))
    assert counted(found) == (3, 3)
    assert sorted(set(found.laws[0].vector.tolist())) == [-3, 0, 1]


def test_a_weight_that_is_used_three_times_is_counted_three_times():
    """Width 3. S(W) = 3 S(in): one for each cut it is in. And unit by unit the balances of all uses add up.

    in[u] + W[u, :] = W[:, u] + out[:, u]: at each of the layers that have unit u, what enters leaves; the uses of W
    between them are all of W. That is 3 laws and 1: the laws of single layers are lost, not those of units.
    """
    layers = (Dense(2, 3), Act("relu"), Dense(3, 3), Act("relu"), Dense(3, 3, tied="2"), Act("relu"))
    shape = Shape((*layers, Dense(3, 3, tied="2"), Act("relu"), Dense(3, 2)), (2,), 2)
    found = discover(Architecture.of_shape("tied", shape))
    assert counted(found) == (4, 4)
    assert all(law.laws == ("A11",) for law in found.laws)
    words = {law.words for law in found.laws}
    assert "S(0.weight[2]) + S(2.weight[2, 0:2]) = S(2.weight[0:2, 2]) + S(8.weight[:, 2])" in words
    factors = {"0.weight": 1, "2.weight": -1, "8.weight": 2}
    total = torch.cat([torch.full((block.size,), factors[block.name]).double() for block in found.rows.blocks])
    assert float(outside(total[None], orthonormal(torch.stack([law.vector for law in found.laws]), 0.5))) < 0.5, (
        "S(0.weight) + 2 S(8.weight) = S(2.weight), which one basis has as a vector and another as a sum"
    )


def test_tables_are_first_layers():
    """Each feature's rows have what leaves it."""
    shape = Shape((Embedding(3, 2), TokenMean(), Dense(2, 2)), (4,), 2).fitted()
    assert counted(discover(Architecture.of_shape("table", shape))) == (2, 2)


# what rounding lets one say


def test_no_fall_is_no_claim():
    """What holds to 7 or 9 or 12 digits is neither a law nor none."""
    source = torch.Generator().manual_seed(0)
    plain = torch.randn(200, 20, generator=source, dtype=torch.float64)
    for near in (1e-7, 1e-9, 1e-12):
        samples = plain.clone()
        samples[:, 0] = samples[:, 1] + near * samples[:, 0]
        assert not null_space(samples).convincing
    plain[:, 0] = plain[:, 1]
    space = null_space(plain)
    assert space.convincing and space.dimension == 1 and space.gap > 1e12


def test_few_samples_are_no_claim():
    samples = torch.randn(10, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    space = null_space(samples)
    assert not space.enough and not space.convincing


def test_nothing_flows_is_no_claim():
    space = null_space(torch.zeros(50, 4, dtype=torch.float64))
    assert not space.convincing and space.sampled == 0


def test_a_basis_of_small_whole_numbers():
    wanted = torch.tensor([[1, 1, -1, 0, 0, 0], [0, 0, 2, -1, -1, 0], [0, 0, 0, 3, 0, -2]], dtype=torch.float64)
    mixed = torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64) @ wanted
    basis = torch.linalg.svd(mixed, full_matrices=False).Vh
    found = whole_basis(basis, 1e-8)
    assert found is not None
    assert int(torch.linalg.matrix_rank(torch.cat([found, wanted]))) == 3
    assert int((found != 0).sum()) <= int((wanted != 0).sum())


def test_a_basis_of_no_small_numbers_is_none():
    vector = torch.tensor([[1.0, 2**0.5, -1.0]], dtype=torch.float64)
    assert whole_basis(vector / vector.norm(), 1e-8) is None


def test_the_same_seed_finds_the_same():
    place = Architecture.of_shape("conv", Shape((Conv(1, 2, 2), Act("relu"), Flatten(), Dense(8, 2)), (1, 3, 3), 2))
    first, second = discover(place, seed=3), discover(place, seed=3)
    assert torch.equal(first.space.values, second.space.values)
    assert not torch.equal(first.space.values, discover(place, seed=4).space.values)
