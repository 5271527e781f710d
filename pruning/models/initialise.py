"""The initialisation that all models share: Kaiming normal by fan-in, biases zero (Tanaka et al. 2020)."""

from torch import nn


def kaiming_normal(model: nn.Module) -> None:
    """Draw every linear and convolution weight anew, set their biases to zero; norms start neutral."""
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
