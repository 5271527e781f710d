"""Layers: each knows its parameters, its sizes, its operators, and the module that it is."""

from theory.networks.layers.activations import ACTIVATIONS, Act, PReLU
from theory.networks.layers.attention import Attention
from theory.networks.layers.branches import Branches
from theory.networks.layers.layer import Layer, Misfit, Size, Wiring, emit, fitted, module, parameters
from theory.networks.layers.moves import Flatten, Pool, Resize, TokenMean
from theory.networks.layers.norms import EPS, Norm
from theory.networks.layers.weighted import Conv, Dense, Embedding, Reparametrised

__all__ = [
    "ACTIVATIONS", "EPS", "Act", "Attention", "Branches", "Conv", "Dense", "Embedding", "Flatten", "Layer", "Misfit",
    "Norm", "PReLU", "Pool", "Reparametrised", "Resize", "Size", "TokenMean", "Wiring", "emit", "fitted", "module",
    "parameters",
]  # fmt: skip
