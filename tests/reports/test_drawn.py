"""Small networks drawn, and plots: what stands where, and what is left out."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from handmade import a_run, a_verdict, a_witness

from pruning.pruners.magnitude import magnitude
from pruning.pruners.synflow import synflow
from reports.blocks import Curve, Plot, Section, Text
from reports.drawn import drawn
from reports.markdown import markdown
from reports.netplot import wired
from reports.page import html, page
from reports.plot import plotted
from theory.laws import catalogue
from theory.networks.layers import Act, Conv, Dense
from theory.networks.shape import Shape
from theory.networks.spec import NetSpec
from theory.search import _recorded as recorded  # the record of a failure, without a search
from theory.search import rerun
from theory.verdict import Outcome, Witness


def witness(first: list[list[float]], second: list[list[float]]) -> Witness:
    layers = (Dense(len(first[0]), len(first)), Act("relu"), Dense(len(second[0]), len(second)))
    shape = Shape(layers, (len(first[0]),), 1)
    values = {"0.weight": first, "2.weight": second}
    spec = NetSpec(shape, values, [[1.0] * len(first[0])], [[1.0] * len(second)], "squared-error", 0)
    law = catalogue()["neuron_conservation"]
    plain = replace(a_witness(law.name, magnitude.name), spec=spec.to_json())
    failure = rerun(plain, law, magnitude)
    assert failure
    return recorded(law, magnitude, spec, str(shape), failure)


def test_a_witness_has_what_the_pruner_scores_its_weights() -> None:
    found = witness([[1.0], [-2.0]], [[3.0, 4.0]])
    assert found.scores == {"0.weight": [[1.0], [2.0]], "2.weight": [[3.0, 4.0]]}


def test_the_unit_that_does_not_balance_is_marked_and_no_other() -> None:
    net = drawn(witness([[1.0], [-2.0]], [[1.0, 4.0]]))
    assert net
    assert [(u.label, u.marked) for u in net.columns[1]] == [("1 in, 1 out", False), ("2 in, 4 out", True)]
    assert [(w.column, w.tail, w.head, w.weight, w.score) for w in net.wires] == [
        (0, 0, 0, "1", "1"), (0, 0, 1, "-2", "2"), (1, 0, 0, "1", "1"), (1, 1, 0, "4", "4"),
    ]  # fmt: skip
    assert "2 in, 4 out" in net.text


def test_units_with_biases_are_not_called_unbalanced() -> None:
    """Their bias has a flow as well, which no score of a weight tells."""
    plain = witness([[1.0]], [[2.0]])
    net = drawn(replace(plain, spec={**plain.spec, "values": {**plain.spec["values"], "0.bias": [3.0]}}))
    assert net and [(u.label, u.marked) for u in net.columns[1]] == [("bias 3", False)]


def test_what_can_t_be_drawn_is_left_to_words() -> None:
    small = witness([[1.0]], [[2.0]])
    assert drawn(a_witness("neuron_conservation", "magnitude")) is None  # no layers in its record
    assert drawn(witness([[1.0]] * 8, [[2.0] * 8])) is None
    conv = Shape((Conv(1, 1, 1),), (1, 1, 1), 1).to_json()
    assert drawn(replace(small, spec={**small.spec, "shape": conv})) is None
    old = drawn(replace(small, scores=None))  # a record of before there were scores
    assert old and [w.score for w in old.wires] == ["", ""] and not old.columns[1][0].marked


def test_everything_lies_within_the_picture() -> None:
    net = drawn(witness([[1.0, 2.0], [-2.0, 0.5], [1.0, 1.0]], [[1.0, 4.0, 2.0]]))
    assert net
    made = wired(net)
    for x, y in [u.at for u in made.units] + [w.label for w in made.wires]:
        assert 0 < x < made.width and 0 < y < made.height
    assert len({u.at for u in made.units}) == len(made.units) == 6 and len(made.wires) == 9
    assert len({w.label for w in made.wires}) == 9


def test_the_page_draws_failures_and_the_markdown_says_them() -> None:
    broken = a_verdict("neuron_conservation", "mine", Outcome.BROKEN, claimed=True)
    run = a_run(replace(broken, witness=witness([[1.0]], [[2.0]])), claims={"mine": ["neuron conserved"]})
    text = html(run)
    assert text == html(run) and 'class="unit marked"' in text and "1 in, 2 out" in text
    for svg in re.findall(r"<svg.*?</svg>", text, re.S):
        ElementTree.fromstring(svg)
    assert "<svg" not in markdown(run)


def test_synflow_is_drawn_in_balance() -> None:
    found = witness([[1.0]], [[2.0]])
    law = catalogue()["neuron_conservation"]
    assert rerun(found, law, synflow) is None


def curves(*points: tuple[tuple[float, float], ...]) -> tuple[Curve, ...]:
    return tuple(Curve(f"layer <{i}>", p, i / max(len(points) - 1, 1)) for i, p in enumerate(points))


def test_a_plot_breaks_its_curves_where_there_is_nothing() -> None:
    made = plotted(Plot("c", "t", "Compression", curves(((1, 1.0), (10, 0.1), (100, 0.0), (1000, 0.001)))))
    assert made.lines[0].path.count("M") == 2
    assert [label.text for label in made.across] == ["1", "10", "100", "1000"]
    assert [label.text for label in made.up] == ["0.001", "0.01", "0.1", "1"]
    assert made.level is None


def test_a_plot_reaches_as_far_as_is_asked_and_shows_its_level() -> None:
    made = plotted(Plot("c", "t", "Round", curves(((1.0, 0.5), (2.0, 0.2))), False, (1.0, "a whole cut"), reach=10))
    assert made.across[-1].text == "10" and made.level is not None and made.level <= made.up[0].at
    assert plotted(Plot("c", "t", "x", curves(((1, 1.0), (2, 1.0))), reach=1e7)).across[-1].text == "10⁷"


def test_of_many_curves_the_legend_names_the_ends() -> None:
    many = plotted(Plot("c", "t", "x", curves(*[((1, 1.0), (2, 0.5))] * 12)))
    assert [line.named for line in many.lines] == [True, *[False] * 10, True]
    text = page([Section("t", "t", 0, (Text("x"), Plot("c", "t", "x", curves(((1, 1.0), (2, 0.5))))))])
    assert "layer &lt;0&gt;" in text and "layer <0>" not in text


@pytest.mark.parametrize("points", [((1.0, 3e-9), (5.0, 2.0)), ((7.0, 0.25), (7.0, 0.25))])
def test_plots_of_any_range_lie_within_their_frame(points) -> None:
    made = plotted(Plot("c", "t", "x", curves(points)))
    numbers = [float(n) for n in re.findall(r"[\d.]+", made.lines[0].path)]
    assert all(made.left <= x <= made.right for x in numbers[::2])
    assert all(0 <= y <= made.bottom for y in numbers[1::2])
