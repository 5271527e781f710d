"""Laws of gradients as matrices: linear bottlenecks, and the layer in front of a softmax."""

from collections.abc import Iterator

import torch
from torch import Tensor

from pruning.graph import Edge, Value
from pruning.masks import Masks
from pruning.problem import Problem
from theory.calculus import by_certificate, factors, gradient, objective_of, place_of, slopes, standing
from theory.case import Case
from theory.impostors.objectives import penalised, shrunk_logits
from theory.law import Balances, Grade, Subject, equal, law, told
from theory.networks.beyond import relu_pair, shifted_pair
from theory.subjects import the_loss
from theory.traits import Trait, bottlenecks, last_layer


@law(
    "A12",
    subject=Subject.OBJECTIVE,
    claim=None,
    needs={Trait.LINEAR},
    source="Du, Hu, Lee 2018; ReLU keeps the diagonal alone",
    impostor=penalised,
    breaks_on=(the_loss, relu_pair),
    grades=(Grade.EXACT, Grade.ORDER),
)
def matrix_law(case: Case) -> Iterator[Balances]:
    """Between two linear layers with nothing between them the whole matrix is balanced: G_1 W_1^T = W_2^T G_2."""
    chosen = [j for j in bottlenecks(case.graph, case.outside) if case.outside or not j.objections]
    if not chosen:
        return
    theta, g = standing(case), slopes(case)
    for junction in chosen:
        (w, u), (p, q) = factors(junction, theta), factors(junction, g)
        left, right = (p @ w.mT).flatten(1), (u @ q.mT).flatten(1)
        size = (p.abs() @ w.abs().mT + u.abs() @ q.abs().mT).flatten(1)

        def label(
            b: int, u: int, x: Tensor = left, y: Tensor = right, first: int = junction.first, n: int = junction.units
        ) -> str:
            row, column = (place_of(case, first + i) for i in divmod(u, n))
            return f"{row} and {column}: G W^T = {', W^T G = '.join(told(x[b, u], y[b, u]))}"

        yield from by_certificate(f"units after {junction.name}", left, right, size, case.exact, label)


@law(
    "A13",
    subject=Subject.OBJECTIVE,
    claim=None,
    needs={Trait.SOFTMAX},
    source="Kunin et al. 2021 (Neural Mechanics): a softmax does not see what all logits share",
    impostor=shrunk_logits,
    breaks_on=(the_loss, shifted_pair),
    grades=(Grade.ORDER,),
)
def translation_law(case: Case) -> Iterator[Balances]:
    """Under cross-entropy the gradient of the last layer's weights, and of its biases, sums to 0 over the classes."""
    edge = last_layer(case.graph)
    if edge is None:
        return
    found = case.each(lambda problem, masks: _summed(case, edge, problem, masks))
    for name, where in (("weight", "feature"), ("bias", "bias")):
        if name not in found:
            continue
        total = found[name]
        yield equal(f"{where} of {edge.weight}", total, torch.zeros_like(total), scale=found[f"{name} size"])


def _summed(case: Case, edge: Edge, problem: Problem, masks: Masks) -> dict[str, Tensor]:
    """Sums over the classes, and of their absolute terms: a logit's slope is p - 1 or p, over the samples.

    p - 1 is rounded as 1 is, however small it comes out, so what is summed has the size of p + 1.
    """
    seen: dict[str, Tensor] = {}
    value, at = objective_of(case, problem, masks)
    looked_at, _ = objective_of(case, problem, masks, lambda name, made: seen.setdefault(name, made))
    looked_at(at)
    g = gradient(value, at)
    argument = edge.node.args[1] if edge.node.kind == "addmm" else edge.node.args[0]
    assert isinstance(argument, Value)
    a = seen[argument.name]
    axis = 1 if edge.transposed else 0
    found = {
        "weight": g[edge.weight].sum(axis),
        "weight size": g[edge.weight].abs().sum(axis) + 2 * a.abs().flatten(0, -2).mean(0),
    }
    for source in (s for s in problem.network.graph.sources if s.node.name == edge.node.name):
        b = g[source.name]
        found |= {"bias": b.sum().view(1), "bias size": b.abs().sum().view(1) + 2}
    return found
