"""Anything is a pruner: masks, modules changed in place, torch.nn.utils.prune, and the SynFlow repository's form."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from problems import dense_problem, integer_batch, integer_weights, problem_of
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils import prune as torch_prune

from pruning.adapters.synaptic_flow import synaptic_flow
from pruning.adapters.torch_prune import torch_global, torch_local
from pruning.answers import ScoreError
from pruning.engine import prune
from pruning.inplace import in_place
from pruning.masks import Masks
from pruning.problem import Probe, Problem
from pruning.pruner import Claim, Pruner, State, masking
from pruning.pruners import built_in
from pruning.rebuilt import Rebuilt
from pruning.rounds import Trace
from pruning.schedule import exponential
from pruning.watched import Watched
from theory.laws import catalogue
from theory.networks import built_in as families
from theory.networks.family import examples
from theory.numerics import unit_roundoff
from theory.suite import check_pruner
from theory.verdict import Outcome

MASK_LAWS = ("M0", "M1", "M2", "M4", "M7", "M8", "M9")


def run(pruner: Pruner, problem: Problem, keep: int, rounds: int = 1) -> Trace:
    return prune(problem, pruner, exponential(problem.network.initial.total, keep, rounds))


# modules made of networks


@pytest.mark.parametrize("family", families())
def test_a_rebuilt_network_computes_what_the_network_does(family: str) -> None:
    for shape, seed in examples(families()[family], 6, 0):
        problem = families()[family].batch(shape, seed, 2).problem(1)
        network = problem.network
        x = problem.batch[0] if problem.batch else network.example
        before = torch.get_rng_state()
        model = Rebuilt(network, network.weights).eval()
        assert torch.equal(torch.get_rng_state(), before)
        named = {n: p.detach() for n, p in model.named_parameters()}
        assert all(torch.equal(named[n], w) for n, w in network.weights.items())
        made, wanted = model(x), network.forward(network.weights, x)
        # in half of the digits: some CPUs sum a product by where its numbers lie in memory
        near = unit_roundoff(torch.float64) ** 0.5 * float(torch.nan_to_num(wanted).abs().max())
        torch.testing.assert_close(made, wanted, rtol=0, atol=near, equal_nan=True)


def test_it_is_made_of_torchs_layers_and_its_weights_can_be_changed() -> None:
    model = nn.Sequential(
        nn.Conv1d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2), nn.ReLU(),
        nn.ConvTranspose1d(6, 4, 3, stride=2, padding=1, output_padding=1, groups=2, bias=False),
        nn.Conv1d(4, 2, 2, padding="same"), nn.Flatten(), nn.Linear(20, 3),
    )  # fmt: skip
    x, y = integer_batch((2, 4, 11), (2, 3))
    network = problem_of(integer_weights(model), (x, y)).network
    made = Rebuilt(network, network.weights)
    kinds = [type(layer) for path, layer in made.named_modules() if path.isdecimal()]
    assert kinds == [nn.Conv1d, nn.ConvTranspose1d, nn.Conv1d, nn.Linear]
    assert torch.equal(made(x), network.forward(network.weights, x))
    with torch.no_grad():
        made.get_parameter("2.weight").zero_()
    zeroed = {**network.weights, "2.weight": torch.zeros_like(network.weights["2.weight"])}
    assert torch.equal(made(x), network.forward(zeroed, x))


def test_a_watched_tensor_tells_when_its_numbers_are_read() -> None:
    told: list[int] = []
    x = Watched.over(torch.arange(6.0).reshape(2, 3), lambda: told.append(1))
    part = x[0, :].to(torch.float64)
    assert (part.shape, len(x), torch.ones_like(part).sum().item(), told) == ((3,), 2, 3.0, [])
    assert torch.equal(x @ torch.ones(3), torch.tensor([3.0, 12.0])) and told
    assert type(x + 1) is torch.Tensor
    seen = len(told)
    assert (part * 2).tolist() == [0, 2, 4] and len(told) > seen


# masks without scores


def keep_first(network: Any, state: State, keep: int, probe: Probe) -> dict[str, torch.Tensor]:
    alive = torch.cat([m.flatten() for m in state.masks.values()])
    chosen = alive & (torch.cumsum(alive, 0) <= keep)
    pieces = torch.split(chosen, [m.numel() for m in state.masks.values()])
    return {n: p.view(m.shape) for p, (n, m) in zip(pieces, state.masks.items(), strict=True)}


def test_a_pruner_may_give_masks_alone() -> None:
    found = run(masking("first", keep_first), dense_problem(), 7, 3)
    assert found.kept.sum(1).tolist()[-1] == 7 and found.mass.isnan().all() and not found.flat
    verdicts = check_pruner(masking("first", keep_first, claims=[Claim.EXACT_BUDGET, Claim.NESTED_MASKS]), examples=1)
    by_subject = {catalogue()[v.law].subject.value: set() for v in verdicts}
    for v in verdicts:
        by_subject[catalogue()[v.law].subject.value].add(v.outcome)
    assert by_subject["scores"] == {Outcome.OUT_OF_SCOPE}
    assert all("gives masks, no scores" in str(v.reason) for v in verdicts if catalogue()[v.law].subject == "scores")
    assert not any(v.failed for v in verdicts) and any(v.law == "exact_budget" and v.claimed for v in verdicts)


@pytest.mark.parametrize(
    ("choose", "said"),
    [
        (lambda *_: None, "the selection of 'wrong' returned NoneType, wanted a mapping"),
        (lambda n, s, *_: dict(s.weights), "is torch.float64, wanted a tensor of torch.bool"),
        (lambda *_: {"0.weight": torch.ones(1, dtype=torch.bool)}, "masks that don't fit: masks do not match"),
        (lambda *_: 1 / 0, "the selection of 'wrong' raised ZeroDivisionError"),
    ],
)
def test_masks_that_can_t_be_used_are_told(choose: Any, said: str) -> None:
    with pytest.raises(ScoreError, match=said):
        run(masking("wrong", choose), dense_problem(), 7)


def test_what_can_t_be_called_is_refused() -> None:
    with pytest.raises(TypeError, match="the choice of pruner 'no' is 3, wanted a function"):
        masking("no", 3)
    with pytest.raises(TypeError, match="what pruner 'no' is to call is None"):
        in_place("no", None)
    with pytest.raises(ValueError, match="a claim is one of"):
        masking("no", keep_first, claims=["kind"])
    by_scores = masking("first", keep_first)
    with pytest.raises(ValueError, match="this schedule goes by scores, and 'first' gives masks alone"):
        prune(dense_problem(), by_scores, lambda r, kept, alive: len(alive()))


# modules changed in place


def smallest_zeroed(model: nn.Module, keep: int, probe: Probe) -> None:
    weights = [p for n, p in model.named_parameters() if n.endswith("weight")]
    flat = torch.cat([w.abs().flatten() for w in weights])
    order = flat.argsort(descending=True, stable=True)
    kept = torch.zeros_like(flat, dtype=torch.bool).scatter(0, order[:keep], True)
    with torch.no_grad():
        for weight, mask in zip(weights, torch.split(kept, [w.numel() for w in weights]), strict=True):
            weight.mul_(mask.view_as(weight))


class Times(nn.Module):
    def __init__(self, mask: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight * self.mask


def parametrised(model: nn.Module, keep: int, probe: Probe) -> None:
    smallest_zeroed(model, keep, probe)
    for layer in [m for m in model.modules() if isinstance(m, nn.Linear)]:
        weight = layer.weight.detach().clone()
        with torch.no_grad():
            layer.weight.add_(0)
        parametrize.register_parametrization(layer, "weight", Times((weight != 0).double()))


def returned(model: nn.Module, keep: int, probe: Probe) -> dict[str, torch.Tensor]:
    smallest_zeroed(model, keep, probe)
    return {n: p != 0 for n, p in model.named_parameters() if n.endswith("weight")}


@pytest.mark.parametrize("call", [smallest_zeroed, parametrised, returned])
@pytest.mark.parametrize("keep", [1, 12, 30])
def test_what_was_done_in_place_is_read_off(call: Any, keep: int) -> None:
    problem = dense_problem()
    nonzero = {n: torch.where(w == 0, 5, w) for n, w in problem.network.weights.items()}
    problem = Problem(problem.network.with_weights(nonzero), problem.batch, problem.loss, 0)
    found, wanted = run(in_place("mine", call), problem, keep), run(built_in()["magnitude"], problem, keep)
    assert found.masks == wanted.masks


def test_weights_that_were_zero_before_go_by_the_count() -> None:
    problem = dense_problem()
    zeros = {n: torch.zeros_like(w) for n, w in problem.network.weights.items()}
    problem = Problem(problem.network.with_weights(zeros), problem.batch, problem.loss, 0)
    assert run(in_place("mine", smallest_zeroed), problem, 11, 3).kept.sum(1).tolist()[-1] == 11


def retrained(model: nn.Module, keep: int, probe: Probe) -> None:
    with torch.no_grad():
        model.get_parameter("0.weight").add_(1)


def shifted(model: nn.Module, keep: int, probe: Probe) -> None:
    smallest_zeroed(model, keep, probe)
    with torch.no_grad():
        model.get_parameter("2.bias").zero_()


def copied(model: nn.Module, keep: int, probe: Probe) -> nn.Module:
    smallest_zeroed(other := copy.deepcopy(model), keep, probe)
    return other


def replaced(model: nn.Module, keep: int, probe: Probe) -> None:
    model.get_submodule("0").weight = nn.Parameter(torch.ones(1, 1).double())


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (copied, "it returned Rebuilt; wanted nothing, the model being changed in place, or masks by name"),
        (retrained, "kept weights of '0.weight' were changed"),
        (replaced, "the weight '0.weight' is gone"),
        (shifted, "'2.bias' was changed, which is no prunable weight"),
    ],
)
def test_a_module_that_can_t_be_read_is_told(call: Any, said: str) -> None:
    with pytest.raises(ScoreError, match=said):
        run(in_place("mine", call), dense_problem(), 7)


# torch.nn.utils.prune


def test_torchs_global_magnitude_keeps_what_ours_keeps() -> None:
    source = torch.Generator().manual_seed(1)
    problem = dense_problem()
    drawn = {n: torch.randn(w.shape, generator=source).double() for n, w in problem.network.weights.items()}
    problem = Problem(problem.network.with_weights(drawn), problem.batch, problem.loss, 0)
    theirs = torch_global(torch_prune.L1Unstructured)
    for keep, rounds in ((1, 3), (10, 4), (40, 1)):
        assert run(theirs, problem, keep, rounds).masks == run(built_in()["magnitude"], problem, keep, rounds).masks


DRAWN = (Claim.NESTED_MASKS, Claim.DETERMINISTIC, Claim.DATA_FREE)  # the problem's seed decides what torch draws
EXACTLY = (*DRAWN, Claim.EXACT_BUDGET, Claim.IDEMPOTENT)
TORCH = {
    "L1Unstructured": torch_global(torch_prune.L1Unstructured, claims=EXACTLY),
    "RandomUnstructured": torch_global(torch_prune.RandomUnstructured, claims=EXACTLY),
    "l1_unstructured": torch_local(torch_prune.l1_unstructured, claims=DRAWN),
    "random_unstructured": torch_local(torch_prune.random_unstructured, claims=DRAWN),
    "ln_structured": torch_local(torch_prune.ln_structured, claims=DRAWN, n=2, dim=0),
    "random_structured": torch_local(torch_prune.random_structured, claims=DRAWN, dim=0),
}


@pytest.mark.parametrize("name", TORCH)
def test_torchs_methods_keep_what_they_promise(name: str) -> None:
    verdicts = check_pruner(TORCH[name], laws=MASK_LAWS, examples=1)
    assert not [v for v in verdicts if v.failed], next(v for v in verdicts if v.failed)
    held = {v.law for v in verdicts if v.outcome is Outcome.HELD and (v.claimed or v.contract)}
    assert {"usable_runs", "nested_masks", "pure_choice", "repeated_runs", "data_free_runs"} <= held
    assert ("exact_budget" in held) == (Claim.EXACT_BUDGET in TORCH[name].claims)


def test_what_torchs_functions_can_not_be_called_with_is_told_at_once() -> None:
    for function, options in ((torch_prune.ln_structured, {}), (torch_prune.l1_unstructured, {"nn": 2})):
        with pytest.raises(TypeError, match=f"{function.__name__}.*can't be called with options"):
            torch_local(function, **options)
    with pytest.raises(TypeError, match="wanted a function such as l1_unstructured"):
        torch_local(torch_prune.L1Unstructured)


def test_layer_by_layer_misses_the_count_and_is_not_held_to_it() -> None:
    found = [v for v in check_pruner(TORCH["l1_unstructured"], laws=["M1"], examples=3) if v.outcome is Outcome.BROKEN]
    assert found and not any(v.failed for v in found)


# the form of the SynFlow paper's repository


class Theirs:
    """A pruner of that form, written for this test: what its users' classes share."""

    def __init__(self, masked_parameters: Any) -> None:
        self.masked_parameters = list(masked_parameters)
        self.scores: dict[int, torch.Tensor] = {}

    def mask(self, sparsity: float, scope: str) -> None:
        scores = torch.cat([s.flatten() for s in self.scores.values()])
        drop = int((1.0 - sparsity) * scores.numel())
        if drop >= 1:
            threshold = torch.kthvalue(scores, drop).values
            for mask, parameter in self.masked_parameters:
                mask.copy_((self.scores[id(parameter)] > threshold).to(mask))


