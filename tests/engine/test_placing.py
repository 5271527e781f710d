"""Every rule of placing is held to plain autograd: what it calls sound is, and it objects to no more."""

import random
from dataclasses import replace
from time import process_time

import pytest
import torch
from balances import Balance, balance, random_like, told
from compositions import composed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from operators import CAUTIOUS, TABLE, net, traced
from torch import Tensor

from pruning.graph import INPUT, Junction, Node, Param, Value
from pruning.network import Network
from pruning.survey import build

aten = torch.ops.aten

SEEDS = range(3)


def balances(network: Network) -> list[Balance]:
    found = []
    for seed in SEEDS:
        source = torch.Generator().manual_seed(seed)
        params = random_like({**network.fixed, **network.weights}, source)
        x = torch.randn(network.example.shape, generator=source, dtype=torch.float64)
        found.append(balance(network.graph, params, x, source))
    return found


def is_balanced(junction: Junction, found: list[Balance]) -> bool:
    return all(bool((b.gap[junction.span] <= b.rounding).all()) for b in found)


@pytest.mark.parametrize("name", TABLE | CAUTIOUS)
def test_the_units_it_calls_sound_are_and_no_others_are_lost(name):
    row = (TABLE | CAUTIOUS)[name]
    network = traced(row)
    found = balances(network)
    sound = [j for j in network.graph.hidden if not j.objections]
    assert [j.name for j in sound if not is_balanced(j, found)] == []
    objected = [j for j in network.graph.hidden if j.objections]
    assert (told(sound), told(objected)) == (row.sound, row.objected)
    assert [j.name for j in objected if is_balanced(j, found)] == [], "objected to in vain"
    assert not sound or all(b.alive(sound) for b in found)


@settings(
    derandomize=True, database=None, deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow]
)
@given(st.randoms(use_true_random=False), st.integers(0, 10**6), st.integers(2, 14))
def test_random_compositions_are_balanced_where_it_says_so(chooser, seed, steps):
    made = composed(chooser.randrange, seed, steps)
    if made is None:
        return
    graph, params, x = made
    found = balance(graph, params, x, torch.Generator().manual_seed(seed))
    assert [j.name for j in graph.hidden if not j.objections and not is_balanced(j, [found])] == []


def test_most_units_of_random_compositions_are_judged():
    """The property above is not empty: few units are objected to, and something flows in most of the others."""
    counts = {"sound": 0, "objected": 0, "alive": 0}
    for seed in range(60):
        made = composed(random.Random(seed).randrange, seed, 4 + seed % 8)
        if made is None:
            continue
        graph, params, x = made
        found = balance(graph, params, x, torch.Generator().manual_seed(seed))
        for junction in graph.hidden:
            counts["objected" if junction.objections else "sound"] += 1
            counts["alive"] += not junction.objections and found.alive([junction])
    assert counts["sound"] > 2 * counts["objected"] and counts["alive"] > 0.6 * counts["sound"], counts


@pytest.mark.parametrize(
    "name",
    ["view", "zero padding", "channels of zeros", "dense skips", "positions", "rows as channels", "zeros summed"],
)
def test_places_say_which_unit_each_entry_belongs_to(name):
    """Entry by entry what the value adds to each unit; nobody's entries are added to none."""
    network = traced(TABLE[name])
    graph, values = network.graph, {}
    graph.run({**network.fixed, **network.weights}, network.example, lambda n, v: values.setdefault(n, v))
    assert set(graph.places) == set(values)
    for at, value in values.items():
        place = graph.places[at].expand(value.shape).flatten()
        assert not bool(value.flatten()[place < 0].any()), "what no unit feeds is 0"
        amounts = torch.randint(-9, 10, value.shape).double()
        expected = torch.zeros(graph.units, dtype=torch.float64)
        for unit, entry in zip(place.tolist(), amounts.flatten().tolist(), strict=True):
            expected[unit] += entry * (unit >= 0)
        assert torch.equal(graph.by_unit(at, amounts), expected)


