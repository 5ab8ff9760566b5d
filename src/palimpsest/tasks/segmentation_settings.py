"""Settings of the kind `segmentation`."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from palimpsest.data.classes import BACKGROUND
from palimpsest.schema import ClassName
from palimpsest.tasks.settings import TaskSettings


class SegmentationSettings(TaskSettings):
    """Photograph → class per pixel."""

    kind: Literal["segmentation"]
    classes: Annotated[dict[ClassName, Annotated[list[str], Field(min_length=1)]], Field(max_length=254)]
    """Categories of the data set for each class; a supercategory includes all its members."""
    others: Literal["background", "ignored"] = "background"
    """Label of categories that belong to no class."""
    loss: Literal["cross-entropy", "l1", "l2", "adversarial"] = "cross-entropy"
    """`cross-entropy`: on class scores. All others: on the label map painted as a picture, as in the study; a pixel
    gets the class of the nearest colour."""
    l1_weight: Annotated[float, Field(ge=0)] = 100.0
    """Weight of L1 in the adversarial loss; 100 in pix2pix."""

    @field_validator("classes")
    @classmethod
    def _are_no_background(cls, classes: dict[str, list[str]]) -> dict[str, list[str]]:
        if BACKGROUND in classes:
            raise ValueError(f"{BACKGROUND!r} is class 0 already; remove it")
        return classes

    def preparation(self) -> dict[str, Any]:
        """Return the classes."""
        return {"classes": self.classes, "others": self.others}

    @property
    def gives_picture(self) -> bool:
        """True for losses of pictures."""
        return self.loss != "cross-entropy"
