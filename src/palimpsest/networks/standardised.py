"""Weight standardisation: filters of zero mean and equal norm, in training and in stored files.

Source: Qiao et al., Micro-Batch Training with Batch-Channel Normalization and Weight Standardization, 2019. The
BatchNorm after a filter provides its gain.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from palimpsest.networks.trunk import trunk_layers


class Standardised(nn.Module):
    """PyTorch parametrization of a weight (out, in, h, w): filters of mean 0 and variance 1 / (in · h · w)."""

    def forward(self, weight: Tensor) -> Tensor:
        """Return the standardised filters, in the same shape."""
        variance, mean = torch.var_mean(weight, dim=(1, 2, 3), correction=0, keepdim=True)
        return (weight - mean) * torch.rsqrt(variance * weight[0].numel() + 1e-8)


def standardise(network: nn.Module) -> None:
    """Register `Standardised` on the trunk's convolutions, except transposed ones, which start as upsampling."""
    for _, layer in list(trunk_layers(network)):
        if isinstance(layer, nn.Conv2d):
            parametrize.register_parametrization(layer, "weight", Standardised())
