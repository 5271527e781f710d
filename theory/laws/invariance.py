"""Invariances of scores: what leaves the network's function, or the batch, alone leaves the scores alone."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from pruning.graph import Junction, Role
from pruning.pruner import Claim
from pruning.pruners.synflow import synflow
from theory.calculus import multiplied, scalable
from theory.case import Case
from theory.impostors.scores import favouring_early, last_half, raw_gradient, signed_flow
from theory.law import Balances, Grade, Subject, counted, equal, law, told
from theory.networks.outside import tanh_net
from theory.numerics import Bound, safe_from_underflow
from theory.traits import Trait


@law(
    "B12a",
    subject=Subject.SCORES,
    claim=Claim.RESCALE_INVARIANT,
    needs={Trait.HOMOGENEOUS, Trait.GENERIC},
    local=True,
    source="positive homogeneity; Neyshabur et al. 2015",
    impostor=raw_gradient,
    breaks_on=(synflow, tanh_net),
    grades=(Grade.ORDER,),
)
def neuron_rescaling(case: Case) -> Iterator[Balances]:
    """Scores stay as they are when a hidden unit's inputs are multiplied by a > 0 and its outputs divided by a."""
    factors = 0.5 + torch.rand(case.graph.units, generator=case.source(2)).double()
    yield from _compared(case, _rescaled(case, factors).scores, case.scores, None)


@law(
    "B13",
    subject=Subject.SCORES,
    claim=Claim.RESCALE_INVARIANT,
    needs={Trait.HOMOGENEOUS},
    local=True,
    source="powers of two change no mantissa",
    impostor=raw_gradient,
    breaks_on=(synflow, tanh_net),
    grades=(Grade.EXACT,),
)
def power_of_two_rescaling(case: Case) -> Iterator[Balances]:
    """Scores stay the same to the bit when a hidden unit is rescaled by a power of two."""
    factors = torch.exp2(torch.randint(1, 5, (case.graph.units,), generator=case.source(3)).double())
    yield from _compared(case, _rescaled(case, factors).scores, case.scores, counted, safe_from_underflow)


@law(
    "B12b",
    subject=Subject.SCORES,
    claim=Claim.SIGN_INVARIANT,
    source="the score sees |theta| alone",
    impostor=signed_flow,
    grades=(Grade.EXACT,),
)
def sign_flips(case: Case) -> Iterator[Balances]:
    """Scores stay the same to the bit when any weights change their signs."""
    source = case.source(4)
    signs = {n: torch.randint(0, 2, w.shape[1:], generator=source) * 2 - 1 for n, w in case.batch.weights.items()}
    flipped = case.moved({n: w * signs[n].to(w) for n, w in case.batch.weights.items()})
    yield from _compared(case, flipped.scores, case.scores, counted)


@law(
    "B12c",
    subject=Subject.SCORES,
    claim=Claim.PERMUTATION_EQUIVARIANT,
    source="hidden units have no order; summation order may round differently",
    impostor=favouring_early,
    grades=(Grade.EXACT, Grade.ORDER),
)
def unit_permutation(case: Case) -> Iterator[Balances]:
    """Scores move along when hidden units are put in another order."""
    movable = [j for j in case.hidden if j.units > 1 and _is_movable(case, j)]
    if not movable:
        return
    order = _permutation(case, movable)
    places = {s.name: _places(order, s.units.flatten()) for s in case.graph.attached}

    def moved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {n: _taken(t, places[n]) if n in places else t for n, t in tensors.items()}

    permuted = case.moved(
        _reordered(case, case.batch.weights, order), moved(case.batch.fixed), moved(case.batch.neutral)
    )
    if case.masks is not None:
        permuted = replace(permuted, masks=_reordered(case, case.masks, order))
    expected = _reordered(case, case.scores, order)
    # the permuted network holds the same numbers, and its sums the same terms: it is exact where this one is
    yield from _compared(case, permuted.scores, expected, counted if bool(case.exact.all()) else None)


@law(
    "S7",
    subject=Subject.SCORES,
    claim=Claim.SAMPLE_ORDER,
    source="a batch is a set; public code scores by its last part, or adds absolute values part by part",
    impostor=last_half,
    grades=(Grade.EXACT, Grade.ORDER),
)
def sample_order(case: Case) -> Iterator[Balances]:
    """Scores stay as they are when the samples of the batch are put in another order."""
    inputs, targets = case.batch.inputs, case.batch.targets
    if inputs is None or targets is None or inputs.shape[1] < 2:
        return
    turned = replace(case.batch, inputs=inputs.roll(1, 1), targets=targets.roll(1, 1))
    yield from _compared(
        case, replace(case, batch=turned).scores, case.scores, counted if bool(case.exact.all()) else None
    )


