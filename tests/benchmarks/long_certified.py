"""The theorem on many chains: mass-safe runs end at N/L, schedules with enough rounds stay safe; each run certified.

Chains have 2 to 20 layers, and weights that are normal, of layers on other scales, all of one size, or -1, 0 and 1.
Each run leaves a certificate, and the checker of plain numpy, which shares no code with the engine, must find no round
in which a cut could have been emptied. Exit status 1 on any failure, each of which is told with its number. Run:
python tests/benchmarks/long_certified.py [--chains 1000] [--schedules 10000] [--seed 0], a tenth of a second for each
run on an idle core.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from torch import Tensor, nn

from pruning.certificate import Origin, certificate
from pruning.certified import mass_safe, rounding
from pruning.fast.run import run_synflow
from pruning.network import Network
from pruning.rounds import Trace
from pruning.schedule import Schedule, exponential
from pruning.trace import trace
from theory.certify import certify

LAYERS, UNITS = (2, 20), (1, 8)
EACH = 10  # draws of weights for a chain of given widths: to trace it takes longer than to prune it
EVERY = 10  # seconds between two lines of progress


@dataclass(frozen=True)
class Ran:
    """How a run ended: the most mass of a round over R, its rounds over the most that it may have, and what failed."""

    share: float
    length: float
    fault: str


def chains(count: int, seed: int, each: int) -> Iterator[tuple[str, Network]]:
    """Chains of random widths with random weights, and what it takes to make each again."""
    for number in range(count):
        if number % each == 0:
            traced = chain(torch.Generator().manual_seed(seed + number))
        yield f"number {number}", drawn(traced, torch.Generator().manual_seed(seed + number))


def chain(source: torch.Generator) -> Network:
    """A chain of random widths."""
    layers = whole(LAYERS, source)
    widths = [whole(UNITS, source) for _ in range(layers + 1)]
    model = nn.Sequential(*(layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())))
    return trace(model.double(), torch.ones(1, widths[0], dtype=torch.float64))


def whole(ends: tuple[int, int], source: torch.Generator) -> int:
    return int(torch.randint(ends[0], ends[1] + 1, (), generator=source))


def drawn(network: Network, source: torch.Generator) -> Network:
    """The network with random weights, of which one path at least is not 0."""
    kind = KINDS[whole((0, len(KINDS) - 1), source)]
    weights = {
        n: kind(torch.randn(w.shape, dtype=w.dtype, generator=source), source) for n, w in network.weights.items()
    }
    for weight in weights.values():
        weight[0, 0] = weight[0, 0] or 1
    return network.with_weights(weights)


def scaled(weight: Tensor, source: torch.Generator) -> Tensor:
    return weight * 10 ** float(torch.empty(()).uniform_(-3, 3, generator=source))


KINDS: tuple[Callable[[Tensor, torch.Generator], Tensor], ...] = (
    lambda weight, source: weight,
    scaled,
    lambda weight, source: weight.sign() / 10,
    lambda weight, source: weight.round().clamp(-1, 1),
)


def mass_safely(network: Network) -> Ran:
    """A mass-safe run: one weight per layer at the end, within floor(L ln(N - L)) + 1 rounds."""
    layers, total = len(network.graph.edges), network.initial.total
    run = run_synflow(network, mass_safe(network))
    most = math.floor(layers * math.log(total - layers)) + 1 if total > layers else 0
    faults = [] if run.masks.kept_by_layer() == [1] * layers else [f"it ends with {run.masks.kept_by_layer()}"]
    faults += [f"{run.rounds} rounds, and {most} are the most"] if run.rounds > most else []
    return judged(network, run, faults, run.rounds / max(most, 1))


def exponentially(network: Network, source: torch.Generator) -> Ran:
    """An exponential run to one weight per layer, of 2 L ln(N/L) rounds or half as many again."""
    layers, total = len(network.graph.edges), network.initial.total
    least = max(1, math.ceil(2 * layers * math.log(total / layers)))
    schedule: Schedule = exponential(total, layers, whole((least, least * 3 // 2), source))
    return judged(network, run_synflow(network, schedule), [], 0.0)


def judged(network: Network, run: Trace, faults: list[str], length: float) -> Ran:
    """A run as the second opinion finds it from its certificate."""
    made = certificate(network, run, rounding(network), Origin("synflow", "chain", "", 0))
    found = certify(network, made, lambda done, rounds: None)
    if found.failed is not None or not found.after > 0:
        faults = [*faults, f"round {found.failed} could have emptied a cut, R = {found.after} behind it"]
    return Ran(float((found.mass / found.cut).max(initial=0.0)), length, "; ".join(faults))


def all_of(what: str, count: int, made: Iterator[Ran]) -> list[Ran]:
    """All runs, with progress and faults on stderr."""
    done, began = [], time.monotonic()
    told = began
    for ran in made:
        done.append(ran)
        if ran.fault:
            sys.stderr.write(f"{what}, number {len(done) - 1}: {ran.fault}\n")
        if time.monotonic() - told > EVERY or len(done) == count:
            told = time.monotonic()
            sys.stderr.write(f"{what}: {len(done):,} of {count:,}, {(told - began) / len(done):.3f} s each\n")
    return done


def main(arguments: list[str]) -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--chains", type=int, default=1000)
    asked.add_argument("--schedules", type=int, default=10_000)
    asked.add_argument("--seed", type=int, default=0)
    given = asked.parse_args(arguments)
    torch.set_num_threads(1)
    safe = all_of("mass-safe", given.chains, (mass_safely(net) for _, net in chains(given.chains, given.seed, 1)))
    rounds = torch.Generator().manual_seed(given.seed)
    many = (exponentially(net, rounds) for _, net in chains(given.schedules, given.seed + 2**32, EACH))
    plain = all_of("exponential", given.schedules, many)
    for what, ran in (("mass-safe", safe), ("exponential", plain)):
        failed, most = sum(bool(r.fault) for r in ran), max((r.share for r in ran), default=0.0)
        sys.stdout.write(
            f"{what}: {len(ran):,} runs, each with a certificate; {failed} failed; most mass/R {most:.9f}\n"
        )
    sys.stdout.write(f"mass-safe: most rounds/bound {max((r.length for r in safe), default=0.0):.3f}\n")
    return int(any(r.fault for r in (*safe, *plain)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
