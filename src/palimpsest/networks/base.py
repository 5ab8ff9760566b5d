"""The interface between a network and everything else."""

from abc import ABC, abstractmethod
from typing import ClassVar, Self

from torch import nn

from palimpsest.networks.settings import NetworkSettings


class Network(nn.Module, ABC):
    """Pictures (N, 3, H, W), float in [0, 1], H and W multiples of `stride` → (N, head_channels, H, W)."""

    stride: ClassVar[int]
    """Factor between the picture and its coarsest features."""
    reach: ClassVar[int | None]
    """Pixels that the receptive field extends beyond a window on the grid of `stride`; None: the whole picture."""
    bytes_per_pixel: ClassVar[int]
    """Peak memory per pixel and channel of the first stage when the network is applied."""
    width: int
    """Channels of the first stage."""
    head_width: int
    """Channels that the head receives."""
    head: nn.Module
    """The task's own last layer."""

    @classmethod
    @abstractmethod
    def from_settings(cls, settings: NetworkSettings, head_channels: int) -> Self:
        """Return a network with random weights and a head for one task."""
