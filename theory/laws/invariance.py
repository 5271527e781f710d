"""Invariances of scores: what leaves the network's function alone leaves the scores alone."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from pruning.graph import Junction, Param
from pruning.pruner import Claim
from pruning.pruners.synflow import synflow
from theory.case import Case
from theory.impostors.scores import favouring_early, raw_gradient, signed_flow
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
    source = case.source(2)
    factors = {j.index: 0.5 + torch.rand(1, j.units, generator=source).double() for j in case.hidden}
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
    source = case.source(3)
    factors = {j.index: torch.exp2(torch.randint(1, 5, (1, j.units), generator=source).double()) for j in case.hidden}
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
    source = case.source(5)
    known = (j for j in case.hidden if j.units > 1)  # elsewhere something unknown may belong to a unit, or order them
    movable = [j for j in known if all(e.groups == 1 for e in (*j.incoming, *j.outgoing))]
    if not movable:
        return
    orders = {j.index: torch.randperm(j.units, generator=source) for j in movable}
    constants = {p: orders[j.index] for j in movable for p in _constants(j)}
    permuted = case.moved(
        _reordered(case, case.batch.weights, orders),
        {n: _taken(t, constants.get(n)) for n, t in case.batch.fixed.items()},
        {n: _taken(t, constants.get(n)) for n, t in case.batch.neutral.items()},
    )
    if case.masks is not None:
        permuted = replace(permuted, masks=_reordered(case, case.masks, orders))
    expected = _reordered(case, case.scores, orders)
    # the permuted network holds the same numbers, and its sums the same terms: it is exact where this one is
    yield from _compared(case, permuted.scores, expected, counted if bool(case.exact.all()) else None)


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


def _rescaled(case: Case, factors: Mapping[int, Tensor]) -> Case:
    weights, fixed = dict(case.batch.weights), dict(case.batch.fixed)
    for junction in case.hidden:
        factor = factors[junction.index].to(next(iter(weights.values())))
        for edge in junction.incoming:
            weights[edge.weight] = weights[edge.weight] * edge.per_head(factor)
        for edge in junction.outgoing:
            weights[edge.weight] = weights[edge.weight] / edge.per_tail(factor)
        for source in junction.sources:
            fixed[source.name] = fixed[source.name] * factor.view(1, *fixed[source.name].shape[1:])
    return case.moved(weights, fixed)


def _reordered(case: Case, tensors: Mapping[str, Tensor], orders: Mapping[int, Tensor]) -> dict[str, Tensor]:
    moved = dict(tensors)
    for edge in case.graph.edges:
        if edge.head in orders:
            moved[edge.weight] = moved[edge.weight].index_select(1, orders[edge.head].to(moved[edge.weight].device))
        if edge.tail in orders:
            tensor = moved[edge.weight]
            columns = tensor.reshape(*tensor.shape[:2], edge.tail_units, -1)
            order = orders[edge.tail].to(tensor.device)
            moved[edge.weight] = columns.index_select(2, order).reshape(tensor.shape)
    return moved


def _constants(junction: Junction) -> list[str]:
    """Biases, shifts and scales that belong to the junction's units."""
    scales = [a.name for node in junction.inner for a in node.args if isinstance(a, Param)]
    return list(dict.fromkeys([*(s.name for s in junction.sources), *scales]))


def _taken(tensor: Tensor, order: Tensor | None) -> Tensor:
    return tensor if order is None else tensor.index_select(1, order.to(tensor.device))
