"""Settings of the kind `segmentation`."""

import typing
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from palimpsest.data.classes import BACKGROUND
from palimpsest.schema import ClassName, Share
from palimpsest.tasks.settings import TaskSettings


class SegmentationSettings(TaskSettings):
    """Photograph → class per pixel."""

    kind: Literal["segmentation"]
    classes: Annotated[dict[ClassName, Annotated[list[str], Field(min_length=1)]], Field(max_length=254)]
    """Names of the data set's categories for each class; a supercategory stands for all its members."""
    others: Literal["background", "ignored"] = "background"
    """Label of categories that belong to no class."""
    loss: Literal["cross-entropy", "l1", "l2", "adversarial"] = "cross-entropy"
    """Loss of the training. `cross-entropy` compares class scores. `l1`, `l2` and `adversarial` compare pictures
    with a colour per class, as in the study; the predicted class of a pixel is that of the nearest colour."""
    class_balance: Share = 0.0
    """Exponent k of the weights of classes in the cross-entropy: a class with the fraction p of the training pixels
    has a weight proportional to p⁻ᵏ. At 0 all pixels count alike, and a short training leaves rare classes to the
    background; at 1 all classes count alike."""
    l1_weight: Annotated[float, Field(ge=0)] = 100.0
    """Weight of the L1 loss beside the discriminator's in the loss `adversarial`; 100 in pix2pix."""

    @field_validator("classes")
    @classmethod
    def _are_no_background(cls, classes: dict[str, list[str]]) -> dict[str, list[str]]:
        if BACKGROUND in classes:
            raise ValueError(f"{BACKGROUND!r} is class 0 already; remove it")
        return classes

    @model_validator(mode="after")
    def _has_class_scores_to_balance(self) -> typing.Self:
        if self.class_balance and self.loss != "cross-entropy":
            raise ValueError(
                f"class_balance: the loss {self.loss!r} has no weights of classes; remove class_balance"
            )
        return self

    def preparation(self) -> dict[str, Any]:
        """Return the classes."""
        return {"classes": self.classes, "others": self.others}

    @property
    def gives_picture(self) -> bool:
        """True if the network predicts a picture with a colour per class: with every loss but `cross-entropy`."""
        return self.loss != "cross-entropy"
