"""Settings of the method `coded`."""

import typing
from typing import Annotated

from pydantic import Field, model_validator

from palimpsest.methods.settings import MethodSettings
from palimpsest.schema import Positive, PositiveShare, Share


class CodedSettings(MethodSettings):
    """Changes of the base's weights in integers, trained for the size of their code."""

    bits: Positive = 0.12
    """Largest size of a task's code, in bits per weight of the trunk."""
    learning_rate: Positive = 0.06
    """Learning rate of Adam for the changes, in root mean squares of a filter."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """β₁ of Adam for the changes."""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """β₂ of Adam for the changes."""
    step_learning_rate: Positive = 2e-3
    """Learning rate of Adam for the step sizes."""
    mean_step: Positive = 0.25
    """Initial step size of a kernel's mean, in root mean squares of its filter."""
    scale_step: Positive = 0.25
    """Initial step size of a kernel's scale, in root mean squares of its filter."""
    weight_step: Positive = 1.0
    """Initial step size of a single weight, at the `exponent` 0 in root mean squares of its filter, at 1 in its
    magnitude."""
    covered: PositiveShare = 0.25
    """Fraction of the weights that have integers of their own: the largest of the whole network."""
    exponent: Annotated[float, Field(ge=0)] = 1.0
    """Exponent γ of a weight's magnitude in its change: at 0, all weights of a filter change by equal steps; at 1,
    by steps in proportion to their magnitudes."""
    counted_from: Share = 0.05
    """Fraction of the steps before the size of the code counts."""
    counted_until: Share = 0.4
    """Fraction of the steps after which the size is near `bits`; until then it is steered there."""
    rounded_from: Share = 0.0
    """Fraction of the steps before changes are rounded to integers."""
    rounded_until: Share = 0.3
    """Fraction of the steps after which changes are integers; until then they move there in proportion."""
    frozen_after: PositiveShare = 0.75
    """Fraction of the steps after which the integers stay; BatchNorm and head then train with them."""

    @model_validator(mode="after")
    def _in_order(self) -> typing.Self:
        for first, second in (("counted_from", "counted_until"), ("rounded_from", "rounded_until")):
            low, high = getattr(self, first), getattr(self, second)
            if not low <= high <= self.frozen_after:
                raise ValueError(
                    f"{first} ({low:g}), {second} ({high:g}) and frozen_after ({self.frozen_after:g}) are not in "
                    "this order; correct them, because frozen integers are neither counted nor rounded again"
                )
        return self
