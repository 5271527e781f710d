"""Real packages through their adapters: torch-pruning's importances and torchao's Wanda."""

from __future__ import annotations

import pytest
import torch
import torch_pruning as tp
from problems import integer_batch, integer_weights, problem_of
from torch import Tensor, nn
from torchao.sparsity import WandaSparsifier

from pruning.adapters.torch_pruning import torch_pruning
from pruning.adapters.torchao import torchao
from pruning.engine import prune
from pruning.inputs import layers
from pruning.masks import Masks, layer_top_k
from pruning.network import Network
from pruning.newer.wanda import wanda as ours
from pruning.problem import Probe, Problem
from pruning.pruner import Claim, State, scored
from pruning.schedule import one_shot
from theory.suite import check_pruner
from theory.verdict import Outcome


def dense() -> Problem:
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 2, bias=False))
    return problem_of(integer_weights(model, 5), integer_batch((6, 3), (6, 2)))


def test_torch_prunings_importance_of_a_channel_is_the_score_of_all_weights_into_it() -> None:
    problem = dense()
    network = problem.network
    first, second = network.weights["0.weight"], network.weights["2.weight"]
    pruner = torch_pruning(tp.importance.GroupMagnitudeImportance(p=2, normalizer=None))
    found = pruner.score(network, State(network.weights, Masks.full(network.weights)), Probe(problem))
    group = (first.square().sum(1) + second.square().sum(0)) / 2  # the mean over what belongs to a hidden unit
    assert torch.equal(found["0.weight"], group.unsqueeze(1).expand_as(first))
    assert torch.equal(found["2.weight"], second.square().sum(1, keepdim=True).expand_as(second))
    taylor = torch_pruning(tp.importance.GroupTaylorImportance(), slopes=True, name="Taylor")
    probe = Probe(problem)
    assert all(
        s.isfinite().all()
        for s in taylor.score(network, State(network.weights, Masks.full(network.weights)), probe).values()
    )
    assert probe.calls["batch"] == 1


def test_what_the_laws_say_of_torch_prunings_magnitude() -> None:
    pruner = torch_pruning(tp.importance.GroupMagnitudeImportance(p=2))
    verdicts = check_pruner(pruner, laws=["B14", "B12c", "S5", "M0", "A1"], examples=6)
    by_law = {name: {v.outcome for v in verdicts if v.id == name} for name in ("B14", "B12c", "S5", "M0", "A1")}
    assert Outcome.BROKEN not in by_law["B14"] | by_law["S5"]
    assert Outcome.BROKEN in by_law["A1"]
    moved = next(v.witness for v in verdicts if v.id == "B12c" and v.outcome is Outcome.BROKEN)
    assert moved and 0 < abs(moved.left / moved.right - 1) < 2 * torch.finfo(torch.float32).eps  # it sums in float32
    dead = next(v for v in verdicts if v.id == "M0" and v.outcome is Outcome.BROKEN)
    assert "NaN" in dead.where  # it divides by the mean, which is 0 once a layer is empty


pytestmark = pytest.mark.filterwarnings("ignore:[\\s\\S]*torch.ao.quantization is deprecated:DeprecationWarning")


def wanda(sparsity: float) -> WandaSparsifier:
    return WandaSparsifier(sparsity_level=sparsity)


def test_torchaos_wanda_prunes_the_least_weight_times_norm_of_its_input() -> None:
    problem = dense()
    weight, x = problem.network.weights["0.weight"], problem.batch[0]
    found = prune(problem, torchao(wanda), one_shot(problem.network.initial.total, 10)).masks["0.weight"]
    metric = weight.abs() * x.norm(dim=0)
    assert int(found.sum()) == 12 - int(12 * (1 - 10 / 20))
    assert metric[found].min() >= metric[~found].max()


def test_what_the_laws_say_of_torchaos_wanda() -> None:
    pruner = torchao(wanda, name="torchao Wanda", claims=[Claim.NESTED_MASKS])
    verdicts = check_pruner(pruner, laws=["M0", "M1", "M2", "M4"], examples=1)
    assert not [v for v in verdicts if v.failed]
    assert {v.id for v in verdicts if v.outcome is Outcome.HELD} >= {"M0", "M2"}
    rounding = {v.id for v in verdicts if v.outcome is Outcome.BROKEN}
    assert rounding == {"M1"}  # each layer rounds its own count, and down


def test_torchaos_wanda_squares_the_norm_and_compares_whole_layers_unlike_the_papers() -> None:
    """Half of every layer is a whole number here, so that nothing has to be rounded."""

    def squared(network: Network, state: State, probe: Probe) -> dict[str, Tensor]:
        read = layers(network, state.effective, probe.batch()[0])
        norms = {n: layer.entries(layer.inputs.square().sum(1, keepdim=True)) for n, layer in read.items()}
        return {n: w.abs() * norms[n] for n, w in state.effective.items()}

    pruners, differ = (torchao(wanda), scored("squared", squared, select=layer_top_k), ours), 0
    for seed in range(10):
        model = nn.Sequential(nn.Linear(6, 4, bias=False), nn.ReLU(), nn.Linear(4, 2, bias=False)).double()
        source = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for p in model.parameters():
                p.copy_(torch.randn(p.shape, generator=source))
        problem = problem_of(model, (torch.randn(5, 6, generator=source).double(), torch.zeros(5, 2).double()))
        theirs, expected, papers = (prune(problem, p, one_shot(32, 16)).masks for p in pruners)
        assert theirs.digest() == expected.digest()
        differ += theirs.digest() != papers.digest()
    assert differ
