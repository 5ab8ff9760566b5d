"""Settings of the kind `segmentation`."""

from typing import Annotated, Any, Literal

from pydantic import Field

from palimpsest.schema import ClassName
from palimpsest.tasks.settings import TaskSettings


class SegmentationSettings(TaskSettings):
    """Photograph → class per pixel."""

    kind: Literal["segmentation"]
    classes: dict[ClassName, list[str]]
    """Our classes, each a list of the data set's categories; a supercategory stands for all its members."""
    others: Literal["background", "ignored"] = "background"
    """What becomes of categories that no class names."""
    loss: Literal["cross-entropy", "l1", "l2", "adversarial"] = "cross-entropy"
    """On class scores; or, as the study tried too, on the label map painted as a picture, which is read back by the
    nearest class colour."""
    l1_weight: Annotated[float, Field(ge=0)] = 100.0
    """How much L1 counts beside the adversarial loss; pix2pix has 100."""

    def preparation(self) -> dict[str, Any]:
        """Return the classes."""
        return {"classes": self.classes, "others": self.others}

    @property
    def gives_picture(self) -> bool:
        """With the losses of pictures."""
        return self.loss != "cross-entropy"
