"""Batches for training and evaluation, from prepared arrays.

A training batch is a pure function of seed and step, which seed the generator of order, crop, scale and flip. A
resumed training therefore needs no generator state, and all methods train a task on the same pictures in the same
order.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from palimpsest.data.arrays import Array, Prepared
from palimpsest.groups import CropSettings

ORDER, DRAW = 0, 1  # separate streams of random numbers


@dataclass(frozen=True)
class TrainingBatches(Dataset[dict[str, Tensor]]):
    """Training batches of one task on one device; item i is the batch of step i."""

    prepared: Prepared
    pictures: CropSettings
    """Range of scales, and side of the crops."""
    batch_size: int
    """Number of pictures per step, over all devices."""
    steps: int
    seed: int
    rank: int = 0
    """Number of this device, from 0."""
    world_size: int = 1
    """Number of devices; each device takes every `world_size`-th picture of the batch."""

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        """Return the batch of a step: ``picture``, uint8 (N, 3, C, C), and ``target`` if the task has targets.

        C is `pictures.crop`. A picture and its target have the same crop and flip.
        """
        if not 0 <= step < self.steps:
            raise IndexError(step)
        rows = self._rows(step)
        random = np.random.default_rng([self.seed, DRAW, step])
        size, crop = self.pictures.size, self.pictures.crop
        side = int(random.integers(round(self.pictures.smallest_scale * size), size, endpoint=True))
        corners = random.integers(0, size - side, (len(rows), 2), endpoint=True)
        flips = random.random(len(rows)) < 0.5
        device_share = slice(self.rank, None, self.world_size)
        crops = list(zip(rows[device_share], corners[device_share], flips[device_share], strict=True))
        batch = {"picture": resized(cropped(self.prepared.picture, crops, side), crop, nearest=False)}
        if self.prepared.target is not None:
            target_type = self.prepared.target_type
            nearest = target_type is not None and target_type.interpolation == "nearest"
            batch["target"] = resized(cropped(self.prepared.target, crops, side), crop, nearest=nearest)
        return batch

    def _rows(self, step: int) -> NDArray[np.int64]:
        """Return the indices of the pictures of a step, for all devices: (batch_size,).

        The training split is repeated, with a new order in each pass.
        """
        rows = self.prepared.rows("train")
        positions = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        batch_rows = [
            np.random.default_rng([self.seed, ORDER, int(epoch)]).permutation(rows)[
                positions[positions // len(rows) == epoch] % len(rows)
            ]
            for epoch in np.unique(positions // len(rows))
        ]
        return np.concatenate(batch_rows)


Crop = tuple[np.int64, NDArray[np.int64], np.bool_]
"""Index of a picture, top left corner (y, x) of its crop, and True for a mirrored crop."""


def cropped(array: Array, crops: list[Crop], side: int) -> Tensor:
    """Return one square of `side` pixels per crop: (N, side, side), or (N, channels, side, side) with channels."""
    windows = []
    for row, (top, left), flip in crops:
        window = array[row, top : top + side, left : left + side]
        windows.append(window[:, ::-1] if flip else window)
    stacked = torch.from_numpy(np.stack(windows))
    return stacked.permute(0, 3, 1, 2) if stacked.ndim == 4 else stacked


def resized(batch: Tensor, side: int, nearest: bool) -> Tensor:
    """Return a batch of squares (N, …, H, H) as (N, …, side, side), interpolated bilinearly.

    With ``nearest`` each value is copied from its nearest neighbour, so that no new values occur.
    """
    if nearest:
        flat = batch.reshape(len(batch), -1, *batch.shape[-2:])
        squares: Tensor = transforms.resize(flat, [side, side], InterpolationMode.NEAREST_EXACT)
        return squares.reshape(*batch.shape[:-2], side, side)
    mixed: Tensor = transforms.resize(batch, [side, side], InterpolationMode.BILINEAR, antialias=True)
    return mixed


def training_loader(batches: TrainingBatches, start: int, workers: int) -> Iterator[dict[str, Tensor]]:
    """Return an iterator over the batches from step `start` on; 0 `workers`: this process loads them."""
    steps = range(start, len(batches))
    loader: DataLoader[dict[str, Tensor]] = DataLoader(
        batches, batch_size=None, sampler=steps, num_workers=workers, pin_memory=torch.cuda.is_available()
    )
    return iter(loader)


def evaluation_batches(prepared: Prepared, split: str, batch_size: int) -> Iterator[dict[str, Tensor]]:
    """Yield the pictures of a split in batches, uncropped, in the order of `index.csv`.

    A batch has ``picture``, uint8 (N, 3, S, S), and ``target`` if the task has targets. The last batch may be
    smaller than `batch_size`.
    """
    rows = prepared.rows(split)
    for start in range(0, len(rows), batch_size):
        batch_rows = rows[start : start + batch_size]
        batch = {"picture": torch.from_numpy(prepared.picture[batch_rows]).permute(0, 3, 1, 2)}
        if prepared.target is not None:
            target = torch.from_numpy(prepared.target[batch_rows])
            batch["target"] = target.permute(0, 3, 1, 2) if target.ndim == 4 else target
        yield batch
