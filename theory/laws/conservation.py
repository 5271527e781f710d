"""Conservation of saliency: units, layers, the boundary, and every cut."""

from collections.abc import Iterator

import torch
from torch import Tensor

from pruning.pruner import Claim
from pruning.pruners.synflow import synflow
from theory.case import Case
from theory.impostors.scores import nudged, over_fan_in
from theory.law import Balances, Grade, Subject, equal, law, told
from theory.networks.outside import tanh_net
from theory.numerics import Bound
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
    if not _biases_are_known(case):
        return
    for junction in case.hidden:
        into = case.incoming(junction, case.scores) + case.bias_into(junction)
        out = case.outgoing(junction, case.scores)
        yield equal(
            f"units after {junction.name}",
            into,
            out,
            bound=case.flow_bound(junction),
            scale=case.scale_at(junction),
            label=lambda b, u, i=into, o=out, j=junction: (  # type: ignore[misc]
                f"unit {u} after layer {j.name}: {' in, '.join(told(i[b, u], o[b, u]))} out"
            ),
        )


@law(
    "A1'",
    subject=Subject.SCORES,
    claim=Claim.NEURON_CONSERVED,
    needs={Trait.HOMOGENEOUS},
    source="Tanaka et al. 2020, Theorem 2, corrected by the bias flow",
    impostor=over_fan_in,
    breaks_on=(synflow, tanh_net),
    grades=GRADES,
)
def boundary_conservation(case: Case) -> Iterator[Balances]:
    """What leaves the input, plus every bias's saliency, equals what enters the output."""
    if not _biases_are_known(case):
        return
    biases = torch.stack([_column(f.sum(-1)) for f in case.bias_flows.values()] or [_zero(case)]).sum(0)
    start = _column(case.outgoing(case.input, case.scores).sum(-1))
    own = _column(case.bias_into(case.output).sum(-1))
    end = _column(case.incoming(case.output, case.scores).sum(-1)) + own
    size = _whole(case)
    yield equal("scores at input + biases = scores at output", start + biases, end, bound=case.cut_bound(), scale=size)
    if case.flow is not None:
        x, y = _column(case.flow.input), _column(case.flow.output)
        yield equal("<x, dR/dx> + biases = <y, dR/dy>", x + biases, y, bound=case.cut_bound(), scale=size)


@law(
    "A2",
    subject=Subject.SCORES,
    claim=Claim.LAYER_CONSERVED,
    needs={Trait.HOMOGENEOUS, Trait.CHAIN},
    source="Tanaka et al. 2020, Theorem 2, corrected by the bias flow",
    impostor=over_fan_in,
    breaks_on=(synflow, tanh_net),
    grades=GRADES,
)
def layer_conservation(case: Case) -> Iterator[Balances]:
    """Every layer of a chain carries the same saliency, once the biases that enter from there on are added."""
    if not _biases_are_known(case):
        return
    junctions, later, masses = case.graph.junctions, _zero(case), []
    for edge in reversed(case.graph.edges):
        later = later + _column(case.bias_into(junctions[edge.head]).sum(-1))
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
    end = case.incoming(case.output, case.scores).sum(-1) + case.bias_into(case.output).sum(-1)
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
    source = case.source(draw)
    side = {j.index: torch.rand(j.units, generator=source).lt(0.5).to(case.dtype) for j in case.graph.junctions}
    side[case.input.index] = torch.ones(case.input.units, dtype=case.dtype)
    side[case.output.index] = torch.zeros(case.output.units, dtype=case.dtype)
    flows = []
    for edge in case.graph.edges:
        score = case.scores[edge.weight]
        tail, head = side[edge.tail].to(score.device), side[edge.head].to(score.device)
        flows.append((score * (edge.per_tail(tail) - edge.per_head(head))).flatten(1).sum(1))
    fed = (j for j in case.graph.junctions if j.sources)
    flows += [(case.bias_into(j) * (1 - side[j.index])).sum(-1) for j in fed]
    return torch.stack(flows).sum(0)


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
