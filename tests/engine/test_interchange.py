"""Masks go to a module and come back, in every layout; they stay applied, and nothing is half done."""

from __future__ import annotations

import copy
import functools
import pickle
from collections.abc import Callable
from pathlib import Path

import hub
import pytest
import torch
from problems import bits
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize
from torch.nn.utils import prune as torch_prune

from pruning.errors import ModelError
from pruning.held import places, value_on
from pruning.interchange import Masked, apply_masks, read_masks
from pruning.maskfile import load_masks, save_masks
from pruning.masks import Masks
from pruning.trace import trace

LAYOUTS = ("orig_mask", "parametrization", "zeros")
STAYING = LAYOUTS[:2]


def dense() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))


def convolutions() -> nn.Module:
    inner = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))
    outer = nn.Sequential(nn.ConvTranspose2d(4, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(18, 3, bias=False))
    return nn.Sequential(inner, nn.Conv2d(4, 4, 1, groups=2), outer)


class Encoder(nn.Module):
    """Tied: two layers of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 4)
        self.last.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).tanh())


class Table(nn.Module):
    """Tied: an embedding that is the last layer too."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
        self.head.weight = self.table.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.table(x).tanh())


class Aliased(nn.Module):
    """Tied: one parameter under two names of one module."""

    def __init__(self) -> None:
        super().__init__()
        self.a = self.b = nn.Parameter(torch.randn(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(functional.linear(x, self.a).relu(), self.b)


def twice() -> nn.Module:
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.Tanh(), layer)


def numbers(*size: int) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(1))


MODELS: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "dense": (dense, numbers(5, 4)),
    "one layer": (lambda: nn.Linear(4, 3), numbers(5, 4)),
    "convolutions": (convolutions, numbers(2, 1, 4, 4)),
    "half": (lambda: dense().bfloat16(), numbers(5, 4).bfloat16()),
    "frozen": (lambda: nn.Sequential(nn.Linear(4, 4).requires_grad_(False), nn.Linear(4, 3)), numbers(5, 4)),
    "tied layers": (Encoder, numbers(5, 4)),
    "tied table": (Table, torch.tensor([[0, 1], [4, 2]])),
    "one parameter of two names": (Aliased, numbers(5, 4)),
    "a layer used twice": (twice, numbers(5, 4)),
    "transformers' Conv1D and tied head": (
        lambda: hub.TIED["gpt2"].model(torch.float32),
        hub.TIED["gpt2"].inputs(2),
    ),
}
EVERY_MODEL = pytest.mark.parametrize("name", MODELS)
EVERY_LAYOUT = pytest.mark.parametrize("layout", LAYOUTS)
STAYING_LAYOUT = pytest.mark.parametrize("layout", STAYING)


def masks_for(model: nn.Module, x: Tensor, seed: int = 0) -> Masks:
    source = torch.Generator().manual_seed(seed)
    return Masks({n: torch.rand(w.shape, generator=source) < 0.6 for n, w in trace(model, x).weights.items()})


@functools.cache
def masks_of(name: str) -> Masks:
    make, x = MODELS[name]
    return masks_for(make(), x)


def as_bits(module: nn.Module) -> object:
    """All that a refused call may not have changed."""
    return (
        {n: (id(p), bits(p), p.requires_grad) for n, p in module.named_parameters(remove_duplicate=False)},
        {n: bits(b) for n, b in module.named_buffers()},
        [(n, type(m), m.training, sorted(vars(m)), list(m._forward_pre_hooks)) for n, m in module.named_modules()],
    )


def with_zeros(model: nn.Module, masks: Masks) -> nn.Module:
    """A plain copy whose weights are those of `model` times their masks."""
    plain = copy.deepcopy(model)
    with torch.no_grad():
        for name, mask in masks.items():
            plain.get_parameter(name).mul_(mask)
    return plain


# there and back


@EVERY_LAYOUT
@EVERY_MODEL
def test_masks_come_back_bit_for_bit_through_a_file_and_a_module(name, layout, tmp_path):
    (make, x), masks = MODELS[name], masks_of(name)
    model = make()
    save_masks(tmp_path / "masks.safetensors", masks, {"pruner": "mine"})
    loaded, _ = load_masks(tmp_path / "masks.safetensors", trace(model, x).weights)
    apply_masks(model, loaded, layout)
    assert read_masks(model, x, zeros=layout == "zeros") == masks
    assert trace(model, x).initial == (Masks.full(masks) if layout == "zeros" else masks)


