"""Conservation of saliency: units, layers, the boundary, and every cut."""

from collections.abc import Iterator

import torch
from torch import Tensor

from pruning.pruner import Claim
from pruning.pruners.synflow import synflow
from theory.calculus import unit_balances
from theory.case import Case
from theory.impostors.scores import nudged, over_fan_in
from theory.law import Balances, Grade, Subject, equal, folklore, law
from theory.networks.outside import tanh_net, tanh_square_net
from theory.networks.smallest import biased_chain, square_net
from theory.numerics import Bound, gamma
from theory.subjects import the_loss
from theory.traits import Trait

GRADES = (Grade.EXACT, Grade.ROUNDED, Grade.ORDER)


@law(
    "A1",
    subject=Subject.SCORES,
    claim=Claim.NEURON_CONSERVED,
    needs={Trait.HOMOGENEOUS},
    local=True,
    source="Tanaka et al. 2020, Theorem 1",
    impostor=nudged,
    breaks_on=(synflow, tanh_net),
    grades=GRADES,
)
def neuron_conservation(case: Case) -> Iterator[Balances]:
    """The saliency that enters a hidden unit, its bias's included, equals the saliency that leaves it."""
    yield from _balanced(case, case.units)


def _balanced(case: Case, units: Tensor) -> Iterator[Balances]:
    """What enters each of some units against what leaves it."""
    if not _biases_are_known(case) or not len(units):
        return
    into = (case.graph.incoming(case.scores) + case.entering)[:, units]
    out = case.graph.outgoing(case.scores)[:, units]
    bound = case.flow_bound()
    at_units = None if bound is None else Bound(bound.size[:, units], bound.exact)
    yield unit_balances(case, "", into, out, case.absolute[:, units], units, at_units)


@folklore(the_loss, square_net)
def whatever_the_activation(case: Case) -> Iterator[Balances]:
    """Saliency is conserved whatever the activation, as long as it is homogeneous."""
    into = (case.graph.incoming(case.scores) + case.entering)[:, case.powered]
    out = torch.stack([e.out_of(case.scores[e.weight], case.graph.units) for e in case.graph.edges]).sum(0)
    heads = torch.cat([t.heads for t in case.graph.transfers])
    yield equal("powers", into.sum(1, keepdim=True), out[:, heads].sum(1, keepdim=True), scale=_whole(case))


@law(
    "A7",
    subject=Subject.SCORES,
    claim=Claim.NEURON_CONSERVED,
    needs={Trait.HOMOGENEOUS},
    local=True,
    source="Euler's identity for an activation of degree k",
    impostor=over_fan_in,
    breaks_on=(synflow, tanh_square_net),
    grades=(Grade.ORDER,),
    corrects=(whatever_the_activation,),
)
def neuron_conservation_by_degree(case: Case) -> Iterator[Balances]:
    """At an activation of degree k, such as relu^k, the saliency that enters is k times what leaves."""
    yield from _balanced(case, case.powered)


@folklore(the_loss, biased_chain)
def input_equals_output(case: Case) -> Iterator[Balances]:
    """What leaves the input equals what enters the output (Theorem 2 read without its hypothesis on biases)."""
    start = _column(case.graph.outgoing(case.scores)[:, case.graph.inputs].sum(-1))
    yield equal("input = output", start, _column(_at_output(case)), bound=case.cut_bound(), scale=_whole(case))


@law(
    "A1'",
    subject=Subject.SCORES,
    claim=Claim.NEURON_CONSERVED,
    needs={Trait.HOMOGENEOUS},
    source="Tanaka et al. 2020, Theorem 2, corrected by the bias flow",
    impostor=over_fan_in,
    breaks_on=(synflow, tanh_net),
    grades=GRADES,
    corrects=(input_equals_output,),
)
def boundary_conservation(case: Case) -> Iterator[Balances]:
    """What leaves the input, plus every bias's saliency, equals what enters the output."""
    if not _biases_are_known(case):
        return
    biases = _column(case.entering.sum(-1))
    start = _column(case.graph.outgoing(case.scores)[:, case.graph.inputs].sum(-1))
    end = _column(_at_output(case))
    size = _whole(case)
    yield equal("scores at input + biases = scores at output", start + biases, end, bound=case.cut_bound(), scale=size)
    if case.flow is not None:
        x, y = _column(case.flow.input), _column(case.flow.output)
        yield equal("<x, dR/dx> + biases = <y, dR/dy>", x + biases, y, bound=case.cut_bound(), scale=size)


@folklore(the_loss, biased_chain)
def equal_layers(case: Case) -> Iterator[Balances]:
    """Every layer of a chain carries the same saliency, biases or not."""
    masses = [_column(case.scores[e.weight].flatten(1).sum(1)) for e in case.graph.edges]
    for mass in masses[:-1]:
        yield equal("layers", mass, masses[-1], bound=case.cut_bound(), scale=_whole(case))


