"""`prunelaws profile`: what a pruner could claim, tried and ready to paste."""

import json

from conftest import Run

from pruning.pruner import Claim
from pruning.pruners import built_in


def test_a_bare_function_gets_the_claims_that_survive_and_the_networks_that_break_the_others(run: Run) -> None:
    ended = run("profile", "mine.py:magnitude", "--examples", "8")
    assert ended.status == 0, ended.err
    assert (
        "neuron conserved              broken    neuron_conservation: unit 0 after layer 0: 1 in, 2 out; Net("
        in ended.out
    )
    assert "union bound                   untested  magnitude has no objective" in ended.out
    pasted = eval(ended.out[ended.out.index("claims={") + len("claims=") :], {"Claim": Claim})
    assert {Claim.POSITIVE, Claim.EXACT_BUDGET, Claim.DATA_FREE, Claim.SIGN_INVARIANT} <= pasted
    assert not pasted & {Claim.NEURON_CONSERVED, Claim.RESCALE_INVARIANT, Claim.UNION_BOUND}
    held = run("verify", "mine.py:magnitude", "--examples", "2", *(w for c in pasted for w in ("--claim", c.value)))
    assert held.status == 0, held.out


def test_laws_that_speak_of_some_claims_alone_are_tried_once_those_survived(run: Run) -> None:
    found = json.loads(run("profile", "synflow", "--examples", "4", "--json").out)
    assert set(found["survived"]) == set(built_in()["synflow"].claims)
    one = next(one for one in found["discovered"] if one["architecture"] == "MLP 3-4-3-2")
    assert (one["found"], one["explained"]) == (7, 7)


def test_a_broken_contract_is_told_first_and_fails(run: Run) -> None:
    ended = run("profile", "mine.py:changes_weights", "--examples", "1")
    assert ended.status == 1 and "broken contract: purity; mend that first" in ended.out


def test_masks_alone_have_no_scores_to_discover(run: Run) -> None:
    ended = run("profile", "mine.py:masks_alone", "--examples", "2")
    assert ended.status == 0, ended.err
    assert "exact budget" in ended.out and "discovery" not in ended.out
    assert "positive                      untested  masks alone gives masks, no scores" in ended.out
    assert run("discover", "mine.py:masks_alone").status == 2
