"""Settings of the kind `classification`."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from palimpsest.data.classes import BACKGROUND
from palimpsest.schema import ClassName
from palimpsest.tasks.settings import TaskSettings


class ClassificationSettings(TaskSettings):
    """Photograph → the class that covers most of it, from label maps as for a segmentation."""

    kind: Literal["classification"]
    classes: Annotated[dict[ClassName, Annotated[list[str], Field(min_length=1)]], Field(max_length=254)]
    """Names of the data set's categories for each class; a supercategory stands for all its members. Photographs
    with none of them have class 0, the background."""

    @field_validator("classes")
    @classmethod
    def _are_no_background(cls, classes: dict[str, list[str]]) -> dict[str, list[str]]:
        if BACKGROUND in classes:
            raise ValueError(f"{BACKGROUND!r} is class 0 already; remove it")
        return classes

    def preparation(self) -> dict[str, Any]:
        """Return the classes; other categories are background."""
        return {"classes": self.classes, "others": "background"}
