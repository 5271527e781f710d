"""What each of several processes does in test_sharded.py: shard a model, prune it, compare with the unsharded masks.

FOLDER/CASE.safetensors holds the round in which each weight falls without shards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor, nn

from pruning.asked import problem, scores
from pruning.engine import prune
from pruning.maskfile import save_masks
from pruning.masks import layer_top_k
from pruning.models import make
from pruning.network import Network
from pruning.problem import Probe
from pruning.pruner import Entrywise, State, scored
from pruning.pruners import built_in
from pruning.pruners.synflow import synflow
from pruning.rounds import Trace
from pruning.schedule import exponential
from pruning.sharded.parts import Parts


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
# per model: pruner, weights kept (0: all but one), rounds
CASES = {
    "mlp": [(p, k, 4) for p in ("synflow", "magnitude", "random", "snip") for k in (1, 4, 60, 0)],
    "vgg": [(p, 2000, 2) for p in ("synflow", "magnitude", "random")],
    "llama": [(p, 900, 5) for p in ("synflow", "magnitude", "random")],
}


def runs(model: str, module: nn.Module, x: Tensor, few: bool = False) -> Iterator[tuple[str, Network, Trace]]:
    """Each case of a model by name, sharded or not; few: those of the first pruner."""
    targets = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3) if model == "mlp" else None
    made = problem(module, x, targets)
    size = made.network.size
    for name, keep, rounds in CASES[model]:
        if few and name != CASES[model][0][0]:
            continue
        trace = prune(made, built_in()[name], exponential(size, keep or size - 1, rounds))
        yield f"{model}-{name}-{keep}", made.network, trace


def shard(model: nn.Module, **how: object) -> None:
    """Each layer by itself, then the rest, as recipes have it; what is tied with others is sharded with them."""
    from torch.distributed.fsdp import fully_shard

    own = [p for module in model.modules() for p in module.parameters(recurse=False)]
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)) and sum(p is module.weight for p in own) == 1:
            fully_shard(module, **how)
    fully_shard(model, **how)


def by_columns(model: nn.Module) -> None:
    """As tensor parallelism has it: one layer by its outputs, the next by its inputs."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    plan = {"0": ColwiseParallel(), "2": RowwiseParallel(), "4": ColwiseParallel(), "6": RowwiseParallel()}
    parallelize_module(model, mesh, plan)