def _compared(
    case: Case,
    left: Mapping[str, Tensor],
    right: Mapping[str, Tensor],
    bound: Callable[[Tensor], Bound] | None,
    says_something: Callable[[Tensor], Tensor] = torch.isfinite,
) -> Iterator[Balances]:
    """Scores against scores, weight by weight, where they say something; measured by the layer's largest."""
    for name in left:
        a, b = left[name].flatten(1), right[name].flatten(1)
        largest = torch.maximum(a.abs().amax(1, keepdim=True), b.abs().amax(1, keepdim=True))
        yield equal(
            f"weight of {name}",
            a,
            b,
            bound=bound(a) if bound else None,
            scale=torch.where(says_something(torch.maximum(a.abs(), b.abs())), largest, 0),
            label=lambda i, u, n=name, x=a, y=b: (  # type: ignore[misc]
                f"weight {n}[{u}]: score {' before, '.join(told(y[i, u], x[i, u]))} after"
            ),
        )


def _rescaled(case: Case, factors: Tensor) -> Case:
    """The case with the weights that enter each unit multiplied by its factor, and those that leave it divided."""
    by = torch.ones(case.graph.units, dtype=case.dtype, device=case.units.device)
    units = scalable(case)
    by[units] = factors.to(by)[units]
    return multiplied(case, entering=by, leaving=1 / by)


def _passing(case: Case) -> Tensor:
    """Units at products: what multiplies them does not only reach the weights behind them."""
    ends = [torch.arange(0), *(torch.cat([t.tails, t.heads]) for t in case.graph.transfers)]
    return torch.cat(ends)


_HEADS = {"matmul", "mm", "bmm", "scaled_dot_product_attention"}


def _is_movable(case: Case, junction: Junction) -> bool:
    """Whether each unit is one channel, or one run of features, of every weight at it: then they can change places.

    Not behind a norm or in an attention head, where units have a place among others.
    """
    if any(e.groups > 1 for e in (*junction.incoming, *junction.outgoing)):
        return False
    if any(s.role is Role.GAIN for s in junction.sources) or any(n.kind in _HEADS for n in junction.inner):
        return False
    if bool(torch.isin(_passing(case), torch.arange(junction.first, junction.first + junction.units)).any()):
        return False
    inside = torch.arange(junction.first, junction.first + junction.units)
    sides = [e.heads for e in junction.incoming] + [e.tails for e in junction.outgoing]
    return all(_is_in_runs(side[torch.isin(side, inside)]) for side in sides)


def _is_in_runs(units: Tensor) -> bool:
    _, lengths = torch.unique_consecutive(units, return_counts=True)
    return len(lengths) == len(torch.unique(units)) and len(torch.unique(lengths)) <= 1


def _permutation(case: Case, movable: list[Junction]) -> Tensor:
    """For each unit the one whose place it takes."""
    order, source = torch.arange(case.graph.units), case.source(5)
    for j in movable:
        order[j.span] = j.first + torch.randperm(j.units, generator=source)
    return order


def _reordered(case: Case, tensors: Mapping[str, Tensor], order: Tensor) -> dict[str, Tensor]:
    moved = dict(tensors)
    for edge in case.graph.edges:
        rows, columns = _places(order, edge.heads), _places(order, edge.tails)
        first, second = (columns, rows) if edge.transposed else (rows, columns)
        tensor = moved[edge.weight].index_select(1, first.to(moved[edge.weight].device))
        if edge.groups == 1:  # units of a grouped convolution stay
            tensor = tensor.index_select(2, second.to(tensor.device))
        moved[edge.weight] = tensor
    return moved


def _places(order: Tensor, units: Tensor) -> Tensor:
    """For each channel the one that takes its place: the same one, by position, of the unit that does."""
    at: dict[int, list[int]] = {}
    for channel, unit in enumerate(units.tolist()):
        at.setdefault(unit, []).append(channel)
    turn: Counter[int] = Counter()
    found = []
    for unit in units.tolist():
        taken = int(order[unit])
        found.append(at[taken][turn[unit]])
        turn[unit] += 1
    return torch.tensor(found, dtype=torch.int64)


def _taken(tensor: Tensor, taken: Tensor) -> Tensor:
    """A parameter's entries, each from the place of another."""
    flat = tensor.flatten(1)
    return flat.index_select(1, taken.to(flat.device)).view(tensor.shape)
