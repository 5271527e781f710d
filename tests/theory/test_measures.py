"""What single laws look at, against numbers worked out by hand: a law that looks at less would hold as well."""

import math

import pytest
import torch
from subjects import literal, traced
from torch import Tensor, nn

from pruning.trace import trace
from theory.case import Case
from theory.laws import catalogue
from theory.laws.critical import safe_rounds
from theory.laws.kinks import SLOPES, bent
from theory.networks.shape import Act, Dense, Shape
from theory.subjects import the_loss


def measured(law: str, case: Case):
    return list(catalogue()[law].measure(case))


@pytest.mark.parametrize(("total", "layers", "rounds"), [(100, 10, 47), (3, 3, 1), (14_761_664, 14, 389)])
def test_twice_the_layers_times_the_log_is_enough_rounds(total, layers, rounds):
    """Tanaka et al., Theorem 3, as corrected: n >= 2 L ln(N / L)."""
    assert safe_rounds(total, layers) == rounds == max(1, math.ceil(2 * layers * math.log(total / layers)))


def test_a_path_that_the_input_closes_carries_no_kernel():
    """PX's sum: of two hidden units the first sees 2, the second -1, and only the first's path is open."""
    shape = Shape((Dense(1, 2, False), Act("relu"), Dense(2, 1, False)), (1,), 1)
    numbers = {"0.weight": torch.tensor([[2.0], [-1.0]]), "2.weight": torch.tensor([[3.0, 5.0]])}
    case = Case(literal(shape, numbers, torch.tensor([[1.0]]), torch.tensor([[0.0]])), the_loss, generic=True)
    (found,) = measured("path_kernel_law", case)
    assert found.left.tolist() == found.right.tolist() == [[(1 * 2 * 3) ** 2, 0]]


class Shifted(nn.Module):
    """Adds a bias of its own between two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.shift, self.last = nn.Linear(3, 4, bias=False), nn.Parameter(torch.ones(4)), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last((self.first(x) + self.shift).relu())


def test_a_sum_with_a_parameter_is_looked_at():
    case = Case(traced(Shifted(), 3, inputs=(2, 3)), the_loss, generic=True)
    (found,) = (b for b in measured("degree_one_operators", case) if b.name.endswith(": add"))
    assert bool((found.scale > 0).all()) and bool((found.left != 0).any())


@pytest.mark.parametrize("size", [2, (2, 3), (3, 1)])
def test_slopes_at_kinks_and_shares_of_maxima_change_slopes_alone(size):
    """Of two tied entries torch's own pool passes the slope to one; where the shares are even each gets half."""
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.MaxPool2d(size), nn.Flatten(), nn.LazyLinear(2))
    model(torch.ones(1, 1, 7, 8))
    graph = trace(model.double(), torch.ones(1, 1, 7, 8, dtype=torch.float64)).graph
    params = {n: torch.randn(p.shape, dtype=torch.float64) for n, p in model.named_parameters()}
    x = torch.randint(-1, 2, (3, 1, 7, 8)).double().requires_grad_()
    plain, slopes = graph.run(params, x), []
    for slope in (0.0, 0.25):
        made = bent(graph, slope).run(params, x)
        assert torch.equal(made, plain)
        slopes.append(torch.autograd.grad(made.sum(), x)[0])
    (own,) = torch.autograd.grad(plain.sum(), x)
    sums, (first, *_) = [s.sum() for s in (own, slopes[0])], [s for s in slopes if not torch.equal(s, own)]
    assert torch.allclose(*sums) and first.count_nonzero() > own.count_nonzero()


def test_the_slope_at_0_is_as_given():
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1, bias=False))
    graph = trace(model, torch.ones(1, 1)).graph
    params = {e.weight: torch.ones(1, 1) for e in graph.edges}
    for slope in SLOPES:
        x = torch.tensor([[-1.0], [0.0], [1.0]], requires_grad=True)
        (found,) = torch.autograd.grad(bent(graph, slope).run(params, x).sum(), x)
        assert found.flatten().tolist() == [0, torch.tensor(slope).item(), 1]
