"""Networks whose tensors have shapes and no memory, for questions about sizes."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from palimpsest.networks import build_network
from palimpsest.networks.base import Network
from palimpsest.networks.settings import NetworkSettings


def outline(settings: NetworkSettings, head_channels: int) -> Network | None:
    """Return a network on the device ``meta``; None for a network that computes its initial weights.

    For the parameters see `build_network`.
    """
    try:
        with torch.device("meta"), Uninitialised():
            return build_network(settings, head_channels)
    except (NotImplementedError, RuntimeError):
        return None


class Uninitialised(TorchFunctionMode):
    """Mode without initial weights, for which PyTorch would import its compiler on the device ``meta``."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Return the result of a function of PyTorch; an initialisation returns its tensor unchanged."""
        given = kwargs or {}
        if func in (Tensor.normal_, Tensor.uniform_) or getattr(func, "__module__", "") == nn.init.__name__:
            return args[0] if args else given["tensor"]
        if func is torch.eye:
            return torch.empty(args[0], args[0])
        return func(*args, **given)
