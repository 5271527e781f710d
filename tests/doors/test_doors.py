"""Four doors to the same verdicts, tried from a user's own folder that has packages of our names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo  # which torch loads when it needs it, and can't load twice: pytester forgets what a session loaded

from prunelaws import check_pruner, untested
from pruning.errors import UsageError
from pruning.pruners import built_in
from theory.verdict import Outcome, Standing, Verdict, overall
from theory.witness.files import save_witness

ROOT = Path(__file__).resolve().parents[2]
LAWS = "A1,B12a,M0"
EXAMPLES, SEED = 2, 3

PYPROJECT = """
[tool.pytest.ini_options]
addopts = ["--strict-markers", "--strict-config", "-p", "no:cacheprovider"]
filterwarnings = ["error"]
"""
THEIRS = "def sizes(weights):\n    return {n: w.abs() for n, w in weights.items()}\n"
MINE = """
from prunelaws import Claim, scored
from theory import sizes

def score(network, state, probe):
    return sizes(state.effective)

mine = scored("mine", score, claims={Claim.POSITIVE, Claim.NEURON_CONSERVED})
"""
DECORATED = """
from mine import mine
from prunelaws import parametrize_with_laws

@parametrize_with_laws([mine])
def test_mine(check):
    check()
"""
CALLED = """
import json
from dataclasses import asdict
from dataclasses import replace
from pathlib import Path
from mine import mine
from prunelaws import check_pruner

def test_mine():
    found = check_pruner(mine, laws={laws!r}.split(","), examples={examples}, seed={seed})
    Path("called.json").write_text(json.dumps([asdict(v) for v in found]))
