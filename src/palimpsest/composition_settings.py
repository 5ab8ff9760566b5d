"""Settings of a composition: two tasks of one method on one picture (`palimpsest.composition`)."""

import typing
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from palimpsest.errors import unknown_name
from palimpsest.methods import METHODS, entry_of
from palimpsest.schema import Name, SettingsGroup


class CompositionSettings(SettingsGroup):
    """Settings of one composition."""

    first: Name
    """Name of the task whose input the composition receives."""
    second: Name
    """Name of the task whose prediction the composition returns."""
    method: str
    """Name of the method that trained both tasks."""
    ways: Annotated[list[Literal["two-stage", "sequential", "alternate", "blend"]], Field(min_length=1)]
    """Ways to compose the tasks. `two-stage`: two networks in sequence; `sequential`: one pass through the residual
    blocks of the first task, then those of the second; `alternate`: one pass through the blocks of both in turn;
    `blend`: networks between both tasks, for masks."""
    steps: Annotated[int, Field(ge=2)] = 5
    """Number of networks in a blend, including those of both tasks."""
    pictures: Annotated[int, Field(ge=1)] = 64
    """Number of training pictures of each task that determine a blend's BatchNorm statistics, rounded up to whole
    batches."""

    @property
    def name(self) -> str:
        """Name of the composition and of its folder."""
        return f"{self.method}-{self.first}+{self.second}"

    @field_validator("method")
    @classmethod
    def _is_known(cls, method: str) -> str:
        if method not in METHODS:
            raise ValueError(unknown_name(method, METHODS, "method"))
        return method

    @field_validator("ways")
    @classmethod
    def _are_possible(cls, ways: list[str], info: ValidationInfo) -> list[str]:
        method = info.data.get("method")
        possible = ways_of(method) if method else ways  # an unknown method has its own error
        for way in ways:
            if way not in possible:
                raise ValueError(f"{method} cannot compose by {way!r}; use {', '.join(possible)}")
            if ways.count(way) > 1:
                raise ValueError(f"duplicate entry {way!r}; remove one")
        return ways

    @model_validator(mode="after")
    def _has_two_tasks(self) -> typing.Self:
        if self.first == self.second:
            raise ValueError(f"first and second are both {self.first}; name two tasks")
        return self


def ways_of(method: str) -> list[str]:
    """Return the ways in which two tasks of a method can be composed."""
    entry = entry_of(method)
    return [
        "two-stage",
        *(["sequential", "alternate"] if entry.can_chain else []),
        *(["blend"] if entry.can_blend else []),
    ]
