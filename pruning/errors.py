"""Errors: of models that can't be scored, of users, and those of other code, retold in one line."""


class ModelError(ValueError):
    """A model that can't be scored, with the reason and what to do."""


class UsageError(Exception):
    """What the user asked for can't be done; the message says what was got, what was wanted and what to do."""


def retold(error: BaseException) -> str:
    """The error's type and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__
