"""Pruner: a score and a way to select, or a way to choose masks at once; and what it promises."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from pruning.masks import Masks, Tensors, global_top_k
from pruning.network import Network
from pruning.problem import Probe


class Claim(StrEnum):
    """What a pruner may promise. How a promise is checked is no business of this package."""

    NEURON_CONSERVED = "neuron conserved"
    LAYER_CONSERVED = "layer conserved"
    POSITIVE = "positive"
    DEGREE_ONE = "degree one per layer"
    PATH_NORM = "path norm"
    PATH_SUM = "sum over paths"
    LEAVE_ONE_OUT = "leave one out"
    UNION_BOUND = "union bound"
    RESCALE_INVARIANT = "rescale invariant"
    RESCALED_MASKS = "masks rescale invariant"
    SIGN_INVARIANT = "sign invariant"
    PERMUTATION_EQUIVARIANT = "permutation equivariant"
    ZERO_WHEN_MASKED = "zero when masked"
    PRUNED_AS_ZERO = "pruned counts as zero"
    DATA_FREE = "data free"
    SAMPLE_ORDER = "any order of samples"
    GRADIENT_SIGNAL = "gradient signal"
    GLOBAL_ORDER = "global order"
    EXACT_BUDGET = "exact budget"
    NESTED_MASKS = "nested masks"
    IDEMPOTENT = "idempotent"
    DETERMINISTIC = "deterministic"
    MAXIMAL_CRITICAL = "maximal critical compression"


@dataclass(frozen=True)
class State:
    """Where a pruning run stands."""

    weights: Tensors
    masks: Masks

    @property
    def effective(self) -> dict[str, Tensor]:
        """The weights times their masks."""
        return self.masks.apply(self.weights)


Score = Callable[[Network, State, Probe], Tensors]
Select = Callable[[Tensors, Masks, int], Masks]
Choose = Callable[[Network, State, int, Probe], Tensors]  # boolean masks that keep a number of weights
Objective = Callable[[Network, Tensors, Probe], Tensor]


@dataclass(frozen=True)
class Pruner:
    """A way to prune.

    name: as people and records know it.
    score: one number per weight, higher is kept; must not change anything it is given. None where masks are chosen
        without a score to show: laws of scores are out of its scope.
    select: the masks that keep k weights, from the scores and the masks now.
    objective: the scalar R of the network's outputs whose saliency theta * dR/dtheta the score is
        made of, up to its sign, as weight times gradient by autograd, or None. Bias flow and cut mass follow from it,
        and rounding bounds rest on it: a score that is computed in another way declares none.
    claims: the promises that the pruner is held to.
    rounds: how many rounds of scoring it has as published.
    choose: the masks that keep k weights, where there is no score, or where it takes more than the scores to choose.
    """

    name: str
    score: Score | None
    select: Select
    objective: Objective | None
    claims: frozenset[Claim]
    rounds: int
    choose: Choose | None = None


def scored(
    name: str,
    score: Score,
    *,
    select: Select = global_top_k,
    choose: Choose | None = None,
    objective: Objective | None = None,
    claims: Iterable[Claim] = (),
    rounds: int = 1,
) -> Pruner:
    """A pruner that keeps the highest scores; `choose`, where given, stands in for `select` and sees the network.

    Raises TypeError for what can't be called, ValueError for an unknown claim or less than one round.
    """
    for what, value in (("score", score), ("select", select), ("choice", choose), ("objective", objective)):
        if value is not None and not callable(value):
            raise TypeError(f"the {what} of pruner {name!r} is {value!r}, wanted a function")
    return Pruner(name, score, select, objective, _claimed(name, claims), _counted(name, rounds), choose)


def masking(name: str, choose: Choose, *, claims: Iterable[Claim] = (), rounds: int = 1) -> Pruner:
    """A pruner that gives masks and no scores: choose(network, state, keep, probe) returns a boolean tensor per weight.

    Raises TypeError for what can't be called, ValueError for an unknown claim or less than one round.
    """
    if not callable(choose):
        raise TypeError(f"the choice of pruner {name!r} is {choose!r}, wanted a function")
    return Pruner(name, None, global_top_k, None, _claimed(name, claims), _counted(name, rounds), choose)


def _counted(name: str, rounds: int) -> int:
    if not isinstance(rounds, int) or rounds < 1:
        raise ValueError(f"pruner {name!r} has {rounds!r} rounds of scoring, wanted at least 1")
    return rounds


def _claimed(name: str, claims: Iterable[Claim]) -> frozenset[Claim]:
    if not isinstance(name, str) or not name:
        raise TypeError(f"the name of a pruner is {name!r}, wanted a text")
    if isinstance(claims, str):
        raise TypeError(f"the claims of pruner {name!r} are the text {claims!r}, wanted a set of claims")
    known, claimed = set(Claim), frozenset(claims)
    if claimed - known:
        unknown = ", ".join(sorted(map(repr, claimed - known)))
        raise ValueError(f"pruner {name!r} claims {unknown}; a claim is one of {', '.join(sorted(known))}")
    return frozenset(map(Claim, claimed))


@dataclass(frozen=True)
class Saliency:
    """The score theta * dR/dtheta of an objective R, or its absolute value (Tanaka et al. 2020, eq. 1)."""

    objective: Objective
    absolute: bool = False

    def __call__(self, network: Network, state: State, probe: Probe) -> dict[str, Tensor]:
        """Per weight its saliency."""
        return self.with_objective(network, state, probe)[0]

    def with_objective(self, network: Network, state: State, probe: Probe) -> tuple[dict[str, Tensor], Tensor]:
        """The same, and R, for which no pass of its own is needed."""
        weights = state.effective
        differentiated = network.together.grad_and_value if network.together else torch.func.grad_and_value
        gradient, value = differentiated(lambda w: self.objective(network, w, probe))(weights)
        scores = {name: weights[name] * gradient[name] for name in weights}
        return {n: s.abs() for n, s in scores.items()} if self.absolute else scores, value


@dataclass(frozen=True)
class Entrywise:
    """A score that looks at each weight by itself, so that of a part of the weights it is a part of the scores."""

    of: Score

    def __call__(self, network: Network, state: State, probe: Probe) -> Tensors:
        """Per weight its score."""
        return self.of(network, state, probe)


def saliency(objective: Objective) -> Saliency:
    """The score theta * dR/dtheta of an objective R."""
    return Saliency(objective)