def test_places_of_channels_are_kept_once():
    """Not per position, nor per sample: the places of an image take no more room than its channels."""
    places = traced(TABLE["residual sum"]).graph.places
    assert {tuple(p.shape) for n, p in places.items() if n != "input"} == {(1, 6), (1, 3)}
    graph = traced(TABLE["transposed"]).graph
    assert {tuple(p.shape) for n, p in graph.places.items() if p.dim() == 4} == {(1, c, 1, 1) for c in (2, 4, 6, 3)}


def test_by_unit_refuses_entries_that_its_places_were_not_made_for():
    graph = traced(net(lambda m, x: m.a(x.reshape(-1, 5)), (4, 5), a=torch.nn.Linear(5, 3))).graph
    merged = next(n for n in graph.places if n not in ("input", graph.output))
    assert graph.by_unit("input", torch.ones(2, 4, 5)).sum() == 40
    wide = replace(graph, places={merged: torch.arange(8).reshape(8, 1)})
    with pytest.raises(ValueError, match=r"the places of \(8, 1\) entries don't fit \(12, 5\)"):
        wide.by_unit(merged, torch.ones(12, 5))


def test_what_is_said_of_units():
    def objections(name: str) -> tuple[str, ...]:
        return traced(TABLE[name]).graph.objections

    unit_by_unit = "is not known to be positively homogeneous of degree 1, unit by unit"
    assert objections("tanh") == (f"tanh: tanh {unit_by_unit}",)
    assert objections("tied")[0] == "c: the weight 'c.weight' is used more than once (tied)"
    assert objections("tied")[1:] == ("c: the parameter 'c.bias' is used more than once (tied)",)
    assert objections("layer norm") == ("c: layer_norm lets no saliency through unit by unit",)
    assert objections("layer norm without gain")[1:] == ("c: layer_norm has no gain, so what leaves it is not known",)
    assert objections("attention") == ("scaled_dot_product_attention: attention takes its weights from it, by softmax",)
    assert objections("identity path") == ("add: an identity path joins input and output",)
    assert objections("product and shift") == ("mul: what mul makes is joined with something else",)


def deep_residual() -> tuple[list[Node], str, Tensor, dict[str, Tensor]]:
    """The size of a ResNet-50 on images of 224 x 224: fifty convolutions with norms and sums, as nodes."""
    nodes, params, last, width = [], {}, INPUT, 3

    def add(op: object, *args: object) -> str:
        nodes.append(Node(f"v{len(nodes)}", op, args, ""))
        return nodes[-1].name

    for i in range(50):
        out, stride = min(64 << i // 8, 1024), 2 if i % 8 == 0 else 1
        shapes = {"weight": (out, width, 3, 3), "scale": (out, 1, 1), "shift": (out, 1, 1)}
        params |= {f"{i}.{n}": torch.empty(s, device="meta") for n, s in shapes.items()}
        made = add(aten.conv2d.default, Value(last), Param(f"{i}.weight"), None, [stride] * 2, [1, 1])
        made = add(aten.mul.Tensor, Value(made), Param(f"{i}.scale"))
        made = add(aten.relu.default, Value(add(aten.add.Tensor, Value(made), Param(f"{i}.shift"))))
        last = add(aten.add.Tensor, Value(made), Value(last)) if stride == 1 and out == width else made
        width = out
    return nodes, last, torch.empty(2, 3, 224, 224, device="meta"), params


def test_a_graph_of_full_size_is_built_in_seconds():
    """A third of a second as this was written; it was half a minute while every entry was looked at again and again."""
    given = deep_residual()
    start = process_time()
    graph = build(*given)
    assert process_time() - start < 3
    assert len(graph.edges) == 50 and graph.objections == () and graph.units == 3 + 64 + 128 + 256 + 512 + 3 * 1024
