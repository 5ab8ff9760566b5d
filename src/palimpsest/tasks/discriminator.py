"""The discriminator of adversarial losses."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PatchDiscriminator(nn.Module):
    """Conditional PatchGAN discriminator: one logit per patch, high if the label map is the input's true one.

    The weights start equal for every method and seed. Source: Isola et al., Image-to-Image Translation with
    Conditional Adversarial Networks, CVPR 2017. Different here: two layers of stride 2 instead of three, because
    pictures are smaller, and instance normalisation.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):  # the same weights for every method and seed
            torch.manual_seed(0)
            self.layers = self.build_layers(width)

    @staticmethod
    def build_layers(width: int) -> nn.Sequential:
        """Return the layers with random weights."""
        return nn.Sequential(
            nn.Conv2d(6, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.InstanceNorm2d(2 * width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(2 * width, 4 * width, 4, padding=1),
            nn.InstanceNorm2d(4 * width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(4 * width, 1, 4, padding=1),
        )

    def forward(self, inputs: Tensor, picture: Tensor) -> Tensor:
        """Return logits (N, 1, h, w), one per patch, for inputs and painted label maps, both (N, 3, H, W)."""
        return self.layers(torch.cat([inputs, picture], dim=1))  # type: ignore[no-any-return]

    def adversarial_loss(self, inputs: Tensor, picture: Tensor) -> Tensor:
        """Return the loss of the network that predicted ``picture``, a scalar: the cross-entropy against "true"."""
        logits = self(inputs, picture).float()
        return F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))

    def loss(self, inputs: Tensor, true: Tensor, predicted: Tensor) -> Tensor:
        """Return the discriminator's loss, a scalar: the mean cross-entropy for true and for predicted pictures."""
        real, fake = self(inputs, true).float(), self(inputs, predicted).float()
        return 0.5 * (
            F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
            + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
        )