@EVERY_LAYOUT
@EVERY_MODEL
def test_the_forward_pass_is_that_of_the_weights_times_their_masks(name, layout):
    (make, x), masks = MODELS[name], masks_of(name)
    model = make().eval()
    plain, before = with_zeros(model, masks), {n: p.clone() for n, p in model.named_parameters()}
    apply_masks(model, masks, layout)
    for _ in range(2):
        assert torch.equal(model(x), plain(x))
    network = trace(model, x)
    assert list(network.weights) == list(masks)
    assert all(torch.equal(w, before[n] * masks[n]) for n, w in network.weights.items())


def test_zeros_are_read_only_if_asked_for_and_a_kept_zero_is_whole():
    model, x = dense(), numbers(5, 4)
    model[0].weight.data[0] = 0
    assert read_masks(model, x) == Masks.full(trace(model, x).weights)
    assert read_masks(model, x, zeros=True).kept_by_layer() == [20, 18]
    apply_masks(model, {"2.weight": torch.eye(3, 6).bool()})
    assert read_masks(model, x).kept_by_layer() == [24, 3]
    assert read_masks(model, x, zeros=True).kept_by_layer() == [20, 3]


@EVERY_LAYOUT
def test_weights_without_a_mask_stay_as_they_are(layout):
    model, x = dense(), numbers(5, 4)
    masks, before = masks_for(model, x), as_bits(model[2])
    apply_masks(model, {"0.weight": masks["0.weight"]}, layout)
    assert as_bits(model[2]) == before
    assert read_masks(model, x, zeros=layout == "zeros")["2.weight"].all()


def test_reading_changes_nothing():
    model, x = nn.Sequential(parametrizations.spectral_norm(nn.Linear(4, 3)), nn.BatchNorm1d(3)), numbers(5, 4)
    apply_masks(model, {"0.weight": torch.eye(3, 4).bool()}, "parametrization")
    before = as_bits(model)
    assert read_masks(model, x).kept_by_layer() == [3]
    assert as_bits(model) == before


def test_masks_given_are_copied():
    for layout in LAYOUTS:
        model, x = dense(), numbers(5, 4)
        masks = masks_for(model, x)
        kept = masks.digest()
        apply_masks(model, masks, layout)
        read = read_masks(model, x)
        for name in masks:
            masks[name].logical_not_()
        assert layout == "zeros" or read.digest() == read_masks(model, x).digest() == kept


class Halved(nn.Module):
    """A parametrization that keeps a mask as people do, in floating point."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        return self.mask * weight / 2


class Shifted(Halved):
    """What it calls a mask prunes nothing."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.mask


@pytest.mark.parametrize(("kind", "kept"), [(Halved, 4), (Shifted, 16)])
def test_parametrizations_of_others_are_read_where_their_masks_prune(kind, kept):
    model = nn.Sequential(nn.Linear(4, 4))
    parametrize.register_parametrization(model[0], "weight", kind(torch.eye(4)))
    assert read_masks(model, numbers(5, 4)).kept == kept


def test_masks_of_torchs_pruning_are_read():
    model = dense()
    torch_prune.random_unstructured(model[0], "weight", amount=5)
    torch_prune.ln_structured(model[0], "weight", amount=2, n=2, dim=0)
    torch_prune.l1_unstructured(model[0], "bias", amount=1)
    masks = read_masks(model, numbers(5, 4))
    assert torch.equal(masks["0.weight"], model[0].weight_mask.bool())
    assert list(masks) == ["0.weight", "2.weight"]
    assert masks["2.weight"].all()


# staying


def sgd(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=0.1)


def adam(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.1, weight_decay=0.1)


def trained(model: nn.Module, x: Tensor, optimiser: torch.optim.Optimizer, steps: int) -> None:
    model.train()
    for _ in range(steps):
        optimiser.zero_grad()
        model(x).square().mean().backward()
        optimiser.step()


