"""What each of several processes does in test_sharded.py: shard a model, prune it, compare with the unsharded masks.

Run by torch.distributed's environment variables: sharded_run.py FOLDER CASE...; FOLDER/CASE.safetensors holds the round
in which each weight falls without shards.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor, nn

from pruning.asked import problem
from pruning.engine import prune
from pruning.models import make
from pruning.problem import Problem
from pruning.pruners import built_in
from pruning.rounds import Trace
from pruning.schedule import exponential


class Embedded(nn.Module):
    """A language model that is fed embeddings."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(inputs_embeds=x, use_cache=False).logits


def mlp() -> tuple[nn.Module, Tensor]:
    """Rows that no number of processes shares out evenly, and with four a process that has none of some."""
    torch.manual_seed(3)
    layers = [nn.Linear(7, 9), nn.ReLU(), nn.Linear(9, 5), nn.ReLU(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 3)]
    model = nn.Sequential(*layers).double()
    with torch.no_grad():
        model[2].weight.copy_(torch.ones(5, 9))  # ties, over several processes
        model[4].weight[0] = 0
        model[4].weight[1] *= -1
    return model, torch.ones(2, 7, dtype=torch.float64)


def vgg() -> tuple[nn.Module, Tensor]:
    model, x = make("vgg16_bn", 0)
    return model.double(), x.double()


def llama() -> tuple[nn.Module, Tensor]:
    """Queries in groups, and an output that is the table of the input."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=37, hidden_size=24, intermediate_size=42, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=16, tie_word_embeddings=True,
    )  # fmt: skip
    return Embedded(LlamaForCausalLM(config).double().eval()), torch.ones(1, 5, 24, dtype=torch.float64)


MODELS: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {"mlp": mlp, "vgg": vgg, "llama": llama}
# name: model, pruner, weights kept (0: all but one), rounds
CASES = {
    **{f"mlp-{p}-{k}": ("mlp", p, k, 4) for p in ("synflow", "magnitude", "random", "snip") for k in (1, 4, 60, 0)},
    **{f"vgg-{p}": ("vgg", p, 2000, 3) for p in ("synflow", "magnitude", "random")},
    **{f"llama-{p}": ("llama", p, 900, 6) for p in ("synflow", "magnitude", "random")},
}


def asked(case: str, module: nn.Module, x: Tensor) -> tuple[Problem, Trace]:
    """The problem of a case and its run, sharded or not."""
    _, name, keep, rounds = CASES[case]
    targets = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3) if name == "snip" else None
    made = problem(module, x, targets)
    size = made.network.size
    return made, prune(made, built_in()[name], exponential(size, keep or size - 1, rounds))


def shard(model: nn.Module) -> None:
    """Each layer by itself, then the rest, as recipes have it; what is tied with others is sharded with them."""
    from torch.distributed.fsdp import fully_shard

    own = [p for module in model.modules() for p in module.parameters(recurse=False)]
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)) and sum(p is module.weight for p in own) == 1:
            fully_shard(module)
    fully_shard(model)


def compare(folder: Path, case: str) -> None:
    module, x = MODELS[CASES[case][0]]()
    before = {n: p.detach().clone() for n, p in module.named_parameters()}
    shard(module)
    made, trace = asked(case, module, x)
    wanted = load_file(folder / f"{case}.safetensors")
    assert set(wanted) == set(trace.died)
    for name, died in trace.died.items():
        assert torch.equal(died.full_tensor(), wanted[name].int()), (case, name)
    assert trace.kept.sum(1).tolist() == list(trace.targets)
    masks = trace.masks
    assert (masks.kept, masks.total) == (trace.targets[-1], made.network.size)
    assert all(torch.equal(p.full_tensor(), before[n]) for n, p in module.named_parameters())
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name in masks:
                parameter.mul_(masks[name])
    module(x).sum().backward()  # the model is as fully_shard made it
    shown = {n: int((p.full_tensor() != 0).sum()) for n, p in module.named_parameters() if n in masks}
    assert all(shown[n] <= k for n, k in zip(masks, masks.kept_by_layer(), strict=True))


def main() -> None:
    folder, *cases = sys.argv[1:]
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    for case in cases:
        compare(Path(folder), case)
    print(f"process {dist.get_rank()} of {dist.get_world_size()}: {len(cases)} cases are equal", flush=True)
    dist.barrier()  # gloo aborts a process whose neighbour has left
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
