"""`prunelaws frontier`: the table, the page, and what it says of what it can't do."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from conftest import Run

from theory.frontier.journal import alone_in

METHODS = ("synflow", "synflow@mass-safe", "synflow@one-shot", "magnitude", "random", "snip")


class Seen(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [str(value) for name, value in attrs if name in ("src", "href")]


def test_each_method_has_both_edges_and_the_page_loads_nothing(run: Run, tmp_path: Path) -> None:
    arguments = ("frontier", *METHODS, "--model", "conv", "-o", str(tmp_path))
    ended = run(*arguments, "--json")
    assert ended.status == 0, ended.err
    data = json.loads(ended.out)
    found = {r["method"]: r for r in data["results"]}
    assert tuple(found) == METHODS
    assert [found[m]["way"] for m in METHODS] == ["search", "one run", "ranks", "ranks", "ranks", "ranks"]
    for result in found.values():
        assert result["weights"] == sum(result["sizes"]) and result["shortest_path"] == 3
        for edge in (result["emptied"], result["broken"]):
            assert edge["lost"] is None or 0 < edge["lost"] < edge["held"]
            assert not result["exact"] or edge["lost"] is None or edge["held"] == edge["lost"] + 1
    assert found["synflow@mass-safe"]["broken"] == {"held": 3, "lost": None, "layers": []}
    assert found["synflow@one-shot"]["broken"]["held"] > 1000
    assert list(found["snip"]["carries"].values()) == pytest.approx([1.0] * 3)
    page = (tmp_path / "frontier.html").read_text()
    seen = Seen(page)
    assert seen.addresses and all(address.startswith("#") for address in seen.addresses)
    assert "script" not in seen.tags and seen.tags.count("svg") == len(METHODS) + 1
    assert json.loads((tmp_path / "frontier.json").read_text()) == data
    again = run(*arguments)
    assert again.status == 0 and (tmp_path / "frontier.html").read_text() == page
    assert "synflow@mass-safe" in again.out and "none to 112,587" in again.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("synflow@slow", "--model", "conv"), "there is no schedule 'slow' as in 'synflow@slow'; wanted one of"),
        (("nothing", "--model", "conv"), "there is no pruner 'nothing'"),
        (("synflow", "--model", "nothing"), "there is no model 'nothing'"),
        (("synflow", "--model", "mine.py:curved"), "live paths can't be told on 'mine.py:curved'"),
    ],
)
def test_what_can_t_be_had_is_said_in_a_line(run: Run, words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    ended = run("frontier", *words, "-o", str(tmp_path / "out"))
    assert ended.status == 2 and told in ended.err and "Traceback" not in ended.err


def test_a_method_that_fails_is_named_and_the_others_are_shown(run: Run, tmp_path: Path) -> None:
    ended = run("frontier", "mine.py:not_a_number", "magnitude@mass-safe", "magnitude", "--model", "mine.py:small",
                "-o", str(tmp_path))  # fmt: skip
    assert ended.status == 3
    assert "mine.py:not_a_number on mine.py:small, seed 0: " in ended.err and "NaN" in ended.err
    assert "which 'magnitude' does not claim" in ended.err
    assert len(json.loads((tmp_path / "frontier.json").read_text())["results"]) == 1


def test_names_are_shown_as_text(run: Run, tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(
        "import torch\n"
        "def net():\n"
        "    model = torch.nn.Sequential()\n"
        "    model.add_module('<b>', torch.nn.Linear(3, 4))\n"
        "    model.add_module('last', torch.nn.Linear(4, 2))\n"
        "    return model, torch.ones(1, 3)\n"
    )
    ended = run("frontier", "magnitude", "--model", f"{tmp_path / 'odd.py'}:net", "-o", str(tmp_path / "out"))
    assert ended.status == 0, ended.err
    page = (tmp_path / "out" / "frontier.html").read_text()
    assert "<b>." not in page and "&lt;b&gt;" in page


def test_an_interrupted_one_says_that_it_goes_on(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("theory.frontier.runs.prune_at_best", interrupted)
    ended = run("frontier", "synflow", "--model", "mine.py:small", "-o", str(tmp_path))
    assert ended.status == 130 and "the same command goes on from here" in ended.err


def test_two_at_a_time_in_one_folder_are_one_too_many(run: Run, tmp_path: Path) -> None:
    with alone_in(tmp_path / "progress"):
        ended = run("frontier", "magnitude", "--model", "mine.py:small", "-o", str(tmp_path))
    assert ended.status == 2 and "another frontier is being made" in ended.err
    assert run("frontier", "magnitude", "--model", "mine.py:small", "-o", str(tmp_path)).status == 0
