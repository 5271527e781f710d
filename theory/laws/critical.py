"""Maximal critical compression: Theorem 3 as it holds, and what is said in its place and does not.

A round that prunes less than the cut R leaves a path. On a chain of L layers that goes on to one weight per layer, by
the mass itself or by as many rounds as keep below it.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pruning.certified import mass_safe
from pruning.graph import INPUT
from pruning.masks import Masks
from pruning.newer.lamp import lamp
from pruning.pruner import Claim
from pruning.pruners.synflow import synflow
from pruning.rounds import Trace
from pruning.schedule import Alive, Schedule, linear
from theory.case import Case, Plan
from theory.collapse import Paths
from theory.impostors.scores import biased_flow, over_fan_in, over_layer
from theory.impostors.selections import by_threshold, one_too_many
from theory.law import Balances, Grade, Subject, counted, equal, folklore, law, none_of
from theory.laws.paths import PATH_SUM
from theory.networks import collapsing
from theory.networks.outside import min_net, square_chain
from theory.numerics import gamma
from theory.traits import Trait

EXACT = (Grade.EXACT,)
CUTS = {*PATH_SUM, Claim.DEGREE_ONE}  # whose layers have R each


@folklore(over_layer, collapsing.crossed_net)
def layers_are_enough(case: Case) -> Iterator[Balances]:
    """Positive scores that are conserved layer by layer, made anew after each weight, leave one weight per layer alive.

    The axiom as it is often read: magnitudes over their layer's total meet it.
    """
    yield from _one_path(case, _one_by_one(case))


@folklore(synflow, collapsing.square_fork)
def of_any_degree(case: Case) -> Iterator[Balances]:
    """Any positively homogeneous activation will do: one weight at a time, one per layer is left alive."""
    yield from _one_path(case, _one_by_one(case))


@law(
    "M3",
    subject=Subject.TRACE,
    claim=Claim.MAXIMAL_CRITICAL,
    needs={Trait.HOMOGENEOUS, Trait.CHAIN, Trait.SMALL},
    source="Tanaka et al. 2020, Theorem 3, with a live path asked for; n >= 2 L ln(N/L) rounds suffice",
    impostor=over_layer,
    breaks_on=(synflow, square_chain),
    corrects=(layers_are_enough, of_any_degree),
    grades=EXACT,
)
def maximal_critical_compression(case: Case) -> Iterator[Balances]:
    """Pruned slowly enough, a chain ends with exactly one weight per layer, all on one live path."""
    if case.total >= 2 * len(case.graph.edges):
        yield from _one_path(case, case.runs(_safely(case)))


@folklore(synflow, collapsing.shortcut_net)
def shortest_path_reached(case: Case) -> Iterator[Balances]:
    """On any network pruning by the mass goes on until as few weights are left as the shortest path has."""
    runs = [case.scheduled(i, mass_safe(case.network_of(i))) for i in range(case.batch.size)]
    left = torch.tensor([[run.masks.kept] for run in runs], dtype=torch.float64)
    fewest = torch.tensor([[Paths(case.network_of(i)).shortest] for i in range(case.batch.size)]).to(left)
    said = lambda b, u: f"{int(left[b, u])} weights are left, and a path has {int(fewest[b, u])}"  # noqa: E731
    yield equal("weights left", left, fewest, bound=counted(left), label=said)


@law(
    "M10",
    subject=Subject.TRACE,
    claim=Claim.MAXIMAL_CRITICAL,
    needs={Trait.HOMOGENEOUS, Trait.MONOTONE, Trait.CHAIN, Trait.SMALL},
    given=CUTS,
    needs_objective=True,
    source="Tanaka et al. 2020, Theorem 3 and its appendix; of n weights a layer has n/L, and may lose all but one",
    impostor=one_too_many,
    breaks_on=(synflow, square_chain),
    corrects=(shortest_path_reached,),
    grades=EXACT,
)
def mass_safe_compression(case: Case) -> Iterator[Balances]:
    """Pruned by the mass, a chain of L layers is one live path of L weights within floor(L ln(N - L)) + 1 rounds."""
    if case.total > len(case.graph.edges) and case.path_roundings is not None:
        yield from _one_path(case, _by_mass(case))


@folklore(synflow, collapsing.one_shot_chain)
def one_shot_suffices(case: Case) -> Iterator[Balances]:
    """Scores that are conserved need not be made anew: one round is enough for one weight per layer."""
    yield from _one_path(case, case.runs(Plan(len(case.graph.edges), 1)))


@folklore(synflow, collapsing.thumb_chain)
def rule_of_thumb(case: Case) -> Iterator[Balances]:
    """L ln(N/L) rounds are enough for one weight per layer."""
    layers = len(case.graph.edges)
    rounds = math.ceil(layers * math.log(case.total / layers))
    yield from _one_path(case, case.runs(Plan(layers, rounds)))


@folklore(synflow, collapsing.long_chain)
def hundred_rounds(case: Case) -> Iterator[Balances]:
    """A hundred rounds are enough for one weight per layer."""
    yield from _one_path(case, case.runs(Plan(len(case.graph.edges), 100)))


@law(
    "M11",
    subject=Subject.TRACE,
    claim=Claim.MAXIMAL_CRITICAL,
    needs={Trait.HOMOGENEOUS, Trait.MONOTONE, Trait.CHAIN, Trait.SMALL},
    given=CUTS,
    needs_objective=True,
    source="of n weights such a round prunes less than n/L, the largest layer has q >= n/L, and its lowest q - 1 have "
    "less than R",
    impostor=by_threshold,
    breaks_on=(synflow, square_chain),
    corrects=(one_shot_suffices, rule_of_thumb, hundred_rounds),
    grades=EXACT,
)
def safe_number_of_rounds(case: Case) -> Iterator[Balances]:
    """In 2 L ln(N/L) rounds the exponential schedule takes a chain to L weights, and none prunes the mass of a cut."""
    if case.total == len(case.graph.edges):
        return
    runs = case.runs(_safely(case))
    mass, cut = (torch.stack([getattr(run, name) for run in runs]) for name in ("mass", "cut"))
    fell = torch.stack([_falls(case, run) for run in runs])
    yield none_of(
        "round",
        (mass >= cut).double(),
        lambda b, u: (
            f"round {u + 1} of {runs[b].rounds} prunes scores of {float(mass[b, u]):.6g} from a cut of "
            f"{float(cut[b, u]):.6g}"
        ),
        looked=fell & (cut > 0) & cut.isfinite(),
    )


@folklore(biased_flow, collapsing.biased_pair)
def biases_may_stay(case: Case) -> Iterator[Balances]:
    """It makes no difference whether R has the biases in it."""
    yield from _last_paths(case)


@folklore(lamp, collapsing.crossed_net)
def no_layer_is_empty(case: Case) -> Iterator[Balances]:
    """Where every layer has a weight left, the network has a live path."""
    runs = case.runs(Plan(len(case.graph.edges), 1))
    full = torch.tensor([[bool((run.kept[-1] > 0).all())] for run in runs])
    dead = torch.tensor([[not _is_live(case, i, run.masks)] for i, run in enumerate(runs)])
    said = lambda b, u: f"by layer {runs[b].kept[-1].tolist()} weights are left, and no live path"  # noqa: E731
    yield none_of("live path", (full & dead).double(), said, looked=full)


@law(
    "M12",
    subject=Subject.TRACE,
    claim=Claim.UNION_BOUND,
    needs={Trait.OF_A_DEGREE, Trait.MONOTONE},
    given=PATH_SUM,
    needs_objective=True,
    source="B6, on any graph and of any degree: each path that dies holds a pruned weight",
    impostor=over_fan_in,
    breaks_on=(synflow, min_net),
    corrects=(biases_may_stay, no_layer_is_empty),
    grades=EXACT,
)
def live_path_left(case: Case) -> Iterator[Balances]:
    """A round that prunes less than R, the sum over all paths, leaves a live path."""
    if case.path_roundings is not None or case.outside:
        yield from _last_paths(case)


def _last_paths(case: Case) -> Iterator[Balances]:
    """Of each run whether a round that pruned less than R, by more than its roundings, ended the last live path."""
    alive = _alive(case)
    safe = [[_below_the_cut(case, run) for run in runs] for runs in case.traces]
    looked = torch.tensor([[bool(rounds.any()) for rounds in row] for row in safe]) & alive
    ended = [[_end(case, i, run) if alive[i] else 0 for run in runs] for i, runs in enumerate(case.traces)]
    wrong = [
        [r > 0 and bool(rounds[r - 1]) for r, rounds in zip(*rows, strict=True)]
        for rows in zip(ended, safe, strict=True)
    ]
    said = lambda b, u: _death(case, b, case.traces[b][u])  # noqa: E731
    yield none_of("last path", torch.tensor(wrong).double(), said, looked=looked)


def _below_the_cut(case: Case, run: Trace) -> Tensor:
    """(rounds,): where something was pruned, and its mass is less than R by more than roundings may hide."""
    most = 1 - gamma(2 * (case.path_roundings or 0) + case.total + 3, case.dtype)
    return _falls(case, run) & (run.mass <= run.cut * most)


def _falls(case: Case, run: Trace) -> Tensor:
    """(rounds,): where something was pruned."""
    kept = run.kept.sum(1)
    return kept < torch.cat([torch.tensor([case.total]), kept[:-1]])


def _one_path(case: Case, runs: Sequence[Trace]) -> Iterator[Balances]:
    """Of a run of each problem that it ends with one weight per layer, all on one live path."""
    ends = torch.tensor([[_is_live(case, i, run.masks)] for i, run in enumerate(runs)]).double()
    scale = _alive(case).double()  # a network that was dead from the start shows nothing
    yield equal(
        "live path",
        ends,
        torch.ones_like(ends),
        bound=counted(ends),
        scale=scale,
        label=lambda b, u: _death(case, b, runs[b]),
    )
    kept = torch.tensor([run.masks.kept_by_layer() for run in runs], dtype=torch.float64)
    yield equal(
        "weights left in layer",
        kept,
        torch.ones_like(kept),
        bound=counted(kept),
        scale=scale.expand_as(kept),
        label=lambda b, u: f"layer {case.graph.edges[u].node.where} ends with {int(kept[b, u])} weights",
    )


def _safely(case: Case) -> Plan:
    """To one weight per layer, in as many rounds as are safe."""
    layers = len(case.graph.edges)
    return Plan(layers, safe_rounds(case.total, layers))


def safe_rounds(total: int, layers: int) -> int:
    """Rounds after which an exponential schedule from N to L weights prunes at most n/2L at a time."""
    return max(1, math.ceil(2 * layers * math.log(total / layers)))


def _by_mass(case: Case) -> list[Trace]:
    """Per problem a run of less than the cut in every round, of as many rounds as that may take."""
    most = most_rounds(case.total, len(case.graph.edges))
    plans = (_at_most(most, mass_safe(case.network_of(i))) for i in range(case.batch.size))
    return [case.scheduled(i, plan) for i, plan in enumerate(plans)]


def most_rounds(total: int, layers: int) -> int:
    """Rounds that mass-safe takes at most from N > L weights to L: of n it prunes ceil(n/L) - 1 or more."""
    return math.floor(layers * math.log(total - layers)) + 1


def _at_most(rounds: int, schedule: Schedule) -> Schedule:
    def cut_short(round_: int, kept: int, alive: Alive) -> int | None:
        return schedule(round_, kept, alive) if round_ <= rounds else None

    return cut_short


def _one_by_one(case: Case) -> list[Trace]:
    """Per problem a run to one weight per layer that prunes one weight in every round."""
    layers, total = len(case.graph.edges), case.total
    return [case.scheduled(i, linear(total, layers, total - layers)) for i in range(case.batch.size)]


def _alive(case: Case) -> Tensor:
    """(batch, 1): whether a path is there before anything is pruned."""
    return torch.tensor([[_is_live(case, i, Masks.full(_weights(case, i)))] for i in range(case.batch.size)])


def _is_live(case: Case, index: int, masks: Masks) -> bool:
    """Whether a path of kept, non-zero weights joins input and output: what it reaches is 1, and all else 0."""
    network = replace(case.network_of(index).neutralised(), tap=_reached)
    present = {n: ((w != 0) & masks[n]).to(w.dtype) for n, w in _weights(case, index).items()}
    return bool(network.forward(present, torch.ones_like(network.example[:1])).sum() > 0)


def _reached(name: str, value: Tensor) -> Tensor:
    return value if name == INPUT or not value.is_floating_point() else value.gt(0).to(value)


def _end(case: Case, index: int, run: Trace) -> int:
    """The round that left no live path; 0 where there is one at the end."""
    if _is_live(case, index, run.masks):
        return 0
    return bisect_left(range(run.rounds), True, key=lambda r: not _is_live(case, index, run.masks_at(r)))


def _death(case: Case, index: int, run: Trace) -> str:
    last = _end(case, index, run)
    counts = run.kept[last - 1].tolist()
    cut = float(run.cut[last - 1])
    against = "" if math.isnan(cut) else f" against a cut of {cut:.6g}"
    return (
        f"the last path died in round {last} of {run.rounds}, which left {sum(counts)} weights, {_by_layer(counts)}; "
        f"it pruned scores of {float(run.mass[last - 1]):.6g}{against}"
    )


def _by_layer(counts: list[int]) -> str:
    """How many are left in each layer, or where there are many layers in how many none is."""
    return f"by layer {counts}" if len(counts) <= 20 else f"none in {counts.count(0)} of {len(counts)} layers"


def _weights(case: Case, index: int) -> dict[str, Tensor]:
    return {n: w[index] for n, w in case.batch.weights.items()}
