"""Masks and the selection of exactly k weights, against a plain sort."""

import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pruning import masks as masks_module
from pruning.masks import Masks, check_against, global_top_k, keep_count

# few values, so that ties are the rule; zeros of both signs
VALUES = st.sampled_from([-2.0, -1.0, -0.0, 0.0, 5e-324, 0.5, 1.0, 1e300])
BRANCHES = ["partition", "kthvalue"]


def plain_selection(scores: list[float], kept: list[bool], k: int) -> list[bool]:
    """The k best survivors, of equals the earlier, by sorting Python numbers."""
    order = sorted((i for i, alive in enumerate(kept) if alive), key=lambda i: (-scores[i], i))
    return [i in set(order[:k]) for i in range(len(scores))]


@st.composite
def selections(draw: st.DrawFn) -> tuple[list[int], list[float], list[bool], int]:
    sizes = draw(st.lists(st.integers(1, 7), min_size=1, max_size=4))
    total = sum(sizes)
    scores = draw(st.lists(VALUES, min_size=total, max_size=total))
    kept = draw(st.lists(st.booleans(), min_size=total, max_size=total))
    return sizes, scores, kept, draw(st.integers(0, sum(kept)))


def layered(values: list[float] | list[bool], sizes: list[int], dtype: torch.dtype) -> dict[str, Tensor]:
    pieces = torch.split(torch.tensor(values, dtype=dtype), sizes)
    return {f"layer{i}": piece.clone() for i, piece in enumerate(pieces)}


def flat(masks: Masks) -> list[bool]:
    return torch.cat([mask.flatten() for mask in masks.values()]).tolist()


def use(branch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if branch == "kthvalue":  # what other devices use
        monkeypatch.setattr(masks_module, "_kth_by_partition", masks_module._kth_by_torch)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@given(case=selections())
@settings(deadline=None)
def test_exactly_the_k_best_survivors_are_kept_and_of_equals_the_earlier(dtype, case):
    sizes, scores, kept, k = case
    rounded = torch.tensor(scores, dtype=torch.float64).clamp(max=2.0).to(dtype).tolist()
    chosen = global_top_k(layered(rounded, sizes, dtype), Masks(layered(kept, sizes, torch.bool)), k)
    assert flat(chosen) == plain_selection(rounded, kept, k)


@given(case=selections())
@settings(deadline=None)
def test_both_ways_to_find_the_threshold_agree(case):
    """torch.kthvalue over all with -inf where pruned, and numpy's partition of the survivors."""
    _, scores, kept, k = case
    alive = torch.tensor(kept)
    values = torch.tensor(scores, dtype=torch.float64)
    if k:
        by_torch = masks_module._kth_by_torch(values.masked_fill(~alive, -torch.inf), k)
        by_partition = masks_module._kth_by_partition(values[alive], k)
        assert by_torch.item() == by_partition.item() == sorted(values[alive].tolist())[-k]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_cuda_device_keeps_the_same_weights():
    source = torch.Generator().manual_seed(0)
    scores = {"a": torch.randint(0, 50, (4000,), generator=source).float()}
    masks = Masks({"a": torch.rand(4000, generator=source) < 0.7})
    there = {"a": scores["a"].cuda()}, Masks({"a": masks["a"].cuda()})
    assert torch.equal(global_top_k(*there, 1000)["a"].cpu(), global_top_k(scores, masks, 1000)["a"])
    assert torch.equal(global_top_k(*there, masks.kept + 1)["a"].cpu(), masks["a"])  # more than there are: none returns


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("k", [0, 1, 11, 12])
def test_boundary_counts(branch, k, monkeypatch):
    use(branch, monkeypatch)
    scores = {"a": torch.zeros(3, 2), "b": torch.zeros(6)}
    chosen = global_top_k(scores, Masks.full(scores), k)
    assert flat(chosen) == [True] * k + [False] * (12 - k)


@pytest.mark.parametrize("branch", BRANCHES)
def test_a_pruned_weight_never_returns_not_even_with_the_highest_score(branch, monkeypatch):
    use(branch, monkeypatch)
    masks = Masks({"a": torch.tensor([False, True, True])})
    scores = {"a": torch.tensor([1e30, -7.0, -8.0])}
    assert global_top_k(scores, masks, 1)["a"].tolist() == [False, True, False]


@pytest.mark.parametrize("k", [-1, 3])
def test_a_count_out_of_range_is_refused(k):
    masks = Masks({"a": torch.tensor([False, True, True])})
    with pytest.raises(ValueError, match=rf"asked to keep {k} weights, wanted 0 to 2"):
        global_top_k({"a": torch.ones(3)}, masks, k)


def test_selection_leaves_scores_and_masks_alone():
    scores, masks = {"a": torch.tensor([3.0, 1.0, 2.0])}, Masks({"a": torch.tensor([True, True, False])})
    global_top_k(scores, masks, 1)
    assert scores["a"].tolist() == [3.0, 1.0, 2.0]
    assert masks["a"].tolist() == [True, True, False]


def test_scores_that_carry_a_gradient_are_selected_from():
    scores = {"a": torch.tensor([3.0, 1.0], requires_grad=True)}
    assert global_top_k(scores, Masks.full(scores), 1)["a"].tolist() == [True, False]


def test_masks_count_what_they_keep():
    masks = Masks({"a": torch.tensor([[True, False], [True, True]]), "b": torch.tensor([False])})
    assert (masks.total, masks.kept, masks.kept_by_layer(), masks.density) == (5, 3, [3, 0], 3 / 5)
    assert repr(masks) == "Masks(3 of 5 kept in 2 layers)"


def test_masks_without_a_layer_are_refused():
    with pytest.raises(ValueError, match="masks are empty"):
        Masks({})


@pytest.mark.parametrize("mask", [torch.ones(2), torch.ones(2, dtype=torch.uint8), [True]])
def test_a_mask_that_is_no_boolean_tensor_is_refused(mask):
    with pytest.raises(TypeError, match=r"the mask of 'fc' is .*, wanted a tensor of torch\.bool"):
        Masks({"fc": mask})


def test_applying_masks_zeroes_what_is_pruned():
    masks = Masks({"a": torch.tensor([True, False])})
    assert masks.apply({"a": torch.tensor([2.0, 3.0])})["a"].tolist() == [2.0, 0.0]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"b": torch.ones(2)}, "missing 'b', not asked for 'a'"),
        ({"a": torch.ones(2), "b": torch.ones(1)}, "missing 'b', not asked for none"),
        ({"a": torch.ones(3)}, r"the mask of 'a' has shape \(2,\), wanted \(3,\)"),
        ({"a": torch.ones(1, 2)}, r"the mask of 'a' has shape \(2,\), wanted \(1, 2\)"),
    ],
)
def test_masks_for_other_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        Masks({"a": torch.ones(2, dtype=torch.bool)}).apply(weights)