@law(
    "A2",
    subject=Subject.SCORES,
    claim=Claim.LAYER_CONSERVED,
    needs={Trait.HOMOGENEOUS, Trait.CHAIN},
    source="Tanaka et al. 2020, Theorem 2, corrected by the bias flow",
    impostor=over_fan_in,
    breaks_on=(synflow, tanh_net),
    grades=GRADES,
    corrects=(equal_layers,),
)
def layer_conservation(case: Case) -> Iterator[Balances]:
    """Every layer of a chain carries the same saliency, once the biases that enter from there on are added."""
    if not _biases_are_known(case):
        return
    later, masses = _zero(case), []
    for edge in reversed(case.graph.edges):
        later = later + _column(case.entering[:, torch.unique(edge.heads)].sum(-1))
        masses.append(_column(case.scores[edge.weight].flatten(1).sum(1)) + later)
    last = masses[0]
    for edge, mass in zip(reversed(case.graph.edges[:-1]), masses[1:], strict=True):
        yield equal(
            f"layer {edge.node.where} against the last",
            mass,
            last,
            bound=case.cut_bound(),
            scale=_whole(case),
        )


@law(
    "A6",
    subject=Subject.SCORES,
    claim=Claim.LAYER_CONSERVED,
    needs={Trait.HOMOGENEOUS, Trait.CHAIN},
    source="Tanaka et al. 2020, section 4: average saliency against layer size, for chains without biases",
    impostor=over_fan_in,
    breaks_on=(synflow, tanh_net),
    grades=(Grade.ROUNDED, Grade.ORDER),
)
def layer_mean(case: Case) -> Iterator[Balances]:
    """Without biases, a layer's mean saliency is what enters the output over its number of weights."""
    if not _biases_are_known(case):
        return
    free, end = _column((case.entering == 0).all(-1)), _column(_at_output(case))
    for name, score in case.scores.items():
        count, flat = score[0].numel(), score.flatten(1)
        bound = case.cut_bound()
        yield equal(
            f"mean of layer {name}",
            flat.mean(1, keepdim=True),
            end / count,
            bound=None if bound is None else _of_quotients(case, flat, end, bound.size / count),
            scale=torch.where(free, _whole(case) / count, 0),
        )


def _of_quotients(case: Case, flat: Tensor, end: Tensor, size: Tensor) -> Bound:
    """A mean and a quotient round once each beyond the sums, integers or not."""
    terms = flat.abs().mean(1, keepdim=True) + end.abs() / flat.shape[1]
    return Bound(size + gamma(3, case.dtype) * terms, torch.zeros(len(flat), dtype=torch.bool))


@law(
    "A4",
    subject=Subject.SCORES,
    claim=Claim.NEURON_CONSERVED,
    needs={Trait.HOMOGENEOUS},
    source="Tanaka et al. 2020, Theorem 2, for any cut; a random one meets each broken unit half the time",
    impostor=over_fan_in,
    breaks_on=(synflow, tanh_net),
    grades=GRADES,
)
def random_cut(case: Case) -> Iterator[Balances]:
    """Any set of units with the input and without the output passes the same net saliency to the rest."""
    if not _biases_are_known(case):
        return
    end = _at_output(case)
    columns = torch.stack([_net(case, draw) for draw in range(8)], dim=1)
    yield equal(
        "random cut",
        columns,
        end.unsqueeze(1).expand_as(columns),
        bound=_widened(case, columns),
        scale=_whole(case).expand_as(columns),
    )


def _net(case: Case, draw: int) -> Tensor:
    """S(A -> B) - S(B -> A) for a random set A of units: (batch,)."""
    side = torch.rand(case.graph.units, generator=case.source(draw)).lt(0.5).to(case.entering)
    side[case.graph.inputs], side[case.graph.outputs] = 1, 0
    flows = [(case.entering * (1 - side)).sum(-1)]
    for edge in case.graph.edges:
        score = case.scores[edge.weight]
        flows.append((score * (edge.per_tail(side) - edge.per_head(side))).flatten(1).sum(1))
    return torch.stack(flows).sum(0)


def _at_output(case: Case) -> Tensor:
    """What enters the output's units: (batch,)."""
    return (case.graph.incoming(case.scores) + case.entering)[:, case.graph.outputs].sum(-1)


def _widened(case: Case, like: Tensor) -> Bound | None:
    bound = case.cut_bound()
    return None if bound is None else Bound(bound.size.expand_as(like), bound.exact)


def _biases_are_known(case: Case) -> bool:
    """Without an objective the flow of a bias is unknown, and only bias-free networks can be judged."""
    return not case.has_sources or case.pruner.objective is not None


def _column(values: Tensor) -> Tensor:
    return values.reshape(-1, 1)


def _zero(case: Case) -> Tensor:
    first = next(iter(case.scores.values()))
    return torch.zeros(case.batch.size, 1, dtype=case.dtype, device=first.device)


def _whole(case: Case) -> Tensor:
    return _column(torch.stack([s.abs().flatten(1).sum(1) for s in case.scores.values()]).sum(0))
