"""Losses of artistic style transfer, as pure functions of features and pictures.

Content, style and total variation are one number per picture. Content and style are relative to their targets, so
loss weights transfer between perceptual networks, layers and picture sizes. The grid loss, an addition of this
project, is one number for many pictures.
All losses compute in float32, also under autocast: sums of squares overflow or lose precision in 16 bits.
Source: Gatys et al., CVPR 2016 (content and style); Johnson et al., ECCV 2016 (total variation, training).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


def gram_matrix(features: Tensor) -> Tensor:
    """Return the Gram matrix of features, the correlation of channels: G[c, d] = Σₓ f[c, x] · f[d, x] / (H · W).

    Args:
        features: (N, C, H, W), any floating type.

    Returns:
        (N, C, C), float32.
    """
    with torch.autocast(features.device.type, enabled=False):
        flat = features.float().flatten(2)
        return flat @ flat.transpose(1, 2) / flat.shape[2]


def content_loss(features: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Return the mean over layers of ‖f − t‖² / ‖t‖²: relative squared error of features f, with targets t.

    Args:
        features: of the translated picture, per layer (N, C, H, W).
        targets: of the photograph, the same shapes.

    Returns:
        (N,), float32; 0 if the features are equal.
    """
    return torch.stack([relative_square_error(f, t) for f, t in zip(features, targets, strict=True)]).mean(0)


def style_loss(grams: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Return the mean over layers of ‖G − A‖² / ‖A‖²: relative squared error of Gram matrices G, with targets A.

    Args:
        grams: of the translated picture, per layer (N, C, C), see `gram_matrix`; the mean Gram matrix of several
            pictures equals that of the pictures side by side.
        targets: Gram matrices of the painting, per layer (1, C, C) or (N, C, C).

    Returns:
        (N,), float32; 0 if all correlations equal the painting's.
    """
    return torch.stack([relative_square_error(g, a) for g, a in zip(grams, targets, strict=True)]).mean(0)


def total_variation(pictures: Tensor) -> Tensor:
    """Return the anisotropic total variation: mean |p[y, x+1] − p[y, x]| + mean |p[y+1, x] − p[y, x]|.

    Args:
        pictures: (N, C, H, W) in [0, 1], H and W at least 2.

    Returns:
        (N,), float32; 0 for a uniform picture.
    """
    p = pictures.float()
    horizontal = (p[..., 1:] - p[..., :-1]).abs().mean(dim=(1, 2, 3))
    vertical = (p[..., 1:, :] - p[..., :-1, :]).abs().mean(dim=(1, 2, 3))
    return horizontal + vertical


TONES = 4
"""Number of tones, ranges of brightness, of `Tiles`; grid artefacts of a network can depend on brightness."""


class Tiles(NamedTuple):
    """Sums over all blocks of pictures, squares of ``period`` pixels, by the tone of the block.

    The sums of several batches, added up, are those of all their pictures.
    """

    sums: Tensor
    """(TONES, C, period, period), float32: sum of the blocks of each tone."""
    counts: Tensor
    """(TONES,), float32: number of blocks of each tone."""


def tiles(pictures: Tensor, period: int) -> Tiles:
    """Return the sums over the blocks of pictures (N, C, H, W) in [0, 1]; incomplete blocks do not count."""
    n, c, height, width = pictures.shape
    rows, columns = height // period, width // period
    cropped = pictures[..., : rows * period, : columns * period].float()
    blocks = cropped.reshape(n, c, rows, period, columns, period).permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
    tone = (blocks.detach().mean(dim=(1, 2, 3)) * TONES).long().clamp(0, TONES - 1)
    membership = F.one_hot(tone, TONES).float()
    with torch.autocast(pictures.device.type, enabled=False):
        return Tiles(torch.einsum("bt,bcyx->tcyx", membership, blocks), membership.sum(0))


def grid_loss(blocks: Tiles) -> Tensor:
    """Return the strength of a periodic grid in pictures, a scalar float32: the roughness of the mean block.

    The loss is the squared difference of neighbouring pixels in the mean block, with periodic borders, averaged
    over pixels and, weighted by the number of blocks, over tones. Photographs contain no grid: their mean block
    becomes flat as the number of blocks grows, and the loss tends to 0. By chance about the squared difference of
    neighbours ÷ number of blocks per tone remains. Strided layers can produce a grid, whose loss stays above 0.
    """
    mean = blocks.sums / blocks.counts.clamp(min=1)[:, None, None, None]
    horizontal, vertical = (mean - mean.roll(1, dims=side) for side in (3, 2))
    roughness = (horizontal.square() + vertical.square()).mean(dim=(1, 2, 3))
    return (roughness * blocks.counts).sum() / blocks.counts.sum()


def relative_square_error(values: Tensor, targets: Tensor) -> Tensor:
    """Return ‖v − t‖² / ‖t‖² of each item, (N,), float32; values v are (N, …), targets t (N, …) or (1, …)."""
    v, t = values.float().flatten(1), targets.float().flatten(1)
    return (v - t).square().mean(1) / t.square().mean(1).clamp_min(SMALLEST)


SMALLEST = 1e-8
"""Lower bound of a target's mean square; keeps the loss of a black picture finite."""
