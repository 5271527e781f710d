"""Problems checked per second: the laws on stacked problems against a plain loop, in one process, taking turns.

The plain loop is what a careful test suite would do: build each network as a module, score it by autograd, and
compare, unit by unit, what enters with what leaves under a rounding bound. Each law is timed alone, with a case of its
own, and all together, as `verify` runs them: they share scores and flow. Run: make bench.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from pruning.pruners.synflow import synflow
from theory.case import Case
from theory.judge import judge, out_of_scope
from theory.law import Law, Subject
from theory.laws import catalogue
from theory.networks import built_in
from theory.networks.batch import Batch
from theory.networks.family import Family, examples
from theory.networks.layers import Conv, Dense
from theory.networks.shape import Shape, module_of
from theory.numerics import gamma

FAMILIES = ("dense, real", "conv, real")
SHAPES, PROBLEMS, TURNS = 8, 1024, 3
WANTED = 20  # times as many problems per second as the plain loop


@dataclass(frozen=True)
class Timed:
    """Seconds for all problems of a family, turn by turn."""

    name: str
    seconds: list[float]

    def rate(self, problems: int) -> float:
        """Problems per second, by the median turn."""
        return problems / statistics.median(self.seconds)


def batches(family: Family) -> list[Batch]:
    return [family.batch(shape, seed, PROBLEMS) for shape, seed in examples(family, SHAPES, 0)]


def ours(laws: list[Law], stacked: list[Batch]) -> None:
    for batch in stacked:
        case = Case(batch, synflow, generic=True)
        for law in laws:
            if out_of_scope(law, case) is None:
                found = judge(law, case)
                assert found is None or not found.failures


def plain(stacked: list[Batch]) -> None:
    for batch in stacked:
        assert batch.shape is not None
        for i in range(batch.size):
            tensors = {n: t[i] for n, t in {**batch.weights, **batch.fixed}.items()}
            check_alone(batch.shape, tensors)


def check_alone(shape: Shape, tensors: dict[str, Tensor]) -> None:
    """One network: built, scored by autograd, compared unit by unit."""
    module = module_of(shape).double()
    module.load_state_dict({n: t.abs() if n.endswith("weight") else 0 * t for n, t in tensors.items()})
    x, entries = torch.ones(1, *shape.input, dtype=torch.float64), 0
    for layer in module:
        x = layer(x)
        entries += x.numel()
    x.sum().backward()
    # no term is negative: each sum on the way, forward and back, is over weights or over entries
    size = gamma(2 * (sum(w.numel() for w in module.parameters()) + entries), torch.float64)
    layers = [(la, m) for la, m in zip(shape.layers, module, strict=True) if isinstance(la, (Dense, Conv))]
    for (before, first), (after, second) in pairwise(layers):
        into, out = score(first), score(second)
        for unit in range(before.outputs):
            entering = float(into_unit(into, before, unit).sum())
            leaving = float(of_unit(out, after, before.outputs, unit).sum())
            assert abs(entering - leaving) <= size * (abs(entering) + abs(leaving))


def score(module: nn.Module) -> Tensor:
    weight = module.weight
    assert isinstance(weight, Tensor) and weight.grad is not None
    return (weight * weight.grad).detach()


def into_unit(scores: Tensor, layer: Dense | Conv, unit: int) -> Tensor:
    """The scores of the weights that enter a unit: the input channels come first where a convolution is transposed."""
    if isinstance(layer, Dense) or not layer.transposed:
        return scores[unit]
    group, within = divmod(unit, layer.outputs // layer.groups)
    inputs = layer.inputs // layer.groups
    return scores[group * inputs : (group + 1) * inputs, within]


def of_unit(scores: Tensor, layer: Dense | Conv, units: int, unit: int) -> Tensor:
    """The scores of the weights that leave a unit of the layer before."""
    if isinstance(layer, Dense):  # a unit has several features where channels were flattened
        spread = layer.inputs // units
        return scores[:, unit * spread : (unit + 1) * spread]
    if layer.transposed:
        return scores[unit]
    group, within = divmod(unit, layer.inputs // layer.groups)
    outputs = layer.outputs // layer.groups
    return scores[group * outputs : (group + 1) * outputs, within]


def timed(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measured(family: Family, laws: list[Law]) -> tuple[Timed, Timed, list[Timed], int]:
    """The plain loop, all laws together, and each alone, taking turns; and the number of problems."""
    small = [b for b in batches(family) if comparable(b)]
    baseline, together = Timed("plain loop", []), Timed("all together", [])
    each = [Timed(law.name, []) for law in laws]
    for _ in range(TURNS):
        baseline.seconds.append(timed(lambda: plain(small)))
        together.seconds.append(timed(lambda: ours(laws, small)))
        for law, row in zip(laws, each, strict=True):
            row.seconds.append(timed(lambda law=law: ours([law], small)))  # type: ignore[misc]
    return baseline, together, each, sum(b.size for b in small)


def comparable(batch: Batch) -> bool:
    """Whether the plain loop's arithmetic of units fits: nothing that mixes channels between two layers."""
    assert batch.shape is not None
    return not any(getattr(la, "kind", "") == "shuffle" for la in batch.shape.layers)


def main() -> int:
    """Print problems per second for each law and how many times the plain loop that is; 1 below the target for A1."""
    torch.set_num_threads(1)
    laws = [law for law in catalogue().values() if law.subject is Subject.SCORES and not law.one_by_one]
    missed = False
    for name in FAMILIES:
        baseline, together, each, problems = measured(built_in()[name], laws)
        start = baseline.rate(problems)
        print(f"{name}: {problems} problems, {PROBLEMS} of a shape; plain loop {start:,.0f} problems per second")
        told(f"{len(laws)} laws together, per law", together.rate(problems) * len(laws), start)
        for row in each:
            told(row.name, row.rate(problems), start)
            missed |= row.name == "neuron_conservation" and row.rate(problems) < WANTED * start
    return int(missed)


def told(name: str, rate: float, start: float) -> None:
    print(f"  {name:32} {rate:12,.0f} per second   {rate / start:7.1f} x")


if __name__ == "__main__":
    sys.exit(main())