@pytest.mark.parametrize("make_optimiser", [sgd, adam])
@STAYING_LAYOUT
@EVERY_MODEL
def test_training_revives_nothing(name, layout, make_optimiser):
    (make, x), masks = MODELS[name], masks_of(name)
    model = make()
    optimiser = make_optimiser(list(model.parameters()))  # made before: the parameters stay the same objects
    trained(model, x, optimiser, 2)  # momentum that pushes the weights to be pruned
    apply_masks(model, masks, layout)
    before = {n: value_on(*where[0]) for n, where in places(model).items()}
    trained(model, x, optimiser, 4)
    after = trace(model, x)
    assert all(not w[~masks[n]].any() for n, w in after.weights.items())
    assert after.initial == masks
    moving = [n for n, p in make().named_parameters() if n in masks and p.requires_grad]
    assert all(not torch.equal(before[n], after.weights[n]) for n in moving)
    model.eval()
    plain = make().eval()
    plain.load_state_dict({n: t for n, t in model.state_dict().items() if n in plain.state_dict()}, strict=False)
    with torch.no_grad():
        for name, weight in after.weights.items():
            plain.get_parameter(name).copy_(weight)
        assert torch.equal(model(x), plain(x))  # not only the traced copy: the module itself is masked


def test_training_may_revive_zeros():
    model, x = dense(), numbers(5, 4)
    masks = masks_for(model, x)
    apply_masks(model, masks, "zeros")
    trained(model, x, sgd(list(model.parameters())), 1)
    assert read_masks(model, x, zeros=True).kept > masks.kept


@STAYING_LAYOUT
@EVERY_MODEL
def test_deep_copies_and_state_dicts_keep_their_masks(name, layout):
    (make, x), masks = MODELS[name], masks_of(name)
    model = make().eval()
    apply_masks(model, masks, layout)
    twin = copy.deepcopy(model)
    assert torch.equal(twin(x), model(x))
    assert read_masks(twin, x) == masks
    other = make().eval()
    apply_masks(other, Masks.full(masks), layout)
    other.load_state_dict(model.state_dict())
    assert read_masks(other, x) == masks
    assert torch.equal(other(x), model(x))
    apply_masks(twin, Masks({n: torch.zeros_like(m) for n, m in masks.items()}), layout)
    assert torch.equal(other(x), model(x)), "the copy has masks of its own"


def test_a_module_in_the_orig_mask_layout_is_pickled_without_a_class_of_ours():
    model, x = dense(), numbers(5, 4)
    masks = masks_for(model, x)
    apply_masks(model, masks)
    model(x).sum().backward()
    data = pickle.dumps(model)
    assert b"interchange" not in data
    assert read_masks(pickle.loads(data), x) == masks


def test_torchs_own_limits_are_those_that_are_told():
    model, x = dense(), numbers(5, 4)
    apply_masks(model, masks_for(model, x))
    model(x)
    with pytest.raises(RuntimeError, match="deepcopy protocol"):
        copy.deepcopy(model)
    with torch.no_grad():
        model(x)
    assert torch.equal(copy.deepcopy(model)(x), model(x))
    model = dense()
    apply_masks(model, masks_for(model, x), "parametrization")
    with pytest.raises(RuntimeError, match=r"only supported through state_dict"):
        pickle.dumps(model)


@EVERY_LAYOUT
def test_masks_put_on_in_inference_mode_can_be_trained_with(layout):
    model, x = dense(), numbers(5, 4)
    with torch.inference_mode():
        masks = Masks({"0.weight": torch.ones(6, 4) > 0, "2.weight": torch.eye(3, 6).bool()})
        apply_masks(model, masks, layout)
    assert read_masks(model, x, zeros=layout == "zeros") == masks
    trained(model, x, sgd(list(model.parameters())), 1)
    assert layout == "zeros" or read_masks(model, x) == masks


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@EVERY_LAYOUT
def test_masks_of_the_cpu_are_put_on_a_module_elsewhere(layout):
    masks = masks_of("dense")
    model, x = dense().cuda(), numbers(5, 4).cuda()
    apply_masks(model, masks, layout)
    apply_masks(model, masks, layout)
    model(x).sum().backward()
    assert read_masks(model, x, zeros=layout == "zeros").digest() == masks.digest()


# on masks and parametrizations that are there


