"""The losses of artistic style transfer, as pure functions of features and pictures.

Content, style and variation are one number per picture; content and style are relative to what they are compared
with, so that weights carry over from one perceptual network, layer or picture size to another. The grid, ours, is
of many pictures together.
All of them compute in float32, under autocast too: sums of squares overflow or drown in 16 bits.
Source: Gatys et al., CVPR 2016 (content and style); Johnson et al., ECCV 2016 (total variation, training).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


def gram_matrix(features: Tensor) -> Tensor:
    """Channel correlations averaged over positions: G[c, d] = Σₓ f[c, x] · f[d, x] / (H · W).

    Args:
        features: (N, C, H, W), any floating type.

    Returns:
        (N, C, C), float32.
    """
    with torch.autocast(features.device.type, enabled=False):
        flat = features.float().flatten(2)
        return flat @ flat.transpose(1, 2) / flat.shape[2]


def content_loss(features: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Mean over layers of ‖f − t‖² / ‖t‖²: the share of the photograph's features that was lost.

    Args:
        features: of the translated picture, per layer (N, C, H, W).
        targets: of the photograph, the same shapes.

    Returns:
        (N,), float32; 0 where the features are equal.
    """
    return torch.stack([relative_square_error(f, t) for f, t in zip(features, targets, strict=True)]).mean(0)


def style_loss(grams: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Mean over layers of ‖G − A‖² / ‖A‖² with the painting's Gram matrices A.

    Args:
        grams: of the translated picture, per layer (N, C, C), see `gram_matrix`; the mean Gram matrix of several
            pictures is that of the pictures side by side.
        targets: of the painting, per layer (1, C, C) or (N, C, C).

    Returns:
        (N,), float32; 0 where all correlations are the painting's.
    """
    return torch.stack([relative_square_error(g, a) for g, a in zip(grams, targets, strict=True)]).mean(0)


def total_variation(pictures: Tensor) -> Tensor:
    """Anisotropic total variation per pixel: mean |p[y, x+1] − p[y, x]| + mean |p[y+1, x] − p[y, x]|.

    Args:
        pictures: (N, C, H, W) in [0, 1], H and W at least 2.

    Returns:
        (N,), float32; 0 for a uniform picture.
    """
    p = pictures.float()
    across = (p[..., 1:] - p[..., :-1]).abs().mean(dim=(1, 2, 3))
    down = (p[..., 1:, :] - p[..., :-1, :]).abs().mean(dim=(1, 2, 3))
    return across + down


TONES = 4
"""Ranges of brightness in which `Tiles` looks for a grid: paint that a network adds may be light or dark."""


class Tiles(NamedTuple):
    """Sums over the blocks that a grid of ``period`` pixels cuts out of pictures, by the blocks' brightness.

    Tiles of several batches are those of the batches together once they are added up.
    """

    sums: Tensor
    """(TONES, C, period, period), float32."""
    counts: Tensor
    """(TONES,), float32: blocks."""


def tiles(pictures: Tensor, period: int) -> Tiles:
    """The mean blocks of pictures (N, C, H, W) in [0, 1]; what is left over at the right and below is not seen."""
    n, c, height, width = pictures.shape
    rows, columns = height // period, width // period
    cut = pictures[..., : rows * period, : columns * period].float()
    blocks = cut.reshape(n, c, rows, period, columns, period).permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
    tone = (blocks.detach().mean(dim=(1, 2, 3)) * TONES).long().clamp(0, TONES - 1)
    member = F.one_hot(tone, TONES).float()
    with torch.autocast(pictures.device.type, enabled=False):
        return Tiles(torch.einsum("bt,bcyx->tcyx", member, blocks), member.sum(0))


def grid_loss(found: Tiles) -> Tensor:
    """How far places on a grid differ for no reason but their place: a scalar.

    Photographs know of no grid: the mean of ever more of their blocks becomes flat, and this loss, of which chance
    leaves about the squared difference of neighbours over the number of blocks of a tone, goes to 0. In what a
    network with strided layers paints it does not, since each of their phases may paint something else. Mean over
    the tones, by their number of blocks, and over neighbouring pixels of the squared differences in the mean block,
    its borders joined.
    """
    mean = found.sums / found.counts.clamp(min=1)[:, None, None, None]
    across, down = (mean - mean.roll(1, dims=side) for side in (3, 2))
    each = (across.square() + down.square()).mean(dim=(1, 2, 3))
    return (each * found.counts).sum() / found.counts.sum()


def relative_square_error(values: Tensor, targets: Tensor) -> Tensor:
    """‖v − t‖² / ‖t‖² per item of the first dimension: (N, …) and (N, …) or (1, …) → (N,), float32."""
    v, t = values.float().flatten(1), targets.float().flatten(1)
    return (v - t).square().mean(1) / t.square().mean(1).clamp_min(SMALLEST)


SMALLEST = 1e-8
"""Mean square below which a target counts as empty; keeps a black picture's loss finite."""
