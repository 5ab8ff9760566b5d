"""Groups of settings that methods, tasks and networks share, each documented field by field."""

import typing
from typing import Annotated, Literal

from pydantic import Field, model_validator

from palimpsest.machine import MAX_MEGAPIXELS
from palimpsest.schema import Positive, PositiveShare, SettingsGroup, Share, UserPath


class BaseSettings(SettingsGroup):
    """Settings of the base network."""

    encoder_weights: UserPath | None = None
    """File of VGG weights (torchvision's names) that initialise the encoder; None for random weights."""
    steps: Annotated[int, Field(ge=1)] | None = None
    """Steps of the base training in place of `training.steps`. The task's own `steps`, if any, override both."""
    standardised: bool = False
    """Weight standardisation (Qiao et al. 2019): every filter of the base has mean zero and variance 1 / fan-in."""


class CropSettings(SettingsGroup):
    """Sizes of pictures, in pixels."""

    size: Annotated[int, Field(ge=32, multiple_of=16)] = 80
    """Side of the prepared pictures, which are square and are evaluated whole."""
    crop: Annotated[int, Field(ge=32, multiple_of=16)] = 64
    """Side of the random training crops."""
    smallest_scale: PositiveShare = 0.75
    """Smallest side of a random crop before it is resized, as a fraction of the prepared picture's side."""

    @model_validator(mode="after")
    def _crop_fits(self) -> typing.Self:
        if self.crop > self.size:
            raise ValueError(f"crop ({self.crop}) is larger than size ({self.size}); lower crop or raise size")
        return self


class PictureSettings(CropSettings):
    """Sizes of pictures, and limits on faulty pictures and annotations."""

    broken_share: Share = 0.01
    """Largest fraction of unreadable pictures, which are excluded, and of faulty annotations. Both are listed; a
    larger fraction stops the run."""
    max_megapixels: Positive = MAX_MEGAPIXELS
    """Largest picture that is read; larger ones count as unreadable. Reading takes 4 bytes of memory per pixel, 16
    with transparency."""

    @property
    def crops(self) -> CropSettings:
        """Sizes that a training depends on."""
        return CropSettings(size=self.size, crop=self.crop, smallest_scale=self.smallest_scale)


class TrainingSettings(SettingsGroup):
    """Settings of every training."""

    steps: Annotated[int, Field(ge=1)] = 300
    """Optimiser steps of each task, the same for every method."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    learning_rate: Positive = 1e-3
    """Peak learning rate of the weights (AdamW, linear warm-up, cosine decay to zero)."""
    head_lr_multiplier: Positive = 1.0
    """Learning-rate multiplier of BatchNorm and head, which need larger steps if the weights are frozen."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    warmup: Share = 0.05
    """Fraction of the steps with a rising learning rate."""
    gradient_clip: Positive = 1.0
    """Largest gradient norm of one group of parameters."""
    batchnorm_frozen: Share = 0.1
    """Fraction of the steps, at the end, in which BatchNorm uses its running statistics, as in inference, and no
    longer updates them. At 0 some trainings end with statistics that do not match their weights, and inference
    fails."""
    steps_per_epoch: Annotated[int, Field(ge=1)] = 50
    """Steps between two lines of the log, two points of the curves and two checkpoints."""
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    """`auto`: bfloat16 if the device has instructions for it; otherwise float32, since bfloat16 would take ten
    times as long. The prediction record names the precision used."""
    threads: Annotated[int, Field(ge=1)] = 1
    """CPU threads of one training. Results are bit-identical only for the same number."""
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    devices: Annotated[int, Field(ge=1)] = 1


class TrainingOverrides(SettingsGroup):
    """Overrides that a single task may set, for all methods alike."""

    steps: Annotated[int, Field(ge=1)] | None = None
    batch_size: Annotated[int, Field(ge=1)] | None = None
    learning_rate: Positive | None = None
    smallest_scale: PositiveShare | None = None
    """Override of `pictures.smallest_scale`. Styles run on photographs of any size; enlarged small crops are as
    smooth as large photographs."""
