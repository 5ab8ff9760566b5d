"""The interface between a network and the rest of the code."""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from palimpsest.errors import CodeError
from palimpsest.networks.trunk import NORMALISATION, head_state, partition_fault, trunk_layers, trunk_modules

if TYPE_CHECKING:
    from palimpsest.networks import NetworkEntry


class Network(nn.Module, ABC):
    """Base class of the networks, which map pictures to the raw output of the task's head.

    Input: float (N, 3, H, W) in [0, 1], H and W multiples of `stride`. Output: (N, head_channels, H, W).
    """

    stride: int
    """Ratio of the picture's side to that of the coarsest features."""
    reach: int | None
    """Pixels by which the receptive field extends beyond a window aligned to `stride`; None if the output depends
    on the whole picture."""
    bytes_per_pixel: ClassVar[int]
    """Peak memory of inference, in bytes per pixel of the picture and channel of the first stage."""
    normalisation: ClassVar[tuple[type[nn.Module], ...]] = NORMALISATION
    """Classes of the normalisation layers; these layers and their submodules belong to the task."""
    backbone: ClassVar[str | None] = None
    """Name of the submodule whose weights come from a pretraining; None without one."""
    width: int
    """Channels of the first stage."""
    head_width: int
    """Input channels of the head."""
    head: nn.Module
    """Last layer, one per task: a 1×1 convolution from `head_width` to the task's channels."""

    @classmethod
    @abstractmethod
    def from_settings(cls, settings: Any, head_channels: int) -> "Network":
        """Build a network with random weights and a head for one task.

        ``settings`` is an instance of the settings class in the network's row of `NETWORKS`.
        """

    def load_initial(self, path: Path) -> None:
        """Copy initial weights (`NetworkSettings.initial_weights`) from a file into the network, in place.

        Raises:
            DataError: the file cannot be read, or is of another network.
        """
        raise NotImplementedError

    def constant_padding(self) -> AbstractContextManager[None]:
        """Return a context in which no layer computes its padding from the size of its input.

        A network that does so by default overrides this method; `palimpsest.exporting` needs it.
        """
        return nullcontext()

    def check_contract(self, entry: "NetworkEntry", head_channels: int) -> None:
        """Check that the network keeps the rules of this class and fits its row of `NETWORKS`, ``entry``.

        Raises:
            CodeError: a tensor is in none or several of trunk, normalisation and head
            (`palimpsest.networks.trunk`),
                the head has another shape, or a property in the row is wrong.
        """
        if fault := partition_fault(self):
            raise CodeError(
                f"{entry.path}: {fault}; make it a parameter or a persistent buffer of one module, as described in "
                "palimpsest.networks.trunk"
            )
        head = head_state(self).get("head.weight")
        expected = (head_channels, self.head_width, 1, 1)
        if head is None or tuple(head.shape) != expected:
            fault = "is missing" if head is None else f"has the shape {tuple(head.shape)}"
            raise CodeError(
                f"{entry.path}: head.weight {fault}; make the head a convolution with a weight of shape {expected}"
            )
        flat = [name for name, layer in trunk_layers(self) if layer.weight.ndim != 4]
        if entry.kernels_only and flat:
            raise CodeError(
                f"{entry.path}: {flat[0]}.weight is not a 4-D kernel; set kernels_only to False in the "
                "row of NETWORKS"
            )
        for name in entry.submodules:
            if next(trunk_modules(self, name), None) is None:
                raise CodeError(
                    f"{entry.path}: the submodule {name!r} has no weights; remove it from submodules in the "
                    "row of NETWORKS"
                )
