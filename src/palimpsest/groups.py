"""Groups of settings that methods, tasks and networks share, each documented field by field."""

import typing
from typing import Annotated, Literal

from pydantic import Field, model_validator

from palimpsest.machine import MAX_MEGAPIXELS
from palimpsest.schema import Positive, PositiveShare, SettingsGroup, Share, UserPath


class BaseSettings(SettingsGroup):
    """How the base network comes to be."""

    encoder_weights: UserPath | None = None
    """A file of VGG weights (torchvision's names) to start the encoder from; the study starts from noise."""
    steps: Annotated[int, Field(ge=1)] | None = None
    """Steps of the base training where they differ from `training.steps` and the task has none of its own."""
    standardised: bool = False
    """Weight standardisation (Qiao et al. 2019): every filter of the base has mean zero and variance 1 / fan-in."""


class CropSettings(SettingsGroup):
    """Sizes of pictures, in pixels."""

    size: Annotated[int, Field(ge=32, multiple_of=16)] = 80
    """Prepared pictures are squares of this side, and are evaluated whole."""
    crop: Annotated[int, Field(ge=32, multiple_of=16)] = 64
    """Side of the random crops that train."""
    smallest_scale: PositiveShare = 0.75
    """A training crop shows between this share and the whole of the prepared picture's side."""

    @model_validator(mode="after")
    def _crop_fits(self) -> typing.Self:
        if self.crop > self.size:
            raise ValueError(f"crop ({self.crop}) is larger than the prepared picture, size ({self.size})")
        return self


class PictureSettings(CropSettings):
    """Sizes of pictures, and how many of them or of their annotations may be faulty."""

    broken_share: Share = 0.01
    """Largest share of unreadable pictures, which are left out, and of annotations that cannot be painted. Both are
    listed; more stops the run."""
    max_megapixels: Positive = MAX_MEGAPIXELS
    """Larger pictures count as unreadable. One takes 4 bytes of memory a pixel, 16 with transparency."""

    @property
    def crops(self) -> CropSettings:
        """What a training needs to know."""
        return CropSettings(size=self.size, crop=self.crop, smallest_scale=self.smallest_scale)


class TrainingSettings(SettingsGroup):
    """How every training runs."""

    steps: Annotated[int, Field(ge=1)] = 300
    """Optimiser steps of each task, the same for every method."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    learning_rate: Positive = 1e-3
    """Of weights (AdamW, linear warm-up, cosine to zero)."""
    head_lr_multiplier: Positive = 1.0
    """How many times as fast BatchNorm and head learn: over weights that do not move they have a long way to go."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    warmup: Share = 0.05
    """Share of the steps with a rising learning rate."""
    gradient_clip: Positive = 1.0
    """Largest norm of the gradient of one group of parameters."""
    batchnorm_frozen: Share = 0.1
    """Share of the steps, the last ones, in which BatchNorm computes with its running statistics, as when applied,
    and no longer moves them. At 0 a training now and then ends with statistics that are not those of its weights,
    and what it learned is lost when it is applied."""
    steps_per_epoch: Annotated[int, Field(ge=1)] = 50
    """Steps between two lines of the log, two points of the curves and two checkpoints."""
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    """`auto`: bfloat16 where the device has instructions for it; elsewhere, where bfloat16 takes ten times as long,
    float32. A stored task says which it was."""
    threads: Annotated[int, Field(ge=1)] = 1
    """CPU threads of one training. Results are bit-identical only for the same number."""
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    devices: Annotated[int, Field(ge=1)] = 1


class TrainingOverrides(SettingsGroup):
    """What a single task may set otherwise, for every method alike."""

    steps: Annotated[int, Field(ge=1)] | None = None
    batch_size: Annotated[int, Field(ge=1)] | None = None
    learning_rate: Positive | None = None
    smallest_scale: PositiveShare | None = None
    """Of `pictures`. A style, which is applied to photographs of any size, has to know smooth ones: small crops,
    enlarged, are what a large photograph looks like."""