def twice(model: nn.Module) -> None:
    """Two copies of two parts each."""
    from torch.distributed.device_mesh import init_device_mesh

    shard(model, mesh=init_device_mesh("cpu", (2, dist.get_world_size() // 2), mesh_dim_names=("copy", "part")))


def compare(folder: Path, model: str, sharded: Callable[[nn.Module], None] = shard, few: bool = False) -> int:
    """How many cases were compared."""
    module, x = MODELS[model]()
    before = {n: p.detach().clone() for n, p in module.named_parameters()}
    sharded(module)
    count = 0
    for case, network, trace in runs(model, module, x, few):
        wanted = load_file(folder / f"{case}.safetensors")
        assert set(wanted) == set(trace.died)
        for name, died in trace.died.items():
            assert torch.equal(died.full_tensor(), wanted[name].int()), (case, name)
        assert trace.kept.sum(1).tolist() == list(trace.targets)
        assert (trace.masks.kept, trace.masks.total) == (trace.targets[-1], network.size)
        count += 1
    assert all(
        torch.equal(p.full_tensor(), before[n]) for n, p in module.named_parameters() if hasattr(p, "full_tensor")
    )
    masks = trace.masks
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name in masks:
                parameter.mul_(masks[name])
    if sharded is not by_columns:  # torch runs no such model where columns don't come out even
        module(x).sum().backward()
    shown = {n: int((p.full_tensor() != 0).sum()) for n, p in module.named_parameters() if n in masks}
    assert all(shown[n] <= k for n, k in zip(masks, masks.kept_by_layer(), strict=True))
    return count


def raised(what: Callable[[], object]) -> str:
    """What all processes raise: the same, so that none waits for another."""
    try:
        what()
    except (ValueError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def convolutions() -> tuple[nn.Module, Tensor]:
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.Conv2d(4, 5, 3)).double(), torch.ones(1, 2, 6, 6).double()


def layers_held() -> None:
    """No more than one gathered layer is there at a time, on the way there and back."""
    held: list[int] = []
    gathered, taken = Parts.gathered, Parts._taken_up

    def counting(parts: Parts, name: str, own: Tensor) -> Tensor:
        held.append(sum(1 for _ in parts._gathered))
        return gathered(parts, name, own)

    again: list[int] = []

    def taking(parts: Parts, kept: object) -> Tensor:
        again.append(isinstance(kept, tuple))
        return taken(parts, kept)

    Parts.gathered, Parts._taken_up = counting, taking
    try:
        for (module, x), weighted in ((mlp(), 4), (convolutions(), 2)):
            shard(module)
            held.clear(), again.clear()
            prune(problem(module, x), synflow, exponential(100, 90, 1))
            assert max(held) <= 1, held
            assert sum(again) >= weighted - 1, again
    finally:
        Parts.gathered, Parts._taken_up = gathered, taken


def saved(folder: Path) -> None:
    """The masks of all parts in one file, which the first process writes."""
    module, x = mlp()
    shard(module)
    made = problem(module, x)
    masks = prune(made, synflow, exponential(made.network.size, 9, 2)).masks
    path = folder / f"masks of {dist.get_world_size()}.safetensors"
    save_masks(path, masks, {})
    dist.barrier()
    found = load_file(path)
    assert all(torch.equal(found[n], m.full_tensor()) for n, m in masks.items())


def refusals() -> None:
    """What can't be done in parts is said by all, of one word."""
    module, x = mlp()
    first = dist.get_rank() == 0
    with torch.no_grad():
        module[6].weight[0, 0] = torch.inf  # of which one process has the part
    shard(module)
    broken = problem(module, x)
    plan = exponential(broken.network.size, 9, 2)
    assert "'6.weight' holds 1 NaN or infinite values of 15" in raised(lambda: prune(broken, synflow, plan))
    module, x = mlp()
    shard(module)
    assert "the inputs are not the same on all processes" in raised(lambda: problem(module, x + first))
    good = problem(module, x)
    by_scores = raised(lambda: prune(good, synflow, lambda round_, kept, alive: len(alive()) // 2))
    assert "which no process has of a sharded network" in by_scores
    by_layer = scored("by layer", synflow.score, select=layer_top_k)
    assert "'by layer' does not keep the highest scores of all layers" in raised(lambda: prune(good, by_layer, plan))
    too_many = raised(lambda: prune(good, synflow, lambda *_: good.network.size + 1))
    assert f"asked to keep {good.network.size + 1} weights, wanted 0 to {good.network.size}" in too_many

    def spoilt(network: Network, state: State, probe: Probe) -> dict[str, Tensor]:
        return {n: w / (1 - (first and n == "2.weight")) for n, w in state.weights.items()}

    assert "of a part need not be a part of its scores" in raised(lambda: prune(good, scored("spoilt", spoilt), plan))
    assert "'grasp' scores of a part" in raised(lambda: prune(good, built_in()["grasp"], plan))
    found = raised(lambda: prune(good, scored("spoilt", Entrywise(spoilt)), plan))
    assert "'spoilt' returned 0 NaN and 27 infinite scores of 45 for '2.weight'" in found, found

    def failing(network: Network, state: State, probe: Probe) -> dict[str, Tensor]:
        return dict(state.weights) if first else 1 / 0

    found = raised(lambda: prune(good, scored("failing", Entrywise(failing)), plan))
    assert "the scorer of 'failing' raised ZeroDivisionError" in found, found
    assert "no process has all scores" in raised(lambda: scores(synflow, good))
    short = x[: 2 - first]
    assert "the inputs are not of one shape and type" in raised(lambda: problem(module, short))
    targets = None if first else torch.zeros(2, 3)
    assert "the targets are not of one shape and type" in raised(lambda: problem(module, x, targets))
    wrapped = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3).double())
    shard(wrapped)
    assert "has masks or parametrizations" in raised(lambda: problem(wrapped, torch.ones(1, 4).double()))


def main(folder: Path, *models: str) -> None:
    """All that one of the processes does; it is told apart from the others by torch.distributed's variables."""
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    processes = dist.get_world_size()
    cases = sum(compare(folder, model, few=model != "mlp" and processes > 2) for model in models)
    if processes == 2:
        cases += compare(folder, "mlp", by_columns, few=True)
        refusals()
        layers_held()
        saved(folder)
    else:
        cases += compare(folder, "mlp", twice, few=True)
    print(f"process {dist.get_rank()} of {processes}: {cases} cases are equal", flush=True)
    dist.barrier()
