"""Models of the transformers package, small and with random weights, as modules from one tensor to one tensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import transformers
from torch import Tensor, nn


class OneToOne(nn.Module):
    """A model of the package, fed by one keyword, giving one of its outputs."""

    def __init__(self, model: nn.Module, key: str) -> None:
        super().__init__()
        self.model, self.key = model, key

    def forward(self, x: Tensor) -> Tensor:
        found = self.model(**{self.key: x})
        return found.logits if "logits" in found else found.last_hidden_state


@dataclass(frozen=True)
class Hub:
    """How to make a model, and the shape of one sample; `words`: of indices, how many there are."""

    make: Callable[[], nn.Module]
    sample: tuple[int, ...]
    words: int = 0

    def model(self, dtype: torch.dtype = torch.float64) -> nn.Module:
        """The model in evaluation mode, no parameter and no statistic as trivial as it is at the start.

        The norms' variances and gains are powers of two: batch norm's evaluation is exact then, however it is done.
        """
        source = torch.Generator().manual_seed(0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = self.make().to(dtype).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=source) / 16)
            for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
                norm.weight.copy_(2.0 ** torch.randint(-1, 2, norm.weight.shape, generator=source))
                norm.running_var.fill_(1 - norm.eps)
        return model

    def inputs(self, samples: int, dtype: torch.dtype = torch.float64) -> Tensor:
        """Random inputs: (samples, *sample)."""
        source, size = torch.Generator().manual_seed(samples), (samples, *self.sample)
        if self.words:
            return torch.randint(self.words, size, generator=source)
        return torch.randn(size, generator=source, dtype=dtype)


_VISION = {"image_size": 16, "num_channels": 3}
_TEXT = {"vocab_size": 20, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
_GROUPED = {**_TEXT, "num_key_value_heads": 2}


def _vision(kind: str, **options: object) -> Hub:
    config = getattr(transformers, f"{kind}Config")
    image = getattr(transformers, f"{kind}ForImageClassification")
    return Hub(lambda: OneToOne(image(config(num_labels=3, **options)), "pixel_values"), (3, 16, 16))


def _text(kind: str, model: str, options: dict[str, object], width: int = 16) -> Hub:
    made, config = getattr(transformers, kind + model), getattr(transformers, f"{kind}Config")
    return Hub(lambda: OneToOne(made(config(**options)), "inputs_embeds"), (5, width))


def _tied(kind: str, model: str, options: dict[str, object]) -> Hub:
    """Fed by words, whose table is the last layer's weight as well."""
    made, config = getattr(transformers, kind + model), getattr(transformers, f"{kind}Config")
    return Hub(lambda: OneToOne(made(config(**options, tie_word_embeddings=True)), "input_ids"), (5,), 20)


def _resnet(layer: str) -> Hub:
    return _vision("ResNet", depths=[2, 2], hidden_sizes=[8, 12], embedding_size=6, layer_type=layer)


def _vit(attention: str) -> Hub:
    text = {n: v for n, v in _TEXT.items() if n != "vocab_size"}
    return _vision("ViT", **_VISION, **text, patch_size=8, attn_implementation=attention)


_GPT2 = {"vocab_size": 20, "n_embd": 16, "n_layer": 2, "n_head": 4, "bos_token_id": 0, "eos_token_id": 0}


def _gpt2(model: str, attention: str) -> Hub:
    return _text("GPT2", model, {**_GPT2, "attn_implementation": attention})


MODELS = {
    "resnet of basic blocks": _resnet("basic"),
    "resnet of bottlenecks": _resnet("bottleneck"),
    "vit": _vit("sdpa"),
    "vit, eager": _vit("eager"),
    "gpt2": _gpt2("LMHeadModel", "sdpa"),
    "gpt2, eager": _gpt2("LMHeadModel", "eager"),
    "gpt2 without a head": _gpt2("Model", "sdpa"),
    "llama": _text("Llama", "ForCausalLM", _GROUPED),
    "llama, eager": _text("Llama", "ForCausalLM", {**_GROUPED, "attn_implementation": "eager"}),
    "qwen3": _text("Qwen3", "ForCausalLM", {**_GROUPED, "head_dim": 4}),
    "mistral with a window": _text("Mistral", "ForCausalLM", {**_GROUPED, "sliding_window": 2}),
    "bert": _text("Bert", "Model", _TEXT),
    "convnext": _vision("ConvNext", hidden_sizes=[8, 12], depths=[1, 1], num_stages=2, patch_size=2),
    "mobilenet v2": _vision("MobileNetV2", depth_multiplier=0.1, min_depth=4),
    "swin": _vision(
        "Swin", **_VISION, patch_size=2, embed_dim=8, depths=[2, 1], num_heads=[2, 4], window_size=4
    ),
}  # fmt: skip

TIED = {
    "gpt2": _tied("GPT2", "LMHeadModel", _GPT2),
    "llama": _tied("Llama", "ForCausalLM", _GROUPED),
    "bert": _tied("Bert", "ForMaskedLM", _TEXT),
}
