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
    """Our classes, each a list of the data set's categories; a supercategory stands for all its members."""
    others: Literal["background", "ignored"] = "background"
    """Label of categories that no class lists."""
    loss: Literal["cross-entropy", "l1", "l2", "adversarial"] = "cross-entropy"
    """On class scores; or, as the study tried too, on the label map painted as a picture, which is read back by the
    nearest class colour."""
    l1_weight: Annotated[float, Field(ge=0)] = 100.0
    """Weight of L1 beside the adversarial loss; pix2pix has 100."""

    @field_validator("classes")
    @classmethod
    def _are_no_background(cls, classes: dict[str, list[str]]) -> dict[str, list[str]]:
        if BACKGROUND in classes:
            raise ValueError(f"{BACKGROUND!r} is class 0 already, for pixels of no class; leave it out")
        return classes

    def preparation(self) -> dict[str, Any]:
        """Return the classes."""
        return {"classes": self.classes, "others": self.others}

    @property
    def gives_picture(self) -> bool:
        """With the losses of pictures."""
        return self.loss != "cross-entropy"