"""


@pytest.fixture
def folder(pytester: pytest.Pytester) -> Path:
    """A user's project: a pruner in a module of theirs, which uses a package of theirs that is named as ours is."""
    pytester.makepyprojecttoml(PYPROJECT)
    pytester.mkpydir("theory").joinpath("__init__.py").write_text(THEIRS)
    pytester.mkdir("pruning").joinpath("plan.py").write_text("")  # without __init__.py
    pytester.makepyfile(mine=MINE)
    return pytester.path


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "COV"))}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def plain(verdicts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Verdicts without what depends on the clock and on which law came first, in one order."""
    rest = [{k: v for k, v in verdict.items() if k not in ("seconds", "looped")} for verdict in verdicts]
    return sorted(rest, key=lambda v: (v["law"], v["ground"]))


def recorded(path: Path) -> list[dict[str, Any]]:
    return plain(json.loads(path.read_text())["verdicts"])


def test_all_four_doors_give_the_same_verdicts_beside_packages_of_the_same_names(folder: Path) -> None:
    options = [f"--prunelaws-laws={LAWS}", f"--prunelaws-examples={EXAMPLES}", f"--prunelaws-seed={SEED}"]

    (folder / "test_called.py").write_text(CALLED.format(laws=LAWS, examples=EXAMPLES, seed=SEED))
    (folder / "test_decorated.py").write_text(DECORATED)
    both = ("-v", "test_called.py", "test_decorated.py")
    decorated = run(folder, "pytest", *both, *options, "--prunelaws-report=decorated")
    assert decorated.returncode == 1
    assert "test_called.py::test_mine PASSED" in decorated.stdout, decorated.stdout
    assert "mine claims 'neuron conserved' but breaks neuron_conservation\n" in decorated.stdout
    found = plain(json.loads((folder / "called.json").read_text()))
    assert recorded(folder / "decorated" / "run.json") == found

    named = run(
        folder, "pytest", "-n1", "--prunelaws-pruner=mine:mine", *options, "--prunelaws-report=named", "mine.py"
    )
    assert named.returncode == 1, named.stdout
    assert recorded(folder / "named" / "run.json") == found

    asked = ("verify", "mine:mine", "--laws", LAWS, "--examples", str(EXAMPLES), "--seed", str(SEED), "-o", "verified")
    verified = run(folder, "prunelaws", *asked)
    assert verified.returncode == 1, verified.stderr
    assert recorded(folder / "verified" / "run.json") == found

    names = [v["law"] for v in found if v["outcome"] == "broken"]
    assert set(names) == {"neuron_conservation", "neuron_rescaling"}
    kept = {p.name for p in (folder / "decorated" / "witnesses").iterdir()}
    assert kept == {p.name for p in (folder / "verified" / "witnesses").glob("*.json")}


def test_a_session_without_laws_loads_nothing_of_ours(folder: Path) -> None:
    (folder / "test_theirs.py").write_text(
        "import sys\nimport theory\n\ndef test_theirs():\n"
        "    assert 'prunelaws' in sys.modules and 'torch' not in sys.modules and 'hypothesis' not in sys.modules\n"
        "    assert theory.sizes and not any(name.startswith('prunelaws_rooms') for name in sys.modules)\n"
    )
    ended = run(folder, "pytest", "-p", "prunelaws", "-p", "no:hypothesispytest", "test_theirs.py")
    assert ended.returncode == 0, ended.stdout
    assert "prunelaws:" not in ended.stdout


BRIEF = {"laws": ["A1", "B12a", "S2"], "examples": 2}


def magnitude(network: Any, state: Any, probe: Any) -> Any:
    return {n: w.abs() for n, w in state.effective.items()}


def stands(verdicts: list[Verdict], law: str) -> Standing:
    from theory.verdict import standing

    own = [v for v in verdicts if v.law == law]
    return standing(overall(own), own[0].claimed or own[0].contract)


def test_a_bare_function_is_held_to_what_it_is_said_to_claim() -> None:
    assert stands(check_pruner(magnitude, **BRIEF), "neuron_conservation") is Standing.BROKEN
    found = check_pruner(magnitude, claims=["neuron-conserved"], **BRIEF)
    assert stands(found, "neuron_conservation") is Standing.REFUTED
    assert {v.law for v in found if v.failed} == {"neuron_conservation"}


def test_networks_of_more_weights_are_passed_over() -> None:
    every, few = (check_pruner(magnitude, max_params=most, **BRIEF) for most in (None, 12))
    assert 0 < sum(v.cases for v in few) < sum(v.cases for v in every)
    known = check_pruner(magnitude, max_params=1, laws=["A1", "B14"], examples=1)
    assert {(v.law, v.ground) for v in known} == {("neuron_conservation", "networks known to break it")}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"laws": ["A99"]}, "there is no law 'A99'"),
        ({"claims": ["kind"]}, "there is no claim 'kind'"),
        ({"device": "moon"}, "the device 'moon' can't be used here"),
    ],
)
def test_what_there_is_not_is_told(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_pruner(magnitude, **arguments)


def test_no_examples_are_refused() -> None:
    with pytest.raises(ValueError, match="examples is 0, wanted at least 1"):
        check_pruner(magnitude, examples=0)
    with pytest.raises(UsageError, match=r"wanted a prunelaws\.Pruner"):
        check_pruner(3)


CLAIMING = """
from prunelaws import Claim, parametrize_with_laws

def score(network, state, probe):
    return {n: w.abs() for n, w in state.effective.items()}

@parametrize_with_laws([score], claims=[%s], laws=[%s], examples=1)
def test_score(check):
    check()
"""


@pytest.mark.parametrize(
    ("claims", "laws", "options", "status", "said"),
    [
        ("'union bound'", "'B6'", (), 1, "score claims 'union bound', and no law could test that: "),
        ("", "'A1'", (), 0, "broken, not claimed: "),
        ("", "'B6'", (), 5, "nothing that was checked was more than trivial: this run verifies nothing"),
        ("", "'S2'", ("--prunelaws-laws=S3",), 5, "deselected"),
        ("", "'S2'", ("--prunelaws-laws=S99",), 4, "prunelaws: there is no law 'S99'"),
        ("", "'S2'", ("--prunelaws-examples=many",), 4, "--prunelaws-examples is 'many', wanted a whole number"),
        ("", "'S2'", ("--prunelaws-pruner=nowhere:mine",), 4, "nowhere can't be imported"),
        ("", "'S2'", ("--prunelaws-pruner=snip",) * 2, 4, "two of the pruners are named 'snip'"),
    ],
)
def test_how_a_session_ends(
    pytester: pytest.Pytester, claims: str, laws: str, options: tuple[str, ...], status: int, said: str
) -> None:
    pytester.makepyfile(test_score=CLAIMING % (claims, laws))
    ended = pytester.runpytest_inprocess("-rs", "-p", "no:cacheprovider", *options)
    assert ended.ret == status, str(ended.outlines)
    assert said in "\n".join(ended.outlines + ended.errlines)


def test_the_ini_file_says_what_the_command_line_does_not(pytester: pytest.Pytester) -> None:
    pytester.makeini(
        "[pytest]\nprunelaws_pruner = synflow\nprunelaws_laws =\n    A1,S2\n    B12a\nprunelaws_examples = 1\n"
        "prunelaws_max_params = 40\n"
    )
    ended = pytester.runpytest_inprocess("-v", "-p", "no:cacheprovider")
    assert ended.ret == 0, str(ended.outlines)
    tests = [line.split(" ")[0] for line in ended.outlines if line.startswith("prunelaws::")]
    assert tests == [
        "prunelaws::synflow[neuron_conservation]",
        "prunelaws::synflow[neuron_rescaling]",
        "prunelaws::synflow[positivity]",
        "prunelaws::synflow[claim_neuron_conserved]",
        "prunelaws::synflow[claim_positive]",
        "prunelaws::synflow[claim_rescale_invariant]",
    ]
    named = pytester.runpytest_inprocess("-p", "no:cacheprovider", "--prunelaws-laws=A1", "--co", "-q")
    assert named.outlines[:2] == tests[0::3]
    assert named.outlines[-1].startswith("2 tests collected")


def test_networks_known_to_break_a_law_are_tried_before_any_search(tmp_path: Path) -> None:
    found = check_pruner(magnitude, laws=["A1"], examples=1, max_params=1)  # no random network is that small
    assert [(v.ground, v.outcome) for v in found] == [("networks known to break it", Outcome.BROKEN)]
    own = found[0].witness
    assert own is not None and (own.network, own.pruner) == ("Net(Dense([[1]]), Dense([[2]]))", "magnitude")
    wide = {**own.spec, "values": {n: (3 * torch.tensor(v)).tolist() for n, v in own.spec["values"].items()}}
    save_witness(replace(own, pruner="mine", spec=wide), tmp_path)
    one, two = (check_pruner(magnitude, laws=["A1"], examples=1, max_params=1, corpus=c) for c in (None, str(tmp_path)))
    assert two[0].cases == 1 and one[0].cases == 1  # it stops at the first that breaks it
    held = [
        check_pruner(built_in()["synflow"], laws=["A1"], examples=1, max_params=1, corpus=c)[0].cases
        for c in (None, str(tmp_path))
    ]
    assert held[1] == held[0] + 1
    with pytest.raises(ValueError, match="there is no folder 'nowhere'"):
        check_pruner(magnitude, corpus="nowhere")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-n1", "--prunelaws-pruner=nofile.py:x"), "prunelaws: there is no file 'nofile.py'"),
        (("--prunelaws-report=test_score.py",), "prunelaws: the folder 'test_score.py' can't be written to"),
        (("--prunelaws-seed=-1",), "--prunelaws-seed is '-1', wanted a whole number"),
    ],
)
def test_options_that_can_t_be_met_are_told_before_anything_runs(
    pytester: pytest.Pytester, options: tuple[str, ...], said: str
) -> None:
    pytester.makepyfile(test_score=CLAIMING % ("", "'S2'"))
    ended = pytester.runpytest_inprocess("-p", "no:cacheprovider", *options)
    told = "\n".join(ended.outlines + ended.errlines)
    assert ended.ret == 4 and said in told
    assert "Traceback" not in told and "passed" not in told


def test_claims_that_no_law_could_test_are_named() -> None:
    found = check_pruner(magnitude, claims="union bound", laws="B6", examples=1)
    assert [(pruner, claim) for pruner, claim, _ in untested(found)] == [("magnitude", "union bound")]
    assert untested(check_pruner(magnitude, claims="positive", laws="S2", examples=1)) == []


@pytest.mark.parametrize("arguments", [{"examples": 2.5}, {"examples": "3"}, {"seed": -1}, {"max_params": 0}])
def test_numbers_out_of_range_are_told(arguments: dict[str, Any]) -> None:
    name = next(iter(arguments))
    with pytest.raises(ValueError, match=f"{name} is .*, wanted at least [01], a whole number"):
        check_pruner(magnitude, **arguments)