def test_more_is_pruned_in_the_layout_that_is_there():
    for layout in LAYOUTS:
        model, x = dense(), numbers(5, 4)
        first, second = masks_for(model, x), masks_for(model, x, 1)
        both = Masks({n: m & second[n] for n, m in first.items()})
        apply_masks(model, first, layout)
        apply_masks(model, both, layout)
        assert read_masks(model, x, zeros=layout == "zeros") == both
        trained(model, x, sgd(list(model.parameters())), 1)
        assert layout == "zeros" or read_masks(model, x) == both


def test_pruning_again_adds_no_parametrization():
    model = nn.Linear(3, 3)
    for keep in (torch.ones(3, 3), torch.eye(3)):
        apply_masks(model, {"weight": keep.bool()}, "parametrization")
    assert [type(part) for part in model.parametrizations.weight] == [Masked]


@STAYING_LAYOUT
def test_a_pruned_weight_never_returns(layout):
    model, x = dense(), numbers(5, 4)
    masks = masks_for(model, x)
    apply_masks(model, masks, layout)
    more = Masks({**masks, "2.weight": torch.ones_like(masks["2.weight"])})
    refused(model, more, layout, r"the mask of '2.weight' keeps \d+ weights that the module's own mask has pruned")


@pytest.mark.parametrize("wrap", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_masks_come_after_other_parametrizations(wrap):
    model, x = nn.Sequential(wrap(nn.Linear(4, 3)), nn.ReLU(), nn.Linear(3, 2)).eval(), numbers(5, 4)
    masks, weight = masks_for(model, x), model[0].weight.clone()
    for layout in ("orig_mask", "zeros"):
        refused(model, masks, layout, "'0.weight' can't be masked by layout .* it has parametrizations; choose layout")
    apply_masks(model, masks, "parametrization")
    assert torch.equal(model[0].weight, weight * masks["0.weight"])
    assert read_masks(model, x) == masks
    trained(model, x, sgd(list(model.parameters())), 3)
    assert read_masks(model, x) == masks
    assert not model[0].weight[~masks["0.weight"]].any()


def test_a_weight_that_torch_prunes_keeps_its_layout():
    model, x = dense(), numbers(5, 4)
    masks = masks_for(model, x)
    apply_masks(model, {"2.weight": masks["2.weight"]})
    for layout in ("parametrization", "zeros"):
        refused(
            model, masks, layout, r"'2.weight' can't be .* torch.nn.utils.prune masks it; choose layout 'orig_mask'"
        )
    torch_prune.remove(model[2], "weight")
    apply_masks(model, masks, "parametrization")
    assert read_masks(model, x) == masks


@STAYING_LAYOUT
def test_a_tied_weight_with_a_mask_at_one_of_its_uses_is_refused_until_all_have_it(layout):
    model, x = Encoder(), numbers(5, 4)
    masks = masks_for(model, x)
    alone = nn.Module()
    alone.last = model.last
    apply_masks(alone, {"last.weight": masks["first.weight"]}, layout)
    before = as_bits(model)
    for read in (trace, read_masks):
        with pytest.raises(ModelError, match=r"is one parameter with others \(tied\) but its masks or"):
            read(model, x)
    assert as_bits(model) == before
    apply_masks(model, masks, layout)
    assert read_masks(model, x) == masks


# refused, with nothing changed


def refused(model: nn.Module, masks: object, layout: str, message: str, kind: type[Exception] = ValueError) -> None:
    before = as_bits(model)
    with pytest.raises(kind, match=message) as caught:
        apply_masks(model, masks, layout)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert as_bits(model) == before


FIRST = {"0.weight": torch.ones(6, 4, dtype=torch.bool)}  # good, so that a call that stops halfway is seen


@EVERY_LAYOUT
@pytest.mark.parametrize(
    ("masks", "message", "kind"),
    [
        ({**FIRST, "2.weight": torch.ones(6, 3).bool()}, r"'2.weight' has shape \(6, 3\), wanted \(3, 6\)", ValueError),
        ({**FIRST, "2.weight": torch.ones(()).bool()}, r"'2.weight' has shape \(\), wanted \(3, 6\)", ValueError),
        ({**FIRST, "4.weight": torch.ones(3).bool()}, "missing none, not asked for '4.weight'", ValueError),
        ({**FIRST, "2.weight_orig": torch.ones(3, 6).bool()}, "not asked for '2.weight_orig'", ValueError),
        ({**FIRST, "2.weight": torch.ones(3, 6)}, "the mask of '2.weight' is torch.float32, wanted", TypeError),
        ({**FIRST, "2.weight": True}, "the mask of '2.weight' is bool, wanted a tensor of torch.bool", TypeError),
        ({}, "masks are empty", ValueError),
    ],
)
def test_masks_that_do_not_fit_change_nothing(layout, masks, message, kind):
    refused(dense(), masks, layout, message, kind)


@EVERY_LAYOUT
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_weights_that_no_mask_removes_are_refused(layout, bad):
    model, x = dense(), numbers(5, 4)
    masks = masks_for(model, x)
    model[2].weight.data[0, :2] = bad
    refused(model, masks, layout, "the weight '2.weight' holds 2 NaN or infinite values of 18, and NaN times a mask")
    with pytest.raises(ValueError, match=r"'2\.weight' holds 2 NaN or infinite values"):
        read_masks(model, x)


def test_an_unknown_layout_is_refused():
    refused(dense(), FIRST, "zeroes", "there is no layout 'zeroes'; wanted one of orig_mask, parametrization, zeros")


@EVERY_LAYOUT
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Sequential(nn.LazyLinear(6)), "'0.weight' has no shape yet"),
        (lambda: nn.Sequential(nn.Linear(4, 6, device="meta")), "'0.weight' lies on the meta device"),
    ],
)
def test_weights_without_values_are_refused(layout, make, message):
    with pytest.raises(ModelError, match=message):
        apply_masks(make(), FIRST, layout)


