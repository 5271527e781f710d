"""The page says what the record says, needs nothing but itself, and lets nobody's name become markup."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch
from handmade import a_run, a_verdict
from torch import nn

from pruning.problem import LOSSES, Problem
from pruning.trace import trace
from reports.inspection import inspection
from reports.page import html
from reports.record import from_json, to_json
from theory.verdict import Outcome, Run

HOSTILE = "<script>alert(1)</script>"
VOID = {"meta", "br", "wbr", "hr", "img", "link", "input"}


class Outline(HTMLParser):
    """Tags, ids and links of a page; complains where tags don't match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name == "href"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def cells(page: str, caption: str) -> dict[str, list[str]]:
    """The texts of a table's rows by the text of their heads."""
    table = next(t for t in re.findall(r"<table>.*?</table>", page, re.S) if f"<caption>{caption}</caption>" in t)
    rows = re.findall(r"<tr.*?</tr>", table.split("<tbody>")[1], re.S)
    texts = [
        [" ".join(re.sub(r"<[^>]*>", "", c).replace("\xa0", " ").split()) for c in re.findall(r"<t[hd].*?</t[hd]>", r)]
        for r in rows
    ]
    return {row[0]: row[1:] for row in texts}


def test_the_matrix_shows_each_standing(run: Run) -> None:
    matrix = cells(html(run), "Laws by pruners")
    assert matrix["A1 neuron_conservation"] == ["neuron conserved", "held on 1 of 2 grounds", "claim refuted"]
    assert matrix["B3 leave_one_out"] == ["leave one out", "out of scope", "vacuous though claimed"]
    assert matrix["B14 purity"] == ["contract", "held", "contract broken"]
    assert matrix["S2 positivity"] == ["positive", "held, not claimed", "broken, not claimed"]


def test_what_was_not_run_is_not_shown_as_held() -> None:
    run = a_run(a_verdict("purity", "good", Outcome.HELD), claims={"good": []})
    assert cells(html(run), "Laws by pruners")["S2 positivity"] == ["positive", "not run"]


def test_failures_come_first_and_in_four_lines(run: Run) -> None:
    page = html(run)
    assert page.index('id="failures"') < page.index('id="matrix"') < page.index('id="broken"')
    message = re.sub(r"<[^>]*>", "", re.findall(r"<pre>.*?</pre>", page, re.S)[0]).replace("&#39;", "'")
    assert message.splitlines() == [
        "bad claims 'neuron conserved' but breaks neuron_conservation",
        "  law      The statement of neuron_conservation. [Source of neuron_conservation]",
        "  network  Net(Dense([[1]]), Dense([[2]]))    (1-1-1, minimised from 7-12-5)",
        "  where    unit 0 after layer 0: 1 in, 2 out    "
        "rerun: prunelaws repro witnesses/neuron-conservation--bad.json",
    ]
    assert "bad breaks the contract purity" in page


def test_no_failures_no_section(clean: Run) -> None:
    assert 'id="failures"' not in html(clean)


@pytest.mark.parametrize(
    ("verdicts", "claims", "sentence"),
    [
        ([("neuron_conservation", Outcome.HELD, True)], ["neuron conserved"], "Every claim and contract was kept"),
        ([("neuron_conservation", Outcome.BROKEN, True)], ["neuron conserved"], "1 claim refuted"),
        ([("purity", Outcome.BROKEN, False)], [], "1 contract broken"),
        ([("neuron_conservation", Outcome.VACUOUS, True)], ["neuron conserved"], "Nothing was verified"),
        ([("purity", Outcome.HELD, False)], ["positive"], "1 was not tested"),
        ([("purity", Outcome.HELD, False)], [], "Every contract was kept; nothing is claimed"),
        ([("positivity", Outcome.BROKEN, False), ("purity", Outcome.HELD, False)], [], "Every contract was kept"),
    ],
)
def test_the_headline_never_says_more_than_was_checked(
    verdicts: list[tuple[str, Outcome, bool]], claims: list[str], sentence: str
) -> None:
    made = [a_verdict(law, "p", outcome, claimed=claimed) for law, outcome, claimed in verdicts]
    headline = re.findall(r"<h1>(.*?)</h1>", html(a_run(*made, claims={"p": claims})))
    assert len(headline) == 1 and sentence in headline[0]


