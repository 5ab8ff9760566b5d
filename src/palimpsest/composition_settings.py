"""Settings of a composition: two tasks of one method on one picture (`palimpsest.composition`)."""

import typing
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from palimpsest.errors import nearest
from palimpsest.methods import METHODS, entry_of
from palimpsest.schema import Name, SettingsGroup


class CompositionSettings(SettingsGroup):
    """Two tasks of one method on one picture (`palimpsest.composition`)."""

    first: Name
    """The task whose input is seen."""
    second: Name
    """The task that answers."""
    method: str
    ways: Annotated[list[Literal["two-stage", "sequential", "alternate", "blend"]], Field(min_length=1)]
    """`two-stage`: one network after the other; `sequential`, `alternate`: one pass through the residual blocks of
    both; `blend`: one network between both, for masks."""
    steps: Annotated[int, Field(ge=2)] = 5
    """How many networks a blend has, from the first task's to the second's."""
    pictures: Annotated[int, Field(ge=1)] = 64
    """Training pictures of each task on which a blend's BatchNorm is calibrated, rounded up to whole batches."""

    @property
    def name(self) -> str:
        """What its folder is called."""
        return f"{self.method}-{self.first}+{self.second}"

    @field_validator("method")
    @classmethod
    def _is_known(cls, method: str) -> str:
        if method not in METHODS:
            raise ValueError(f"there is no method {method!r}{nearest(method, METHODS)}")
        return method

    @field_validator("ways")
    @classmethod
    def _are_possible(cls, ways: list[str], info: ValidationInfo) -> list[str]:
        method = info.data.get("method")
        possible = ways_of(method) if method else ways  # of an unknown one only that is told
        for way in ways:
            if way not in possible:
                raise ValueError(f"{method} has no {way!r}; it has {', '.join(possible)}")
        if len({*ways}) < len(ways):
            raise ValueError(f"one stands twice in {ways}")
        return ways

    @model_validator(mode="after")
    def _has_two_tasks(self) -> typing.Self:
        if self.first == self.second:
            raise ValueError(f"first and second have to be two tasks, found {self.first} twice")
        return self


def ways_of(method: str) -> list[str]:
    """The ways in which two tasks of a method can be composed."""
    entry = entry_of(method)
    return [
        "two-stage",
        *(["sequential", "alternate"] if entry.blocks else []),
        *(["blend"] if entry.can_blend else []),
    ]