def test_a_long_list_of_missing_names_stays_one_short_line():
    weights = {f"layer{i}.weight": torch.ones(1) for i in range(50)}
    with pytest.raises(ValueError, match=r"'layer2\.weight' and 47 more") as caught:
        check_against(weights, {"x": torch.ones(1)}, "mask")
    assert len(str(caught.value)) < 200
    with pytest.raises(ValueError, match="'3' and 1 more, not"):
        check_against({str(i): torch.ones(1) for i in range(1, 5)}, {}, "mask")


@given(bits=st.lists(st.booleans(), min_size=1, max_size=9), data=st.data())
def test_the_digest_changes_with_any_bit(bits, data):
    mask = torch.tensor(bits)
    other = mask.clone()
    position = data.draw(st.integers(0, len(bits) - 1))
    other[position] = ~other[position]
    assert Masks({"a": mask}).digest() == Masks({"a": mask.clone()}).digest() != Masks({"a": other}).digest()


def test_the_digest_tells_names_and_shapes_apart():
    mask = torch.ones(4, dtype=torch.bool)
    digests = {Masks(m).digest() for m in ({"a": mask}, {"b": mask}, {"a": mask.view(2, 2)}, {"a": mask.view(4, 1)})}
    assert len(digests) == 4


def test_equal_masks_are_equal_values():
    one, same = (Masks({"a": torch.tensor([True, False])}) for _ in range(2))
    assert one == same
    assert one != Masks({"a": torch.tensor([True, True])})
    assert one != Masks({"a": torch.tensor([[True, False]])})
    assert one != {"a": torch.tensor([True, False])}
    assert pickle.loads(pickle.dumps(one)) == one
    two = Masks({**one, "b": torch.tensor([True])})
    assert two != one and two != Masks({"b": two["b"], "a": two["a"]}), "the order of the layers decides ties"


@pytest.mark.parametrize("density", [0, -0.1, 1.0000001, 100, float("nan"), float("inf")])
def test_a_density_outside_its_range_is_refused_with_the_number_as_given(density):
    with pytest.raises(ValueError, match=rf"density is {density}; wanted a fraction kept in \(0, 1\]"):
        keep_count(10, density)


def test_a_density_below_one_weight_is_refused():
    with pytest.raises(ValueError, match="below one weight; the highest possible compression is 1000"):
        keep_count(1000, 0.0004)


@pytest.mark.parametrize(("density", "kept"), [(1, 1000), (1.0, 1000), (0.001, 1), (0.0006, 1), (0.1234, 123)])
def test_a_density_keeps_the_nearest_count(density, kept):
    assert keep_count(1000, density) == kept


def test_vgg16_at_a_compression_of_100_keeps_the_papers_count():
    assert keep_count(14_761_664, 1 / 100) == 147_617
