"""How float32 leads elsewhere, as the page, the Markdown and the terminal show it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from test_report_page import HOSTILE, Outline, cells

from reports.blocks import Chart
from reports.chart import BOTTOM, LEFT, RIGHT, TOP, drawing
from reports.markdown import markdown
from reports.page import html
from reports.record import from_json, to_json
from reports.terminal import as_text
from theory.verdict import PrecisionRecord, Run

DIED = "the scorer of 'synflow' returned 0 NaN and 9 infinite scores of 9 for '0.weight'"


def record(**more: object) -> PrecisionRecord:
    """Twelve rounds, of which the third is the first to differ."""
    kept = [1 << (14 - r) for r in range(12)]
    made = PrecisionRecord("synflow", "vgg16", kept, kept, [0, 0, 1, 2, 0, 3, 4, 4, 5, 6, 7, 4])
    return replace(made, **more)


def same(**more: object) -> PrecisionRecord:
    return record(exchanged=[0] * 12, **more)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (record(), "Of 8 weights kept in float64, 4 are others in float32 (50 %); the first differ in round 3."),
        (same(), "0 of 8 weights kept in float64 are others in float32: the masks are the same in all 12 rounds."),
        (
            record(exchanged=[0, 1, *[0] * 10]),
            "0 of 8 weights kept in float64 are others in float32 in the end; "
            "the masks differ in 1 round, first in round 2.",
        ),
        (
            same(kept_float32=[*record().kept[:11], 11]),
            "Of 8 weights kept in float64, float32 keeps 11 and lacks 0 (0 %); the first differ in round 12.",
        ),
        (
            record(exchanged=[0, 0, 1], kept_float32=record().kept[:3], ended=DIED),
            f"The float32 run ended in round 4 of 12: {DIED}. After round 3: Of 4,096 weights kept in float64, "
            "1 are others in float32 (0.0244 %); the first differ in round 3.",
        ),
        (record(exchanged=[], kept_float32=[], ended=DIED), f"The float32 run ended in round 1 of 12: {DIED}."),
        (same(flat=[11, 12]), "In 2 rounds, first in round 11, every score was 0 in float32 and not in float64"),
        (same(drawn=True), "This pruner asks for random numbers"),
    ],
)
def test_each_end_is_said_everywhere(clean: Run, made: PrecisionRecord, said: str) -> None:
    run = replace(clean, precision=[made])
    page = " ".join(re.sub(r"<[^>]*>", "", html(run)).replace("&#39;", "'").split())
    assert said in page
    assert said in as_text(run, Path("out"))
    written = markdown(run).replace("\\", "")
    assert said in written and "…" not in written.split("## The same runs in float32")[1].split("\n## ")[0]


def test_no_such_runs_no_section(clean: Run) -> None:
    assert "precision" not in html(clean) and "float32" not in as_text(clean, Path("out"))


def test_about_ten_rounds_with_the_first_that_differs(clean: Run) -> None:
    page = html(replace(clean, precision=[record()]))
    rows = cells(page, "Every round in both")
    assert rows["3"] == ["4,096", "4,096", "1", "0.0244 %"] and len(rows) == 12
    long = record(kept=[100] * 100, kept_float32=[100] * 100, exchanged=[*[0] * 32, *[7] * 68])
    shown = cells(html(replace(clean, precision=[long])), "12 of 100 rounds in both; the others are in run.json")
    assert list(shown) == ["1", "10", "20", "30", "33", "40", "50", "60", "70", "80", "90", "100"]


def test_the_line_has_a_text_beside_it_and_nothing_that_runs(clean: Run) -> None:
    page = html(replace(clean, precision=[record(), same()]))
    Outline(page)
    assert page.count("<svg ") == 1, "where nothing differs, there is no line to draw"
    said = "From 0.0244 % in round 3 to 50 % in round 12; at most 50 %, in round 12."
    assert f'role="img" aria-label="{said}"' in page and said in markdown(replace(clean, precision=[record()]))
    assert "<script" not in page and 'class="course"' in page


def test_names_and_reasons_are_never_markup(clean: Run) -> None:
    named = record(pruner=HOSTILE, model=HOSTILE, exchanged=[1, 2], kept_float32=record().kept[:2], ended=HOSTILE)
    page = html(replace(clean, precision=[named]))
    assert "<script" not in page.lower() and "script" not in Outline(page).tags
    outside_code = re.sub(r"`[^`\n]*`", "", markdown(replace(clean, precision=[named])))
    assert "<script" not in outside_code


def test_a_line_lies_within_its_axes_and_breaks_where_nothing_differs() -> None:
    made = drawing(Chart("c", "t", "Round", (0.0, 0.001, 0.0, 0.02, 1.0)))
    lines = [list(map(float, re.findall(r"[\d.]+", part))) for part in made.path.split("M")[1:]]
    across = (RIGHT - LEFT) / 4
    assert lines[0] == [LEFT + across, BOTTOM] * 2
    assert lines[1][:2] == lines[1][2:4] and lines[1][-2:] == [RIGHT, TOP]
    assert [label.text for label in made.up] == ["0.1 %", "1 %", "10 %", "100 %"]
    assert [label.text for label in made.across] == ["1", "2", "3", "4", "5"]
    assert [label.text for label in drawing(Chart("c", "t", "Round", (0.5,) * 100)).across][:3] == ["1", "20", "40"]
    assert [label.text for label in drawing(Chart("c", "t", "Round", (1.0, 1.0))).up] == ["10 %", "100 %"]


def test_back_from_json_and_from_an_older_record_that_has_none(clean: Run) -> None:
    run = replace(clean, precision=[record(flat=[12], drawn=True)])
    assert from_json(to_json(run)) == run
    older = json.loads(to_json(run))
    del older["precision"]
    assert from_json(json.dumps(older)) == clean


@pytest.mark.parametrize("damage", [{"exchanged": [0]}, {"kept_float32": [1]}, {"ended": "x"}, {"kept": [1]}])
def test_rounds_that_do_not_fit_are_no_record(clean: Run, damage: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="the float32 run of 'synflow' on 'vgg16' has lists of rounds"):
        from_json(to_json(replace(clean, precision=[record(**damage)])))
