"""Devices: where work is queued, and reading a number waits for all of it."""

from torch import Tensor


def queued(tensor: Tensor) -> bool:
    """Whether what is computed on the tensor's device is queued there while the host goes on."""
    return tensor.device.type != "cpu"
