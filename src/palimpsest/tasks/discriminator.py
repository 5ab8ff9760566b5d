"""The discriminator of adversarial losses."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PatchDiscriminator(nn.Module):
    """Says of each patch whether input and label map belong together and are true: PatchGAN.

    Source: Isola et al., Image-to-Image Translation with Conditional Adversarial Networks, CVPR 2017. Two layers of
    stride 2 where that has three: pictures are smaller here. Instance normalisation, as for batches of one.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):  # the same for every method and seed, whatever was drawn before
            torch.manual_seed(0)
            self.layers = self.built(width)

    @staticmethod
    def built(width: int) -> nn.Sequential:
        """Its layers, with random weights."""
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
        """Two times (N, 3, H, W) → logits (N, 1, h, w), one for each patch."""
        return self.layers(torch.cat([inputs, picture], dim=1))  # type: ignore[no-any-return]

    def adversarial_loss(self, inputs: Tensor, picture: Tensor) -> Tensor:
        """Return the generator's loss: the discriminator's distance from judging a picture as true."""
        logits = self(inputs, picture).float()
        return F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))

    def loss(self, inputs: Tensor, true: Tensor, found: Tensor) -> Tensor:
        """Return the discriminator's own loss in telling true and predicted pictures apart."""
        right, wrong = self(inputs, true).float(), self(inputs, found).float()
        return 0.5 * (
            F.binary_cross_entropy_with_logits(right, torch.ones_like(right))
            + F.binary_cross_entropy_with_logits(wrong, torch.zeros_like(wrong))
        )
