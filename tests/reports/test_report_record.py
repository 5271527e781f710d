"""A record survives the way to JSON and back, and whatever is no record is refused in one line."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from reports.record import from_json, schema, to_json
from theory.verdict import SCHEMA_VERSION, Run
from theory.witness.files import witness_name


def test_back_from_json(run: Run) -> None:
    again = from_json(to_json(run))
    assert repr(again) == repr(run)
    assert again.failures == [v for v in again.verdicts if v.failed] and len(again.failures) == 2


def test_infinities_and_nan_come_back_as_floats(run: Run) -> None:
    again = from_json(to_json(run))
    mass, cut = again.runs[0].mass, again.runs[0].cut
    assert mass[1] == math.inf and math.isnan(mass[2])
    assert math.isnan(cut[0]) and cut[2] == -math.inf
    margins = {(v.law, v.pruner): v.margin for v in again.verdicts}
    assert isinstance(margins["neuron_conservation", "bad"], float)
    assert math.isnan(margins["neuron_conservation", "bad"])
    assert next(v for v in again.verdicts if v.gain is not None).gain == math.inf
    assert margins["leave_one_out", "bad"] is None


def test_a_witness_of_infinities(run: Run) -> None:
    broken = next(v for v in run.verdicts if v.witness)
    assert broken.witness is not None
    extreme = replace(run, verdicts=[replace(broken, witness=replace(broken.witness, left=math.inf, right=math.nan))])
    witness = from_json(to_json(extreme)).verdicts[0].witness
    assert witness is not None
    assert witness.left == math.inf and math.isnan(witness.right)


def test_the_json_is_standard_and_stable(run: Run) -> None:
    text = to_json(run)
    assert text.endswith("}\n") and text.startswith('{\n "provenance"')
    assert to_json(run) == text == to_json(from_json(text))

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    data = json.loads(text, parse_constant=refuse)
    assert "standing" not in data["verdicts"][0] and "failed" not in data["verdicts"][0]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_truncated(run: Run, share: float) -> None:
    text = to_json(run)
    with pytest.raises(ValueError, match="truncated or not JSON") as caught:
        from_json(text[: int(share * len(text))])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "null", "3", '{"a": 1}', '{"version": true, "verdicts": []}', "[" * 100_000])
def test_foreign(text: str) -> None:
    with pytest.raises(ValueError, match="no record of a prunelaws run") as caught:
        from_json(text)
    assert "\n" not in str(caught.value)


def test_other_versions(run: Run) -> None:
    data = json.loads(to_json(run))
    newer = json.dumps(data | {"version": SCHEMA_VERSION + 1})
    with pytest.raises(ValueError, match=f"version {SCHEMA_VERSION + 1}, newer than .* update prunelaws"):
        from_json(newer)
    with pytest.raises(ValueError, match="older"):
        from_json(json.dumps(data | {"version": 0}))


def test_damaged(run: Run) -> None:
    data = json.loads(to_json(run))
    del data["verdicts"][2]["outcome"]
    with pytest.raises(ValueError, match=r"verdicts\.2\.outcome: .*required") as caught:
        from_json(json.dumps(data))
    assert "\n" not in str(caught.value)


def test_damaged_laws_and_runs(run: Run) -> None:
    data = json.loads(to_json(run))
    del data["laws"][1]["statement"]
    with pytest.raises(ValueError, match="statement"):
        from_json(json.dumps(data))
    data = json.loads(to_json(run))
    data["runs"][0]["kept"][1].pop()
    with pytest.raises(ValueError, match="differ in length"):
        from_json(json.dumps(data))


def test_the_schema_names_every_field(run: Run) -> None:
    made = schema()
    assert set(made["properties"]) == set(asdict(run))
    assert set(made["$defs"]["Verdict"]["properties"]) == set(asdict(run.verdicts[0]))
    assert made["properties"]["version"] == {"const": SCHEMA_VERSION}
    assert made["$defs"]["Witness"]["properties"]["left"]["anyOf"][1] == {"enum": ["Infinity", "-Infinity", "NaN"]}


def test_witnesses_are_named_as_they_are_saved(run: Run, tmp_path: Path) -> None:
    from theory.witness.files import save_witness

    for verdict in run.verdicts:
        if verdict.witness:
            saved = save_witness(verdict.witness, tmp_path)
            assert saved.name == witness_name(verdict.law, verdict.pruner)
