"""Replaying a witness: whether a pruner still fails on it, said in four lines."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from pruning.errors import UsageError
from pruning.pruner import Pruner
from reports import terminal
from reports.loading import load_subject
from reports.verbs.common import FAILED, OK, UNVERIFIED, note
from theory.laws import laws_named
from theory.search import replay
from theory.verdict import Outcome, Witness
from theory.witness.files import checked


def repro(witness: Mapping[str, Any] | Witness, pruner: str | Pruner) -> int:
    """Run a witness again, from its own text, under a pruner, or that of a name or reference; say what came of it.

    Returns the exit status of `prunelaws repro`: 1 where it still breaks its law, 0 where it no longer does, 3 where
    the law says nothing of it. Raises UsageError for a pruner or law that there is not, or a witness that is none.
    """
    try:
        record = checked(witness if isinstance(witness, Witness) else Witness(**witness))
    except (TypeError, ValueError, KeyError) as error:
        raise UsageError(f"this is no witness that prunelaws wrote: {error}") from error
    law = next(iter(laws_named([record.law]).values()))
    subject = pruner if isinstance(pruner, Pruner) else load_subject(pruner)
    verdict = replay(record, law, subject)
    if verdict.outcome is Outcome.HELD:
        sys.stdout.write(f"{subject.name} keeps {law.name} on {record.network}: the failure is gone\n")
        return OK
    if verdict.outcome is Outcome.BROKEN:
        sys.stdout.write(terminal.failure_text(law, subject.name, record, verdict.where or ""))
        return FAILED
    note(f"{law.name} says nothing of {subject.name} on {record.network}: {verdict.reason or 'nothing flows'}")
    return UNVERIFIED
