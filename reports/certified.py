"""What a certificate turned out to say, as data and in words."""

from __future__ import annotations

from typing import Any

from pruning.certificate import Certificate
from pruning.network import Network
from reports.pairs import counted
from reports.pruning_run import collapse_record
from reports.terminal import collapse_text
from theory.oracles.certificate import Finding

SAFE = "no cut could have been emptied"


def finding_record(network: Network, made: Certificate, found: Finding) -> dict[str, Any]:
    """Rounds as they were found again; collapse: after the first round that failed, or at the end."""
    stop = found.failed or made.rounds
    before, after = ({*made.masks_at(r)} - _left(made, r) for r in (max(stop - 1, 0), stop))
    return {
        "safe": found.failed is None,
        "failed_round": found.failed,
        "emptied_then": sorted(after - before),
        "cut_after": found.after,
        "died_round": found.died,
        "collapse": collapse_record(network, made.masks_at(stop)),
        "masked": int((made.held["died"] == -1).sum()),
        "total": len(made.held["died"]),
        "origin": made.said["origin"],
        "rounds": [
            {"pruned_mass": mass, "cut_mass": cut, "margin": margin, "left": left}
            for mass, cut, margin, left in zip(
                found.mass.tolist(),
                found.cut.tolist(),
                found.margin.tolist(),
                made.held["left"].tolist(),
                strict=True,
            )
        ],
    }


def _left(made: Certificate, round_: int) -> set[str]:
    masks = made.masks_at(round_)
    return {n for n, kept in zip(masks, masks.kept_by_layer(), strict=True) if kept}


def finding_text(model: str, result: dict[str, Any]) -> str:
    """The verdict for people, and what it rests on."""
    origin, rounds = result["origin"], result["rounds"]
    left = rounds[-1]["left"] if rounds else result["total"] - result["masked"]
    text = (
        f"{origin['pruner']} on {model}, {origin['schedule']}, seed {origin['seed']}: {counted(len(rounds), 'round')}, "
        f"{result['total']:,} weights to {left:,}; every round found again in plain numpy\n"
    )
    if result["safe"] and not result["cut_after"]:  # a safe round leaves a path, so there was none
        return text + "nothing flowed through this network from the start: there is nothing to certify\n"
    if result["safe"]:
        text += f"{SAFE}: in every round the scores that were pruned are less than R, which each cut carries"
        if rounds:
            number, least = min(enumerate(rounds, 1), key=lambda r: r[1]["margin"])
            share = least["pruned_mass"] / least["cut_mass"]
            text += f"; most in round {number}, {share:.6f} of it, {least['margin']:.3g} of R beyond all roundings"
        return text + f"\nat the end R = {result['cut_after']:.6g}\n" + collapse_text(result["collapse"])
    return text + _failure(result)


def _failure(result: dict[str, Any]) -> str:
    number = result["failed_round"]
    round_ = result["rounds"][number - 1]
    share = round_["pruned_mass"] / round_["cut_mass"] if round_["cut_mass"] > 0 else float("inf")
    text = (
        f"round {number} could have emptied a cut, and the theorem says nothing from there on: it pruned scores of "
        f"{round_['pruned_mass']:.6g} where R, which each cut carries, is {round_['cut_mass']:.6g} "
        f"({share:.6f} of it)\n"
    )
    if result["emptied_then"]:
        text += f"layers emptied in that round: {', '.join(result['emptied_then'])}\n"
    what = (
        "R = 0: nothing flows any more" if not result["cut_after"] else f"R = {result['cut_after']:.6g}: paths are left"
    )
    died = result["died_round"]
    ends = f"; the last path died in round {died}" if died and died > number else ""
    return text + f"behind that round {what}{ends}\n" + collapse_text(result["collapse"])
