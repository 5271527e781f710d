"""Telling: a broken law in four lines: who claimed what, the law, the smallest network, and where, with the rerun."""

from __future__ import annotations

from theory.verdict import Verdict, Witness


def four_lines(verdict: Verdict, statement: str, network: str, rerun: str) -> str:
    """The lines about one broken law, without colour and without a newline at the end."""
    said = f"claims {verdict.claim!r} but breaks" if verdict.claimed else "breaks"
    contract = "the contract " if verdict.contract else ""
    return "\n".join(
        (
            flat(f"{verdict.pruner} {said} {contract}{verdict.law}"),
            f"  law      {flat(statement)}",
            f"  network  {network}",
            f"  where    {flat(verdict.where or 'not recorded')}    rerun: {rerun}",
        )
    )


def network_of(witness: Witness) -> str:
    """A witness's network on one line, with its size."""
    return f"{flat(witness.network)}    ({flat(size(witness))})"


def size(witness: Witness) -> str:
    """The shape of a witness, and what it was minimised from where that was larger."""
    small = witness.minimised_from == witness.shape
    return witness.shape if small else f"{witness.shape}, minimised from {witness.minimised_from}"


def flat(text: str) -> str:
    """Text on one line, without control characters."""
    return " ".join("".join(c if c.isprintable() or c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text).split())
