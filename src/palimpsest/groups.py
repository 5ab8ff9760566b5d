"""Groups of settings that methods, tasks and networks share, each documented field by field."""

import typing
from typing import Annotated, Literal

from pydantic import Field, model_validator

from palimpsest.machine import MAX_MEGAPIXELS
from palimpsest.schema import Positive, PositiveShare, SettingsGroup, Share, UserPath

MeasuredSplit = Literal["val", "dev"]
"""Split that is measured: ``val`` for results, ``dev`` for choices of settings."""


class BaseSettings(SettingsGroup):
    """Settings of the base network."""

    encoder_weights: UserPath | None = None
    """File of VGG weights with torchvision's names, which initialise the encoder; None for random weights."""
    steps: Annotated[int, Field(ge=1)] | None = None
    """Steps of the base training in place of `training.steps`. The task's own `steps`, if any, override both."""
    standardised: bool = False
    """True for weight standardisation (Qiao et al. 2019): each filter of the base network has mean 0 and variance 1
    / fan-in."""


class TrackingSettings(SettingsGroup):
    """Records of runs."""

    uri: Annotated[str, Field(pattern=r"^(databricks|[a-z0-9+-]+://.+)$")] | None = None
    """Address of an MLflow tracking server that gets a copy of every run, such as ``http://mlflow.team:5000``. The
    environment variable `MLFLOW_TRACKING_URI` has priority. None for no copies: the runs are in `mlflow.db`."""


class CropSettings(SettingsGroup):
    """Sizes of pictures, in pixels."""

    size: Annotated[int, Field(ge=32, multiple_of=16)] = 80
    """Side of the prepared pictures in pixels; they are square and are evaluated whole."""
    crop: Annotated[int, Field(ge=32, multiple_of=16)] = 64
    """Side of the random training crops in pixels."""
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
    """Largest fraction of unreadable pictures, and largest fraction of faulty annotations, of a split. Above it the
    run stops; below it unreadable pictures are left out, and both are listed in the log and in `info.json`."""
    dev_share: Share = 0.1
    """Fraction of the training pictures that make the split `dev`, on which sweeps compare settings; no task learns
    from them. 0 for no such split."""
    max_megapixels: Positive = MAX_MEGAPIXELS
    """Size of the largest picture that is read, in megapixels; larger pictures count as unreadable. Reading takes 4
    bytes of memory per pixel, 16 with transparency."""

    @property
    def crops(self) -> CropSettings:
        """Sizes that a training depends on."""
        return CropSettings(size=self.size, crop=self.crop, smallest_scale=self.smallest_scale)


class TrainingSettings(SettingsGroup):
    """Settings of every training."""

    steps: Annotated[int, Field(ge=1)] = 300
    """Optimiser steps of each task, the same for every method."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    """Pictures per step, over all devices together."""
    learning_rate: Positive = 1e-3
    """Peak learning rate of AdamW for the weights. The rate rises linearly to the peak and falls to zero along a
    cosine."""
    lr_multiplier: Positive = 1.0
    """Factor of all learning rates, for whatever a method trains. A task whose loss needs larger steps than the
    others sets it in `tasks.<task>.training`, for all methods that learn one task at a time; a training of several
    tasks has the settings of the first."""
    head_lr_multiplier: Positive = 1.0
    """Factor of the learning rate for BatchNorm and head, which need larger steps if the weights are frozen."""
    encoder_lr_multiplier: Positive = 1.0
    """Factor of the learning rates for an encoder of timm (`network.encoder`): for its weights and BatchNorm, and
    for what a method trains in their place, such as the scores of masks; below 1, the encoder stays close to its
    pretrained weights."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    """Decay of the weights by AdamW: each step multiplies a weight by 1 − learning rate · decay. Other parameters,
    such as those of BatchNorm and scores of masks, do not decay."""
    warmup: Share = 0.05
    """Fraction of the steps, at the start, during which the learning rate rises."""
    gradient_clip: Positive = 1.0
    """Largest norm of the gradient of one group of parameters; a longer gradient is scaled down to it."""
    batchnorm_frozen: Share = 0.1
    """Fraction of the steps, at the end, in which BatchNorm uses its running statistics, as in inference, and no
    longer updates them. At 0 some trainings end with statistics that do not match their weights, and inference
    fails."""
    steps_per_epoch: Annotated[int, Field(ge=1)] = 50
    """Steps between two lines of the log, two points of the curves and two checkpoints."""
    compact: bool = True
    """Storage of a task that is added to a base network: if True, BatchNorm as scale and shift, and these and the
    head in float16; if False, all in float32, BatchNorm with its statistics."""
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    """Number format of the training's operations. `32-true`: float32; `bf16-mixed`: bfloat16 with float32 weights;
    `auto`: bfloat16 if the device has instructions for it, otherwise float32, since bfloat16 without instructions
    takes ten times as long. `<task>.predictions.json` has the format that was used."""
    threads: Annotated[int, Field(ge=1)] = 1
    """CPU threads of one training. Results are bit-identical only for the same number."""
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    """Kind of device that trains and measures; `auto`: a GPU if PyTorch finds one."""
    devices: Annotated[int, Field(ge=1)] = 1
    """Number of devices of one training, each with an equal part of every batch."""


class TrainingOverrides(SettingsGroup):
    """Settings of one training in place of those of `training` and `pictures`; None for no override."""

    steps: Annotated[int, Field(ge=1)] | None = None
    """Optimiser steps in place of `training.steps`."""
    batch_size: Annotated[int, Field(ge=1)] | None = None
    """Pictures per step in place of `training.batch_size`."""
    learning_rate: Positive | None = None
    """Peak learning rate in place of `training.learning_rate`."""
    lr_multiplier: Positive | None = None
    """Factor of all learning rates in place of `training.lr_multiplier`."""
    encoder_lr_multiplier: Positive | None = None
    """Factor of the encoder's learning rates in place of `training.encoder_lr_multiplier`."""
    batchnorm_frozen: Share | None = None
    """Fraction of the steps in place of `training.batchnorm_frozen`."""
    smallest_scale: PositiveShare | None = None
    """Smallest side of a crop in place of `pictures.smallest_scale`, for styles: enlarged small crops are as smooth
    as large photographs, and a style is applied to photographs of any size."""
