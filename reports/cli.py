"""The command `prunelaws`: its verbs, and every way it can end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import typer

from pruning.errors import UsageError
from reports.verbs.catalogue import explain, list_
from reports.verbs.certify import certify
from reports.verbs.common import INTERRUPTED, OK, UNVERIFIED, USAGE, note
from reports.verbs.compare import compare
from reports.verbs.discover import discover
from reports.verbs.frontier import frontier
from reports.verbs.inspect import inspect
from reports.verbs.profile import profile
from reports.verbs.prune import prune
from reports.verbs.repro import repro
from reports.verbs.verify import verify

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Holds neural-network pruners to their theory. Results go to stdout, progress and notes to stderr.\n\n"
    "Exit status: 0 every claim and contract kept; 1 a claim refuted or a contract broken; 2 usage; "
    "3 a claim or the whole run could not be tested, or a fault of our own; 130 interrupted.",
)
VERBS: dict[str, Callable[..., None]] = {
    "verify": verify,
    "compare": compare,
    "profile": profile,
    "prune": prune,
    "certify": certify,
    "frontier": frontier,
    "inspect": inspect,
    "discover": discover,
    "list": list_,
    "explain": explain,
    "repro": repro,
}
for name, verb in VERBS.items():
    app.command(name)(verb)


def main() -> None:
    """Run the command; every way it can end has its exit status."""
    try:
        status = app(standalone_mode=False) or OK
        sys.stdout.flush()
        sys.exit(_interrupted() if status == INTERRUPTED else status)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(_interrupted())
    except BrokenPipeError:  # the reader has had enough, such as `head`; Python would complain again while it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(OK)
    except UsageError as error:
        sys.exit(_said(" ".join(str(error).split()), USAGE))
    except OSError as error:
        told = f"{error.filename or 'output'}: {error.strerror}" if error.errno else str(error)
        sys.exit(_said(told, UNVERIFIED))
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            sys.exit(_said("name a verb, such as verify; `prunelaws --help` shows them all", USAGE))
        if type(error).__module__.startswith(("click", "typer")):
            sys.exit(_said(error.format_message() if hasattr(error, "format_message") else str(error), USAGE))
        import traceback

        traceback.print_exc()
        sys.exit(_said("this is a fault of prunelaws itself, not of your pruner; please report it", UNVERIFIED))


def _interrupted() -> int:
    return _said("interrupted; files of earlier runs are as they were", INTERRUPTED)


def _said(text: str, status: int) -> int:
    note(text)
    return status
