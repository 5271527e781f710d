"""Networks written in torch's own words: as an expression of its layers, and a class of three lines for each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from theory.networks import modules
from theory.networks.layers import Branches, Layer
from theory.networks.spec import NetSpec

_DEFINED = {
    "Square": "class Square(nn.Module):\n    def forward(self, x):\n        return x.square()",
    "Cube": "class Cube(nn.Module):\n    def forward(self, x):\n        return x.pow(3)",
    "Abs": "class Abs(nn.Module):\n    def forward(self, x):\n        return x.abs()",
    "Sum": "class Sum(nn.ModuleList):\n    def forward(self, x):\n        return sum(branch(x) for branch in self)",
}
_CAT = (
    "class Cat(nn.ModuleList):\n    def forward(self, x):\n        return torch.cat([branch(x) for branch in self], {})"
)
_POWERS = {2: "Square", 3: "Cube"}


@dataclass(frozen=True)
class Written:
    """A network: the classes it needs, line by line, and the expression that makes it."""

    classes: list[str]
    text: str


def written(spec: NetSpec) -> Written | None:
    """A network in torch's words; None where it holds layers that have none, or parameters by other names.

    What is written is run: it must have the parameters of the network, and make the same of its input.
    """
    needed: dict[str, str] = {}
    try:
        text = _sequence(spec.shape.layers, needed)
    except LookupError:
        return None
    found = Written([line for code in needed.values() for line in code.splitlines()], text)
    return found if _is_it(found, spec) else None


def _sequence(layers: tuple[Layer, ...], needed: dict[str, str]) -> str:
    return f"nn.Sequential({', '.join(_one(layer, needed) for layer in layers)})"


def _one(layer: Layer, needed: dict[str, str]) -> str:
    """A layer's expression; what it needs beside torch is added. Raises LookupError where there is none."""
    if isinstance(layer, Branches):
        name = {"sum": "Sum", "cat": "Cat"}[layer.join]
        needed[name] = _DEFINED.get(name) or _CAT.format(layer.axis)
        return f"{name}([{', '.join(_sequence(branch, needed) for branch in layer.branches)}])"
    made = layer.module()
    if isinstance(made, modules.PowerOfReLU):
        return f"nn.Sequential(nn.ReLU(), {_call(_POWERS[made.degree], needed)})"
    if isinstance(made, (modules.Square, modules.Abs)):
        return _call(type(made).__name__, needed)
    if not type(made).__module__.startswith("torch.nn.modules"):
        raise LookupError(type(made).__name__)
    return f"nn.{made!r}"


def _call(name: str, needed: dict[str, str]) -> str:
    needed[name] = _DEFINED[name]
    return f"{name}()"


def _is_it(found: Written, spec: NetSpec) -> bool:
    names: dict[str, object] = {"nn": nn, "torch": torch}
    exec("\n".join(found.classes), names)
    net = eval(found.text, names)
    if {n: tuple(t.shape) for n, t in net.state_dict().items()} != spec.shape.parameters():
        return False
    batch = spec.batch()
    network = batch.problem(0).network
    net.double().load_state_dict({n: torch.tensor(v, dtype=torch.float64) for n, v in spec.values.items()})
    try:
        return all(_same(net, x, network.forward(network.weights, x)) for x in _inputs(spec))
    except (RuntimeError, TypeError):  # it reads something else, such as indices
        return False


def _inputs(spec: NetSpec) -> Iterator[torch.Tensor]:
    """Ones, and numbers of both signs."""
    ones = torch.ones(2, *spec.shape.input, dtype=torch.float64)
    yield ones
    yield torch.linspace(-1, 1, ones.numel(), dtype=torch.float64).view(ones.shape)


def _same(net: nn.Module, x: torch.Tensor, wanted: torch.Tensor) -> bool:
    with torch.no_grad():
        return torch.equal(net(x), wanted)
