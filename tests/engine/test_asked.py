"""Asking a pruner about a module: what is no pruner, problem, target or mask is told from one that is."""

import pytest
import torch
from problems import dense_model, integer_batch
from torch import nn

from pruning.asked import problem, scores
from pruning.engine import prune
from pruning.maskfile import load_masks, save_masks
from pruning.masks import Masks
from pruning.problem import Probe
from pruning.pruners.magnitude import magnitude
from pruning.pruners.snip import snip
from pruning.pruners.synflow import synflow
from pruning.schedule import exponential

X, Y = integer_batch((3, 4), (3, 2))


def test_scores_of_a_module_are_those_of_its_weights() -> None:
    asked = problem(dense_model(), X, Y)
    found = scores(magnitude, asked)
    assert {n: s.shape for n, s in found.items()} == {n: w.shape for n, w in asked.network.weights.items()}
    assert any(bool((s > 0).any()) for s in scores(snip, asked).values())


@pytest.mark.parametrize(
    ("targets", "loss", "said"),
    [
        (Y[:1], "squared-error", r"targets are \(1, 2\), wanted the outputs' \(3, 2\)"),
        (Y[:, 0], "squared-error", "targets are"),
        (torch.zeros(2, dtype=torch.int64), "cross-entropy", "the loss of the batch can't be had"),
        (torch.full((3,), 7), "cross-entropy", "the loss of the batch can't be had"),
        (Y, lambda outputs, targets: outputs - targets, r"float64 of \(3, 2\), wanted a tensor of one real number"),
        (Y, lambda outputs, targets: 0.0, "float, wanted a tensor"),
        (Y, "hinge", "there is no loss 'hinge'"),
    ],
)
def test_targets_that_a_loss_can_not_take_are_refused(targets, loss, said) -> None:
    """Else they are broadcast, and the scores are of another loss than was meant."""
    with pytest.raises(ValueError, match=said):
        problem(dense_model(), X, targets, loss=loss)


def test_inputs_that_are_no_numbers_or_no_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="the inputs of the batch hold 12 NaN or infinite values of 12"):
        problem(dense_model(), X * torch.nan, Y)
    with pytest.raises(ValueError, match=r"the inputs are a tensor of \(0, 4\), wanted"):
        problem(dense_model(), X[:0], Y[:0])
    with pytest.raises(ValueError, match="the inputs are list"):
        problem(dense_model(), [1.0], Y)


class Turning(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 2).double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) if x.sum() > 0 else -self.inner(x)


def test_a_module_that_goes_by_values_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="what is checked is the way that it goes on its example"):
        problem(Turning(), torch.ones(3, 4, dtype=torch.float64))


def test_random_numbers_shaped_like_masks_are_real() -> None:
    asked = problem(dense_model(), X)
    drawn = Probe(asked).rand(asked.network.initial)
    assert all(t.dtype is torch.float64 and 0 <= float(t.min()) <= float(t.max()) < 1 for t in drawn.values())


def test_what_is_no_pruner_or_problem_is_named() -> None:
    asked = problem(dense_model(), X, Y)
    for wrong in ("synflow", nn.Linear(2, 2), synflow.score):
        with pytest.raises(TypeError, match=f"got {type(wrong).__name__} for a pruner"):
            scores(wrong, asked)
        with pytest.raises(TypeError, match=f"got {type(wrong).__name__} for a pruner"):
            prune(asked, wrong, exponential(35, 5, 2))
    with pytest.raises(TypeError, match="got Sequential for a problem"):
        scores(synflow, dense_model())
    with pytest.raises(TypeError, match="the schedule is 5"):
        prune(asked, synflow, 5)
    with pytest.raises(TypeError, match="the seed is 'a'"):
        problem(dense_model(), X, Y, seed="a")


def test_masks_that_are_none_are_not_written(tmp_path) -> None:
    weights = problem(dense_model(), X).network.weights
    path = tmp_path / "masks.safetensors"
    with pytest.raises(TypeError, match=r"wanted a tensor of torch\.bool"):
        save_masks(path, {n: torch.ones_like(w) for n, w in weights.items()}, {})
    with pytest.raises(ValueError, match="masks are empty"):
        save_masks(path, {}, {})
    assert not path.exists()
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        save_masks(tmp_path / "no" / "such.safetensors", {n: w > 0 for n, w in weights.items()}, {})
    with pytest.raises(TypeError, match="wanted texts by name"):
        save_masks(path, {n: w > 0 for n, w in weights.items()}, {"n": 3})
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_masks(tmp_path, weights)
    save_masks(path, {n: w > 0 for n, w in weights.items()}, {})  # a plain mapping will do
    with pytest.raises(TypeError, match="got Sequential for weights"):
        load_masks(path, dense_model())
    assert load_masks(path, weights)[0] == Masks({n: w > 0 for n, w in weights.items()})