def test_a_scope_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="the scope is 'all', wanted 'global' or 'local'"):
        synaptic_flow(Theirs, scope="all")


class NeverRestored(Theirs):
    def score(self, model: nn.Module, loss: Any, dataloader: Any, device: Any) -> None:
        with torch.no_grad():
            for tensor in model.state_dict().values():
                tensor.abs_()
        (data, _) = next(iter(dataloader))
        model(torch.ones([1, *data[0, :].shape]).to(device)).sum().backward()
        for _, p in self.masked_parameters:
            self.scores[id(p)] = torch.clone(p.grad * p).detach().abs_()


class TheirSynFlow(NeverRestored):
    def score(self, model: nn.Module, loss: Any, dataloader: Any, device: Any) -> None:
        signs = {name: tensor.sign() for name, tensor in model.state_dict().items()}
        super().score(model, loss, dataloader, device)
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                tensor.mul_(signs[name])


class TheirSNIP(Theirs):
    def score(self, model: nn.Module, loss: Any, dataloader: Any, device: Any) -> None:
        for mask, _ in self.masked_parameters:
            mask.requires_grad = True
        for data, target in dataloader:
            loss(model(data.to(device)), target.to(device)).backward()
        for mask, p in self.masked_parameters:
            self.scores[id(p)] = torch.clone(mask.grad).detach().abs_()
            mask.requires_grad = False


