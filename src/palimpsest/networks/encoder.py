"""The encoder of the study's U-Net alone, for classification: the head is on its coarsest features."""

from torch import Tensor, nn
from torch.nn import functional as F

from palimpsest.networks.base import Network
from palimpsest.networks.convolution import PaddingMode
from palimpsest.networks.encoder_settings import EncoderSettings
from palimpsest.networks.unet import UNetEncoder, initialise


class EncoderNetwork(Network):
    """Encoder of the U-Net with ``width`` channels in its first stage; see `Network` for the shapes.

    The output of the head, at a sixteenth of the picture's size, is repeated to the size of the picture.
    """

    stride = 16
    reach = 64
    """Receptive field of 62 pixels to each side of a block of 16, rounded up to a multiple of 16."""
    bytes_per_pixel = 36
    """Upper bound: that of the U-Net."""

    def __init__(self, width: int, head_channels: int, padding: PaddingMode = "reflect") -> None:
        super().__init__()
        self.width = width
        self.encoder = UNetEncoder([width * factor for factor in (1, 2, 4, 8, 8)], padding)
        self.head_width = self.encoder.channels[-1]
        self.head = nn.Conv2d(self.head_width, head_channels, 1)
        initialise(self.encoder)

    @classmethod
    def from_settings(cls, settings: EncoderSettings, head_channels: int) -> "EncoderNetwork":
        """Build a network with random weights and a head for one task."""
        return cls(settings.width, head_channels, settings.padding)

    def forward(self, x: Tensor) -> Tensor:
        """Return the raw output of the head (N, head_channels, H, W) for pictures (N, 3, H, W)."""
        output: Tensor = self.head(self.encoder(2 * x - 1)[-1])
        return F.interpolate(output, scale_factor=self.stride, mode="nearest")