def test_what_is_no_module_is_refused():
    with pytest.raises(ModelError, match="got dict, wanted an nn"):
        apply_masks({}, FIRST)  # type: ignore[arg-type]


def test_the_second_name_of_a_tied_weight_is_no_name():
    masks = {"last.weight": torch.ones(4, 4, dtype=torch.bool)}
    refused(Encoder(), masks, "orig_mask", "missing none, not asked for 'last.weight'")


def test_two_parameters_in_the_same_memory_take_masks_but_no_zeros():
    model, x = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), numbers(5, 4)
    model[1].weight = nn.Parameter(model[0].weight.data.t())
    masks = masks_for(model, x)
    for some in (masks, {"1.weight": masks["1.weight"]}):
        refused(model, some, "zeros", "are two parameters in the same memory")
    for layout in STAYING:
        twin = copy.deepcopy(model)
        plain = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        plain.load_state_dict(model.state_dict())
        apply_masks(twin, masks, layout)
        assert read_masks(twin, x) == masks
        torch.testing.assert_close(twin(x), with_zeros(plain, masks)(x))


def test_a_weight_that_its_layer_is_not_called_for_takes_no_hook():
    model, x = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), numbers(2, 3, 4)
    masks = masks_for(model, x)
    assert "self_attn.out_proj.weight" in masks
    refused(model, masks, "orig_mask", "'self_attn.out_proj.weight' can't be .*is not called, so its hooks don't run")
    apply_masks(model, masks, "parametrization")
    trained(model, x, sgd(list(model.parameters())), 2)
    assert read_masks(model, x) == masks
    assert not model.self_attn.out_proj.weight[~masks["self_attn.out_proj.weight"]].any()
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x), trace(model, x).forward(trace(model, x).weights, x))


def test_a_layer_with_such_a_buffer_already_takes_no_hook():
    model = nn.Linear(3, 3)
    model.register_buffer("weight_mask", torch.ones(2))
    masks = {"weight": torch.eye(3).bool()}
    refused(model, masks, "orig_mask", "its layer has something called 'weight_mask' already; choose layout")
    apply_masks(model, masks, "parametrization")
    assert read_masks(model, torch.ones(2, 3)) == Masks(masks)


def test_a_file_cut_short_reaches_no_module(tmp_path: Path):
    model, x = dense(), numbers(5, 4)
    path = tmp_path / "masks.safetensors"
    save_masks(str(path), masks_for(model, x), {})
    path.write_bytes(path.read_bytes()[:-1])
    before = as_bits(model)
    with pytest.raises(ValueError, match="is no mask file, or is cut short"):
        apply_masks(model, load_masks(str(path), trace(model, x).weights)[0])
    assert as_bits(model) == before


def test_reading_refuses_what_tracing_refuses():
    with pytest.raises(ModelError, match="has no prunable layer"):
        read_masks(nn.ReLU(), torch.ones(2, 3))