def test_their_synflow_scores_as_ours_does() -> None:
    model = nn.Sequential(nn.Linear(4, 5, bias=False), nn.ReLU(), nn.Linear(5, 3, bias=False))
    problem = problem_of(integer_weights(model), integer_batch((2, 4), (2, 3)))
    network, ours, theirs = problem.network, built_in()["synflow"], synaptic_flow(TheirSynFlow)
    masks = Masks({n: w > 0 for n, w in network.weights.items()})
    for state in (State(network.weights, Masks.full(network.weights)), State(network.weights, masks)):
        probe = Probe(problem)
        found = theirs.score(network, state, probe)
        wanted = ours.score(network, state, probe)
        assert all(torch.equal(found[n], wanted[n]) for n in wanted) and not probe.calls["batch"]


def outcomes(pruner: Pruner, laws: tuple[str, ...]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for v in check_pruner(pruner, laws=laws, examples=2):
        found.setdefault(v.id, set()).add(v.outcome.value)
    return found


def test_what_is_wrong_with_that_form_is_found() -> None:
    laws = ("A1", "B14", "M0", "M1", "M2", "S3", "S4", "S5")
    flow = outcomes(synaptic_flow(TheirSynFlow), laws)
    assert all("broken" not in flow[law] for law in ("A1", "B14", "M0", "M2", "S3", "S4", "S5"))
    assert "broken" in flow["M1"]  # ties at the threshold
    assert outcomes(synaptic_flow(NeverRestored), ("B14",)) == {"B14": {"broken"}}
    snip = outcomes(synaptic_flow(TheirSNIP), laws)
    assert all("broken" in snip[law] for law in ("M1", "M2", "S3", "S4"))  # it scores masks, which brings weights back
    assert all("broken" not in snip[law] for law in ("B14", "M0", "S5"))


def test_its_data_count_once_their_numbers_are_read() -> None:
    problem = dense_problem()
    state = State(problem.network.weights, Masks.full(problem.network.weights))
    for make, used in ((TheirSynFlow, False), (TheirSNIP, True)):
        probe = Probe(problem)
        synaptic_flow(make).score(problem.network, state, probe)
        assert bool(probe.calls["batch"]) is used
