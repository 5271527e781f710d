"""Full size: a model as grounds to check laws on, along a pruner's run of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import torch

from pruning.answers import ScoreError
from pruning.fast.best import prune_at_best
from pruning.network import Network
from pruning.problem import Problem
from pruning.pruner import Claim, Pruner
from pruning.rounds import Trace
from pruning.schedule import Schedule, exponential
from theory.case import Case
from theory.law import Law, Subject, kinds_of
from theory.networks.batch import Batch
from theory.precision import beside_float32
from theory.search import Ground
from theory.sidebyside import Say
from theory.subjects import Stepper, Subjected
from theory.verdict import PrecisionRecord, RunRecord

FULL_COMPRESSION = 10_000  # a model is pruned to this, or to one weight per layer where that comes first
CHECKPOINTS = 4  # the laws of scores are checked before the first round, those of ALONG_A_RUN after each quarter

# what the theory says of every round; the other laws are checked before the first
ALONG_A_RUN = frozenset({Claim.NEURON_CONSERVED, Claim.LAYER_CONSERVED, Claim.POSITIVE, Claim.ZERO_WHEN_MASKED})


@dataclass(frozen=True)
class Model:
    """A full-size network to verify on: its name, and the problem in the precision and on the device to use.

    rounds: of the run; None is what each pruner has as published. float32: whether each run is made once more in
    float32, for which the problem must be in float64.
    """

    name: str
    problem: Problem
    rounds: int | None = None
    float32: bool = False

    def __post_init__(self) -> None:
        kinds = {w.dtype for w in self.network.weights.values()}
        if self.float32 and kinds != {torch.float64}:
            found = ", ".join(sorted(map(str, kinds)))
            raise ValueError(
                f"the model {self.name!r} is in {found}: float32 is compared with float64, so give it that"
            )

    @property
    def network(self) -> Network:
        """The network of the problem."""
        return self.problem.network

    def keep(self) -> int:
        """Weights that the run ends with."""
        total = sum(w.numel() for w in self.network.weights.values())
        return max(len(self.network.weights), round(total / FULL_COMPRESSION))


def model_grounds(
    model: Model, subject: Subjected, laws: Iterable[Law], records: list[RunRecord], say: Say
) -> Iterator[Ground]:
    """The run as a whole, then the network before it and at each checkpoint; made one after the other.

    Where no law looks along a run, none is made. How a run differs from the same in float32 is said as a record.
    """
    batch = batch_of_model(model)
    generic = any(bool((w != w.round()).any()) for w in batch.weights.values())
    masks = {n: m[None] for n, m in model.network.initial.items()}
    start = Case.under(subject, batch, masks=masks, generic=generic)
    along = any(law.subject is Subject.TRACE or law.claim in ALONG_A_RUN for law in laws)
    if isinstance(subject, Stepper) or Subject.TRACE not in kinds_of(subject) or not along:
        yield Ground(model.name, [start], [start])
        return
    try:
        run = _run(model, subject, say)
    except ScoreError as error:
        yield Ground(model.name, [start], [start], [replace(start, fault=str(error))])
        return
    records.append(_record(model, subject, run))
    if model.float32:
        say(_beside_float32(model, subject, run, say))
    yield Ground(f"{model.name}, {_rounds(run.rounds)}", runs=[replace(start, run=run)])
    marks = sorted({round(run.rounds * i / CHECKPOINTS) for i in range(CHECKPOINTS + 1)})
    for mark in marks:
        masks = {n: m[None] for n, m in run.masks_at(mark).items()}
        only = ALONG_A_RUN if mark else None
        case = replace(start, masks=masks)
        yield Ground(f"{model.name}, round {mark} of {run.rounds}", [case], [case], only=only)


def _run(model: Model, pruner: Pruner, say: Say) -> Trace:
    told = _telling(f"{pruner.name} on {model.name}", model.rounds or pruner.rounds, say)
    return prune_at_best(model.problem, pruner, _schedule(model, pruner), told)


def _beside_float32(model: Model, pruner: Pruner, run: Trace, say: Say) -> PrecisionRecord:
    told = _telling(f"{pruner.name} on {model.name} in float32", run.rounds, say)
    return beside_float32(model.name, model.problem, pruner, _schedule(model, pruner), run, told)


def _schedule(model: Model, pruner: Pruner) -> Schedule:
    initial = model.network.initial
    return exponential(initial.total, min(model.keep(), initial.kept), model.rounds or pruner.rounds)


def _telling(what: str, rounds: int, say: Say) -> Callable[[int, int], None]:
    return lambda round_, kept: say(f"{what}: round {round_} of {rounds}, {kept:,} kept")


def batch_of_model(model: Model) -> Batch:
    """A model's problem as a batch of one; no number is copied."""
    network, data = model.network, model.problem.batch
    return Batch(
        network=network,
        weights={n: t[None] for n, t in network.weights.items()},
        fixed={n: t[None] for n, t in network.fixed.items()},
        neutral={n: t[None] for n, t in network.neutral.items()},
        inputs=data[0][None] if data else None,
        targets=data[1][None] if data else None,
        loss=model.problem.loss,
        seed=model.problem.seed,
        shape=None,
    )


def _record(model: Model, pruner: Pruner, run: Trace) -> RunRecord:
    return RunRecord(
        pruner=pruner.name,
        model=model.name,
        schedule=f"exponential, {_rounds(run.rounds)}",
        layers=list(run.layers),
        sizes=[w.numel() for w in model.network.weights.values()],
        targets=list(run.targets),
        kept=run.kept.tolist(),
        mass=run.mass.tolist(),
        cut=run.cut.tolist(),
        digest=run.masks.digest(),
    )


def _rounds(count: int) -> str:
    return f"{count} round" + "s" * (count != 1)