def test_names_are_never_markup(run: Run) -> None:
    hostile = a_run(
        *(replace(v, pruner=HOSTILE) for v in run.verdicts if v.pruner == "bad"),
        claims={HOSTILE: ["neuron conserved", f"{HOSTILE}'\""]},
        runs=[replace(run.runs[0], pruner=HOSTILE, model=HOSTILE, layers=["\"'>", HOSTILE])],
    )
    page = html(replace(hostile, provenance={HOSTILE: HOSTILE}))
    assert "<script" not in page.lower()
    assert page.count("&lt;script&gt;") > 10
    assert "script" not in Outline(page).tags


def test_control_characters_stay_off_the_page(run: Run) -> None:
    page = html(replace(run, provenance={"shell": "\x1b[31mred\x00"}))
    assert "\x1b" not in page and "\x00" not in page


def test_it_needs_nothing_but_itself(run: Run) -> None:
    page = html(run)
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<script|<link|<img|<iframe|src=", page)
    assert "default-src 'none'" in page


def test_every_link_leads_somewhere(run: Run) -> None:
    outline = Outline(html(run))
    assert len(set(outline.ids)) == len(outline.ids)
    assert outline.links and {link.removeprefix("#") for link in outline.links} <= set(outline.ids)


def test_tables_have_captions_and_scopes(run: Run) -> None:
    page = html(run)
    assert page.count("<table>") == page.count("<caption>") > 5
    assert not re.search(r"<th(?! scope=)[ >]", page)


def test_same_run_same_bytes(run: Run) -> None:
    assert html(run) == html(run) == html(from_json(to_json(run)))


def test_the_model_run(run: Run) -> None:
    page = html(run)
    layers = cells(page, "Layers after the last round")
    assert layers["0.weight"] == ["100", "4", "0.04", "alive"]
    assert layers["3.weight"] == ["300", "0", "0", "empty since round 3"]
    rounds = cells(page, "Every round")
    assert rounds["1"] == ["200", "200", "0.5", "2\N{MULTIPLICATION SIGN}", "1.5", "\N{EN DASH}"]
    assert cells(page, "Laws along the run, by round")["A1 neuron_conservation"][2] == "3"


def test_evidence_says_what_no_failure_excludes(run: Run) -> None:
    row = cells(html(run), "Evidence on good")["A1 neuron_conservation"]
    assert "0 of 300: below 1.00%" in row and "0.25" in row and "exact 600, order 300" in row
    assert cells(html(run), "Evidence on bad")["S2 positivity"][-2] == "found within 300"


def test_a_run_of_nothing() -> None:
    assert "Nothing was verified" in html(Run({}, [], [], []))


def test_a_models_map_says_what_holds_where_and_why_not_elsewhere(clean: Run) -> None:
    layers = nn.Linear(4, 3), nn.Softmax(1), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)
    network = trace(nn.Sequential(*layers).double(), torch.ones(1, 4, dtype=torch.float64))
    data = torch.ones(2, 4, dtype=torch.float64), torch.tensor([0, 1])
    run = replace(clean, maps=[inspection(HOSTILE, Problem(network, data, LOSSES["cross-entropy"], 0))])
    page = html(from_json(to_json(run)))
    Outline(page)
    assert HOSTILE not in page and "3 of 6 hidden units" in page
    modules = cells(page, "Modules in the order in which they run")
    assert modules["1"] == ["softmax", "no degree", ""] and modules["2"][-1] == "3 of 3"
    assert "degree" in cells(page, "Units that may not balance")["1"][0]
    why = cells(page, "Laws that can't be applied to it, and why".replace("'", "&#39;"))
    assert any("A2" in row[0] and "1: softmax" in reason for reason, row in why.items())
