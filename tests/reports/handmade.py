"""Parts of a run, made by hand."""

from typing import Any

from theory.verdict import Outcome, Run, RunRecord, Verdict, Witness

GROUND = "dense, integer"


def a_law(name: str, id: str, claim: str | None) -> dict[str, Any]:
    return {
        "id": id,
        "name": name,
        "statement": f"The statement of {name}.",
        "source": f"Source of {name}",
        "subject": "scores",
        "claim": claim,
        "needs": ["every unit positively homogeneous"],
        "grades": ["exact", "order"],
        "impostor": f"impostor of {name}",
    }


def a_witness(law: str, pruner: str) -> Witness:
    return Witness(
        law=law,
        pruner=pruner,
        spec={"values": {"0.weight": [[1.0]], "2.weight": [[2.0]]}},
        network="Net(Dense([[1]]), Dense([[2]]))",
        shape="1-1-1",
        minimised_from="7-12-5",
        where="unit 0 after layer 0: 1 in, 2 out",
        left=1.0,
        right=2.0,
        relation="=",
    )


def a_verdict(law: str, pruner: str, outcome: Outcome, ground: str = GROUND, **more: Any) -> Verdict:
    id, claim = {name: (id, claim) for name, id, claim in LAWS}[law]
    checked = outcome in (Outcome.HELD, Outcome.BROKEN)
    given = {
        "claim": claim,
        "contract": claim is None,
        "claimed": False,
        "cases": 300 if checked else 0,
        "trivial": 20 if outcome is not Outcome.OUT_OF_SCOPE else 0,
        "out_of_scope": 320 if outcome is Outcome.OUT_OF_SCOPE else 0,
        "balances": 900 if checked else 0,
        "grades": {"exact": 600, "order": 300} if checked else {},
        "reason": "it has no objective" if outcome is Outcome.OUT_OF_SCOPE else None,
        "witness": a_witness(law, pruner) if outcome is Outcome.BROKEN else None,
        "where": "unit 0 after layer 0: 1 in, 2 out" if outcome is Outcome.BROKEN else None,
    }
    return Verdict(law=law, id=id, pruner=pruner, ground=ground, outcome=outcome, **(given | more))


LAWS = [
    ("neuron_conservation", "A1", "neuron conserved"),
    ("leave_one_out", "B3", "leave one out"),
    ("purity", "B14", None),
    ("positivity", "S2", "positive"),
]


def a_run(*verdicts: Verdict, claims: dict[str, list[str]], runs: list[RunRecord] | None = None) -> Run:
    return Run(
        provenance={"prunelaws": "0.1.0", "seed": "0"},
        laws=[a_law(name, id, claim) for name, id, claim in LAWS],
        pruners=[{"name": name, "claims": c, "objective": bool(c), "rounds": 1} for name, c in claims.items()],
        verdicts=list(verdicts),
        runs=runs or [],
    )
