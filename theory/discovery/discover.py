"""Discovery: all constant linear laws of an architecture's saliencies, from the null space of many random ones."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pruning.answers import call_objective, call_scorer, check_scores
from pruning.masks import Masks
from pruning.problem import Probe, Problem
from pruning.pruner import Pruner, State
from theory.case import Case
from theory.discovery.architecture import Architecture
from theory.discovery.explaining import Explained, Found, explained
from theory.discovery.nullspace import SPARE, NullSpace, columns_for, null_space
from theory.discovery.rows import Level, Rows, rows_of
from theory.discovery.stated.known import known_laws
from theory.subjects import the_loss

Progress = Callable[[str, int, int], None]  # what is being done; steps done, steps in all
PATIENCE = 64  # times as many samples as are wanted, before too few of them carry anything
NUMBERS_AT_ONCE = 2**22  # parameters of the problems that are scored together
DOUBLINGS = 6  # of the samples, while fresh ones show that a law was an accident


@dataclass(frozen=True, eq=False)
class Discovery:
    """What was found on one architecture.

    fresh: the largest relative residual of the laws on samples that had no part in finding them. idle: parameters
    whose saliency was 0 throughout.
    """

    architecture: Architecture
    rows: Rows
    space: NullSpace
    basis: Explained
    fresh: float
    idle: tuple[str, ...]
    seconds: float

    @property
    def laws(self) -> tuple[Found, ...]:
        """A basis of the laws."""
        return self.basis.laws

    @property
    def unexplained(self) -> list[Found]:
        """Those that the catalogue does not give."""
        return [law for law in self.laws if not law.explained]

    @property
    def convincing(self) -> bool:
        """Whether the gap is one, and the laws hold on fresh samples."""
        return self.space.convincing and self.fresh <= self.space.slack


def discover(
    architecture: Architecture,
    pruner: Pruner = the_loss,
    seed: int = 0,
    level: Level | None = None,
    progress: Progress | None = None,
) -> Discovery:
    """Every constant linear law of a pruner's scores on an architecture.

    Rows are the scores of the prunable weights and, where the pruner has an objective, the saliency of every other
    learned parameter; as fine as a null space of them can be had, or as `level` says. Raises ScoreError where a
    scorer fails.
    """
    start, tell = time.perf_counter(), progress or (lambda what, done, steps: None)
    graph = architecture.batch.network.graph
    spoken = set(architecture.shapes if pruner.objective is not None else graph.weights)
    rows = rows_of(graph, {n: s for n, s in architecture.shapes.items() if n in spoken}, level)
    sampler = Sampler(architecture, pruner, rows, torch.Generator().manual_seed(seed), tell)
    samples, fresh = sampler.taken(columns_for(rows.size)), sampler.taken(rows.size + SPARE)
    for _ in range(DOUBLINGS):
        live = (samples != 0).any(0)
        tell(f"{architecture.name}: null space of {int(live.sum()):,} rows", 0, 0)
        space = null_space(samples[:, live], scaled=True)
        left = _residual(space.basis, fresh[:, live])
        if left <= space.slack or not space.enough:
            break
        samples = torch.cat([samples, fresh])  # a piece of the network that few samples show was not seen before
        samples, fresh = torch.cat([samples, sampler.taken(len(samples))]), sampler.taken(rows.size + SPARE)
    basis = explained(rows, live, space, known_laws(architecture.batch, rows))
    return Discovery(
        architecture=architecture,
        rows=rows,
        space=space,
        basis=basis,
        fresh=left,
        idle=tuple(b.name for b, span in rows.spans() if not bool(live[span].any())),
        seconds=time.perf_counter() - start,
    )


@dataclass(frozen=True, eq=False)
class Sampler:
    """Draws problems of an architecture and scores them."""

    architecture: Architecture
    pruner: Pruner
    rows: Rows
    source: torch.Generator
    tell: Progress

    def taken(self, wanted: int) -> Tensor:
        """Samples (columns, rows) until `wanted` of them are not all zero, or patience ends. Raises ScoreError.

        Without an objective there may be chance in the scores: then each problem has a seed of its own.
        """
        alone = self.pruner.objective is None
        size = 1 if alone else max(1, min(wanted, NUMBERS_AT_ONCE // max(self.architecture.numbers, 1)))
        found, drawn, parts = 0, 0, list[Tensor]()
        while found < wanted and drawn < PATIENCE * wanted:
            self.tell(f"{self.architecture.name}: scoring", found, wanted)
            batch = replace(self.architecture.drawn(size, self.source), seed=self._seed())
            parts.append(self.rows.of(_saliencies(Case(batch, self.pruner))))
            drawn, found = drawn + size, found + int((parts[-1] != 0).any(1).sum())
        return torch.cat(parts)

    def _seed(self) -> int:
        return int(torch.randint(2**31, (), generator=self.source))


def _saliencies(case: Case) -> dict[str, Tensor]:
    """The scores, and theta * dR/dtheta of every other parameter: (batch, *shape). Raises ScoreError."""
    if case.pruner is the_loss:
        return case.each(lambda problem, masks: _of_objective(case, problem))
    scores = case.each(lambda problem, masks: _scores(case, problem, masks))
    check_scores(case.pruner.name, case.batch.weights, scores)
    others = case.each(lambda problem, masks: _of_objective(case, problem)) if case.pruner.objective else {}
    return {**others, **{n: s.to(case.dtype) for n, s in scores.items()}}


def _of_objective(case: Case, problem: Problem) -> dict[str, Tensor]:
    """theta * dR/dtheta of every parameter, whether R reads constants as they are or their neutral forms."""
    network = problem.network

    def value(w: dict[str, Tensor], fixed: dict[str, Tensor], neutral: dict[str, Tensor]) -> Tensor:
        moved = replace(network, fixed={**network.fixed, **fixed}, neutral={**network.neutral, **neutral})
        return call_objective(case.pruner, moved, w, Probe(problem))

    at = [
        {n: t for n, t in c.items() if t.is_floating_point()} for c in (network.weights, network.fixed, network.neutral)
    ]
    w, fixed, neutral = (
        {n: t * g[n] for n, t in a.items()} for a, g in zip(at, torch.func.grad(value, (0, 1, 2))(*at), strict=True)
    )
    return {**{n: fixed[n] + neutral[n] for n in fixed}, **w}


def _scores(case: Case, problem: Problem, masks: Masks) -> dict[str, Tensor]:
    weights = {n: w.clone() for n, w in problem.network.weights.items()}  # a scorer may not be pure
    network = replace(problem.network, weights=weights)
    return call_scorer(case.pruner, network, State(weights, masks), Probe(problem))


def _residual(vectors: Tensor, samples: Tensor) -> float:
    """The largest relative residual of vectors of norm 1 on samples."""
    if not len(vectors) or not len(samples):
        return 0.0
    left, size = (samples @ vectors.mT).abs(), samples.norm(dim=1, keepdim=True)
    return float((left / torch.where(size > 0, size, 1)).max())
