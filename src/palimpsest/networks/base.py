"""The interface between a network and everything else."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

from torch import nn

from palimpsest.errors import CodeError
from palimpsest.networks.trunk import NORMALISATION, head_state, partition_fault, trunk_layers, trunk_modules

if TYPE_CHECKING:
    from palimpsest.networks import NetworkEntry


class Network(nn.Module, ABC):
    """Pictures (N, 3, H, W), float in [0, 1], H and W multiples of `stride` → (N, head_channels, H, W)."""

    stride: ClassVar[int]
    """Factor between the picture and its coarsest features."""
    reach: ClassVar[int | None]
    """Pixels that the receptive field extends beyond a window on the grid of `stride`; None: the whole picture."""
    bytes_per_pixel: ClassVar[int]
    """Peak memory per pixel and channel of the first stage when the network is applied."""
    normalisation: ClassVar[tuple[type[nn.Module], ...]] = NORMALISATION
    """Classes of the layers that belong to the task, with all that is below them."""
    width: int
    """Channels of the first stage."""
    head_width: int
    """Channels that the head receives."""
    head: nn.Module
    """The task's own last layer: a 1×1 convolution from `head_width` to the task's channels."""

    @classmethod
    @abstractmethod
    def from_settings(cls, settings: Any, head_channels: int) -> Self:
        """Return a network with random weights and a head for one task, from settings of the network's class."""

    def check(self, entry: "NetworkEntry", head_channels: int) -> None:
        """Check that every tensor has its part, and that the network's row in the table is right.

        Raises:
            CodeError: names the tensor, or the fact of the row that is wrong.
        """
        if fault := partition_fault(self):
            raise CodeError(
                f"{fault}: {entry.path}; hold it in a parameter or a persistent buffer of its own, as the "
                "docstring of palimpsest.networks.trunk says"
            )
        head = head_state(self).get("head.weight")
        expected = (head_channels, self.head_width, 1, 1)
        if head is None or tuple(head.shape) != expected:
            found = None if head is None else tuple(head.shape)
            raise CodeError(
                f"head.weight has the shape {found}: {entry.path}; make the head a convolution {expected}"
            )
        flat = [name for name, layer in trunk_layers(self) if layer.weight.ndim != 4]
        if entry.kernels_only and flat:
            raise CodeError(
                f"{flat[0]}.weight is no 4-D kernel: row of {entry.path} in NETWORKS; set kernels_only to False"
            )
        for part in entry.parts:
            if next(trunk_modules(self, part), None) is None:
                raise CodeError(
                    f"no part {part!r} holds weights: row of {entry.path} in NETWORKS; remove it from parts"
                )
