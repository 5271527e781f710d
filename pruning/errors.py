"""Errors: of models that can't be scored, and those of other code, retold in one line."""


class ModelError(ValueError):
    """A model that can't be scored, with the reason and what to do."""


def retold(error: BaseException) -> str:
    """The error's type and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__
