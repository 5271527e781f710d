"""Case: what a law may look at: problems of one shape under one pruner, computed when asked for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pruning.answers import ScoreError, call_objective, call_scorer, check_scores
from pruning.engine import prune
from pruning.graph import Graph, Junction
from pruning.masks import Masks
from pruning.network import Network
from pruning.problem import LOSSES, Probe, Problem
from pruning.pruner import Pruner, State
from pruning.roundings import UnreadableFlow, path_roundings, shapes_of
from pruning.rounds import Trace
from pruning.schedule import Schedule, exponential
from theory.flow import Flow, measure_flow
from theory.networks.batch import Batch
from theory.numerics import Bound, gamma, largest_integer, least_magnitude
from theory.optype import types_of
from theory.shaking import shaken
from theory.subjects import Stepper, the_loss
from theory.traits import LARGEST, Trait, last_layer, traits_of

PerProblem = Callable[[Problem, Masks], dict[str, Tensor]]


@dataclass(frozen=True)
class Plan:
    """A pruning run to do: weights to keep and rounds to do it in."""

    keep: int
    rounds: int


@dataclass(frozen=True, eq=False)
class Case:
    """Problems of one shape, a pruner or a stepper, and the masks it has come to.

    Tensors have a leading axis over the problems. `outside` drops the hypotheses: units that a law
    would leave out are looked at all the same. `run` is a finished trace of a full-size model, whose
    own runs are then not made; `fault` says why that run could not be made. `generic` says that the
    numbers are real; `coarse` that this is the float32 side of an order test, where a scorer may answer
    in float64; `loops` counts the problems that vmap refused and a loop did.
    """

    batch: Batch
    pruner: Pruner
    stepper: Stepper | None = None
    masks: Mapping[str, Tensor] | None = None
    outside: bool = False
    run: Trace | None = None
    fault: str | None = None
    generic: bool = False
    coarse: bool = False
    loops: Counter[str] = field(default_factory=Counter)

    @classmethod
    def under(cls, subject: Pruner | Stepper, batch: Batch, **rest: Any) -> Case:
        """The case of a subject: a pruner, or a stepper on the loss."""
        if isinstance(subject, Stepper):
            return cls(batch, the_loss, stepper=subject, **rest)
        return cls(batch, subject, **rest)

    @property
    def subject(self) -> Pruner | Stepper:
        """What the case is about."""
        return self.stepper or self.pruner

    # what the network is

    @property
    def graph(self) -> Graph:
        """The graph that all the problems share."""
        return self.batch.network.graph

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type everything is computed in."""
        return next(iter(self.batch.weights.values())).dtype

    @property
    def total(self) -> int:
        """N: prunable weights of one problem."""
        return sum(w[0].numel() for w in self.batch.weights.values())

    @property
    def traits(self) -> frozenset[Trait]:
        """What holds of the network as a whole."""
        return self._plain_traits | ({Trait.MONOTONE} if self._is_monotone else frozenset())

    def unmet(self, needs: frozenset[Trait]) -> list[Trait]:
        """Which of these do not hold; whether operators are monotone, which takes longest, is only seen if asked."""
        return sorted(needs - (self.traits if Trait.MONOTONE in needs else self._plain_traits))

    @cached_property
    def _plain_traits(self) -> frozenset[Trait]:
        crossed = self.batch.loss in ("cross-entropy", LOSSES["cross-entropy"], functional.cross_entropy)
        own = {
            **{trait: self.total <= most for trait, most in LARGEST.items()},
            Trait.WRITTEN: self.batch.shape is not None,
            Trait.GENERIC: self.generic,
            Trait.SOFTMAX: crossed and last_layer(self.graph) is not None,
        }
        return frozenset(traits_of(self.graph) | {trait for trait, holds in own.items() if holds})

    @cached_property
    def _is_monotone(self) -> bool:
        """With absolute weights and neutral constants, as a data-free score reads them."""
        types = types_of(self.graph, {**self.batch.neutral, **self.batch.weights})
        return all(t.monotone and t.convex for t in types.values())

    @property
    def looped(self) -> int:
        """Problems that were done one by one because vmap refused them."""
        return self.loops["problems"]

    @property
    def has_sources(self) -> bool:
        """Whether any bias, shift or norm's gain feeds the network."""
        return bool(self.graph.entering)

    @property
    def hidden(self) -> list[Junction]:
        """The hidden units a conservation law speaks of, junction by junction."""
        return [j for j in self.graph.hidden if self.outside or not j.objections]

    @cached_property
    def units(self) -> Tensor:
        """The numbers of those units, without the ones that pass a power on: their balance has a factor."""
        return self._hidden_units(powers=False)

    @cached_property
    def powered(self) -> Tensor:
        """The numbers of the hidden units that pass a power on, such as those before a relu^2."""
        return self._hidden_units(powers=True)

    def _hidden_units(self, powers: bool) -> Tensor:
        hidden = torch.cat([torch.arange(0), *(torch.arange(j.first, j.first + j.units) for j in self.hidden)])
        raised = torch.cat([torch.arange(0), *(t.tails for t in self.graph.transfers if t.degree != 1)])
        return hidden[torch.isin(hidden, raised) == powers].to(self._device)

    # what the pruner says of it

    @cached_property
    def scored(self) -> tuple[dict[str, Tensor], Probe]:
        """Scores, each (batch, *shape), and the probe of the last scoring. Raises ScoreError."""
        probes: list[Probe] = []

        def one(problem: Problem, masks: Masks) -> dict[str, Tensor]:
            probes.append(Probe(problem))
            weights = {n: w.clone() for n, w in problem.network.weights.items()}  # a scorer may not be pure
            network = replace(problem.network, weights=weights)
            return call_scorer(self.pruner, network, State(weights, masks), probes[-1])

        scores = self.each(one)
        if self.coarse:
            scores = {n: s.to(self.dtype) for n, s in scores.items()}
        check_scores(self.pruner.name, self.batch.weights, scores)
        return scores, probes[-1]

    @property
    def scores(self) -> dict[str, Tensor]:
        """Scores, each (batch, *shape)."""
        return self.scored[0]

    def values(self, weights: Mapping[str, Tensor]) -> Tensor:
        """The objective R under other weights: (batch,). NaN, which no law judges, where a product may underflow."""

        moved = replace(self, batch=replace(self.batch, weights=dict(weights)))
        return moved.each(lambda problem, masks: {"R": self.value(problem, masks)})["R"]

    def value(self, problem: Problem, masks: Masks) -> Tensor:
        """The objective R of one problem; NaN where a product may underflow."""
        effective = masks.apply(problem.network.weights)
        seen: list[Tensor] = []

        def see(name: str, value: Tensor) -> Tensor:
            seen.append(least_magnitude([value]).to(self.dtype))
            return value

        found = call_objective(self.pruner, replace(problem.network, tap=see), effective, Probe(problem))
        least = torch.stack([*seen, torch.ones_like(found)]).amin() * least_magnitude(effective.values())
        return torch.where(least > torch.finfo(self.dtype).smallest_normal, found, torch.nan)

    @cached_property
    def flow(self) -> Flow | None:
        """The flow of the objective; None without one, or where its bound is not derived."""
        if self.pruner.objective is None or self.graph.objections or self.graph.transfers:
            return None
        try:
            return Flow.of(self.each(self._flow_of_one))
        except UnreadableFlow:
            return None  # the order test judges instead

    def _flow_of_one(self, problem: Problem, masks: Masks) -> dict[str, Tensor]:
        network = problem.network
        effective = masks.apply(network.weights)

        def tapped(fixed: Mapping[str, Tensor], tap: Callable[[str, Tensor], Tensor]) -> Tensor:
            return call_objective(self.pruner, replace(network, fixed=fixed, tap=tap), effective, Probe(problem))

        return measure_flow(network.graph, effective, network.fixed, tapped).flat()

    @cached_property
    def exact(self) -> Tensor:
        """Per problem: whether flow and scores are certified to have been computed without rounding."""
        if self.flow is None:
            return torch.zeros(self.batch.size, dtype=torch.bool)
        whole = [(s == s.round()).flatten(1).all(1) for s in self.scores.values()]
        sums = [t.abs().flatten(1).sum(1) for t in (*self.scores.values(), *self.flow.bias.values())]
        small = torch.stack(sums).sum(0) < largest_integer(self.dtype)
        return self.flow.exact & torch.stack(whole).all(0) & small

    # what a conservation law needs

    @cached_property
    def bias_flows(self) -> dict[str, Tensor]:
        """b * dR/db per source: (batch, *shape). Where the objective is not homogeneous, by autograd alone."""
        if self.flow is not None:
            return self.flow.bias
        if self.pruner.objective is None or not self.has_sources:
            return {}

        def one(problem: Problem, masks: Masks) -> dict[str, Tensor]:
            network = problem.network
            effective = masks.apply(network.weights)

            names = {s.name for s in network.graph.entering}
            own, bare = ({n: t for n, t in c.items() if n in names} for c in (network.fixed, network.neutral))

            def value(fixed: dict[str, Tensor], neutral: dict[str, Tensor]) -> Tensor:
                there = replace(network, fixed={**network.fixed, **fixed}, neutral={**network.neutral, **neutral})
                return call_objective(self.pruner, there, effective, Probe(problem))

            # an objective reads the constants as they are, or their neutral forms
            by_fixed, by_neutral = torch.func.grad(value, argnums=(0, 1))(own, bare)
            return {n: own[n] * by_fixed[n] + bare[n] * by_neutral[n] for n in names}

        return self.each(one)

    @cached_property
    def entering(self) -> Tensor:
        """Flow of biases, shifts and norms' gains into each unit: (batch, units)."""
        zero = torch.zeros(self.batch.size, self.graph.units, dtype=self.dtype, device=self._device)
        flows = self.bias_flows
        fed = (s.into(flows[s.name], self.graph.units) for s in self.graph.entering if s.name in flows)
        return torch.stack([zero, *fed]).sum(0)

    @cached_property
    def absolute(self) -> Tensor:
        """Sum of the absolute scores on both sides of each unit: (batch, units)."""
        size = {n: s.abs() for n, s in self.scores.items()}
        return self.graph.incoming(size) + self.graph.outgoing(size).abs() + self.entering.abs()

    def flow_bound(self) -> Bound | None:
        """What rounding may do to the balance of each unit (see theory.flow.measure_flow): (batch, units)."""
        if self.flow is None:
            return None
        ones = {n: torch.ones_like(s) for n, s in self.scores.items()}
        terms = self.graph.incoming(ones) + self.graph.outgoing(ones) + len(self.graph.entering)
        return self.bounded(self.flow.bound, gamma(terms + 2, self.dtype) * self.absolute)

    def cut_bound(self) -> Bound | None:
        """What rounding may do to the difference of two cuts: (batch, 1).

        The bounds of all units between them, and of the sums over the two cuts: gamma_N of the whole
        absolute saliency for each, for any order of summation.
        """
        if self.flow is None:
            return None
        units = self.flow.bound.sum(-1)
        terms = self.total + sum(s.units.numel() for s in self.graph.sources)
        parts = [*self.scores.values(), *self.flow.bias.values()]
        absolute = torch.stack([part.abs().flatten(1).sum(1) for part in parts]).sum(0)
        ends = self.flow.output_error + self.flow.input_error
        sums = 2 * gamma(terms, self.dtype) * absolute
        return self.bounded((units + sums + ends).unsqueeze(1), sums.unsqueeze(1))

    def bounded(self, size: Tensor, sums: Tensor | None = None) -> Bound:
        """A bound that is 0 for the problems that were computed exactly.

        sums: what the law's own sums of the scores round, all that is left where the flow is exact and the
        scores are not integers: those of a right scorer would be.
        """
        left = size if sums is None or self.flow is None else torch.where(self.flow.exact.unsqueeze(1), sums, size)
        return Bound(torch.where(self.exact.unsqueeze(1), 0.0, left), self.exact)

    @cached_property
    def path_roundings(self) -> int | None:
        """K: where all terms are nonnegative, gamma_K bounds the relative error of R and of each score.

        None with an operator whose roundings were not counted.
        """
        device = None if self.batch.shape is not None else "meta"  # a small network is run sooner than on the latter
        params = {n: t[0] for n, t in {**self.batch.fixed, **self.batch.weights}.items()}
        try:
            return path_roundings(self.graph, shapes_of(self.graph, params, self.batch.network.example[:1], device))
        except UnreadableFlow:
            return None

    # what an invariance needs

    def moved(
        self,
        weights: Mapping[str, Tensor],
        fixed: Mapping[str, Tensor] | None = None,
        neutral: Mapping[str, Tensor] | None = None,
    ) -> Case:
        """The same case with other weights and, where given, other constants."""
        batch = replace(
            self.batch,
            weights=dict(weights),
            fixed=dict(self.batch.fixed if fixed is None else fixed),
            neutral=dict(self.batch.neutral if neutral is None else neutral),
        )
        return replace(self, batch=batch)

    def at(self, dtype: torch.dtype) -> Case:
        """The same case in another precision, to be compared with this one; made once, and shared by all laws."""
        if dtype not in self._elsewhere:
            self._elsewhere[dtype] = replace(self, batch=self.batch.to(dtype), coarse=True)
        return self._elsewhere[dtype]

    @cached_property
    def _elsewhere(self) -> dict[torch.dtype, Case]:
        return {}

    def shaken(self) -> Case:
        """The same case with its rounding made larger, to see how far it is amplified."""
        network = self.batch.network
        return replace(
            self, batch=replace(self.batch, network=replace(network, graph=shaken(network.graph, self.batch.seed)))
        )

    def only(self, index: int) -> Case:
        """One problem of the case."""
        masks = None if self.masks is None else {n: m[index : index + 1] for n, m in self.masks.items()}
        return replace(self, batch=self.batch.only(index), masks=masks)

    def source(self, salt: int = 0) -> torch.Generator:
        """Random numbers that the case decides."""
        return torch.Generator().manual_seed(self.batch.seed * 1009 + salt)

    # what a law about runs needs

    @cached_property
    def plans(self) -> list[Plan]:
        """The runs that laws about traces look at: the boundary counts are always among them."""
        if self.run is not None:
            return [Plan(self.run.targets[-1], self.run.rounds)]
        total, layers = self.total, len(self.batch.weights)
        wanted = [(1, 3), (min(layers, total), 4), (max(total - 1, 1), 1), (total, 1), (math.ceil(total / 3), 4)]
        return [Plan(keep, rounds) for keep, rounds in wanted]

    @cached_property
    def traces(self) -> list[list[Trace]]:
        """Per problem, per plan: the run. Raises ScoreError."""
        if self.fault is not None:
            raise ScoreError(self.fault)
        if self.run is not None:
            return [[self.run]]
        return [[self.pruned(i, plan) for plan in self.plans] for i in range(self.batch.size)]

    def runs(self, plan: Plan) -> list[Trace]:
        """Per problem its run by a plan, made once. Raises ScoreError."""
        if plan not in self._runs:
            self._runs[plan] = [self.pruned(i, plan) for i in range(self.batch.size)]
        return self._runs[plan]

    @cached_property
    def _runs(self) -> dict[Plan, list[Trace]]:
        return {}

    def pruned(self, index: int, plan: Plan) -> Trace:
        """One run of one problem, by the exponential schedule."""
        return self.scheduled(index, exponential(self.total, plan.keep, plan.rounds))

    def scheduled(self, index: int, schedule: Schedule) -> Trace:
        """One run of one problem, by any schedule."""
        problem = self.batch.problem(index)
        masks = Masks.full(problem.network.weights)
        return prune(replace(problem, network=replace(problem.network, initial=masks)), self.pruner, schedule)

    def network_of(self, index: int) -> Network:
        """The network of one problem."""
        return self.batch.problem(index).network

    # problems one by one or all at once

    def each(self, function: PerProblem) -> dict[str, Tensor]:
        """`function` of every problem, stacked: by vmap where it allows that, in a loop otherwise."""
        flat = self.batch.stacked()
        kept = {f"masks/{n}": m for n, m in (self.masks or {}).items()}

        def one(values: dict[str, Tensor], mapped: bool = False) -> dict[str, Tensor]:
            problem = self.batch.unstacked(values, mapped)
            found = {n.removeprefix("masks/"): m for n, m in values.items() if n.startswith("masks/")}
            return function(problem, Masks(found or Masks.full(problem.network.weights)))

        if self.batch.size > 1:
            try:
                return dict(torch.func.vmap(partial(one, mapped=True))({**flat, **kept}))
            except UnreadableFlow:
                raise
            except Exception:  # a scorer that vmap refuses: the loop below tells a refusal from a fault
                self.loops["problems"] += self.batch.size
        rows = [one({k: t[i] for k, t in {**flat, **kept}.items()}) for i in range(self.batch.size)]
        return {k: torch.stack([row[k] for row in rows]) if len(rows) > 1 else rows[0][k][None] for k in rows[0]}

    def in_turn(self, function: Callable[[Tensor], Any], rows: Tensor) -> Any:
        """`function` of every row, stacked: all at once, save on a full-size model, which has no room for that."""
        return torch.vmap(function, chunk_size=None if self.batch.shape is not None else 1)(rows)

    def sampled(self, count: int) -> int:
        """How many samples of `count` a law takes one by one: on a full-size model a third, since each takes long."""
        return count if self.batch.shape is not None else math.ceil(count / 3)

    @property
    def _device(self) -> torch.device:
        return next(iter(self.batch.weights.values())).device
