"""Drawing shapes: Hypothesis' own generator, without the constants that it finds in whatever modules are loaded.

With those, one seed would mean other networks in every process.
"""

from __future__ import annotations

from hypothesis.internal.conjecture.providers import AVAILABLE_PROVIDERS, HypothesisProvider

BACKEND = "prunelaws"  # a name for hypothesis.settings(backend=...)


class SeedAlone(HypothesisProvider):
    """Choices that the seed decides, and nothing else."""

    def _maybe_draw_constant(self, *constraints: object, **probability: object) -> None:
        return None


AVAILABLE_PROVIDERS[BACKEND] = f"{__name__}.{SeedAlone.__name__}"
