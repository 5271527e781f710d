"""Networks outside the hypotheses: activations that are not positively homogeneous."""

from hypothesis import strategies as st

from theory.networks.dense import mlp_shapes
from theory.networks.family import Family, normals

hostile = Family(
    "hostile (tanh, GELU)",
    st.sampled_from(["tanh", "gelu"]).flatmap(mlp_shapes),
    normals,
    normals,
    "cross-entropy",
    generic=True,
    order=16,
)
