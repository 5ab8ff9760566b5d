"""Settings of the method `coded`."""

import typing
from typing import Annotated

from pydantic import Field, model_validator

from palimpsest.methods.settings import MethodSettings
from palimpsest.schema import Positive, PositiveShare, Share


class CodedSettings(MethodSettings):
    """Changes of the base's weights in integers, trained for the size of their code."""

    bits: Positive = 0.12
    """Largest size of a task's code, in bits per weight of the trunk. Step sizes and counts of all layers take a
    few hundred bytes of it; if they alone are larger, nothing changes, and the training warns."""
    learning_rate: Positive = 0.015
    """Learning rate of Adam for the changes at one bit per weight: of kernels in root mean squares of a filter, of
    weights as a fraction of the weight. At b bits it is b^(−2/3) times as large, because the steps to reach are
    fewer and larger."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """β₁ of Adam for the changes."""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """β₂ of Adam for the changes."""
    step_learning_rate: Positive = 2e-3
    """Learning rate of Adam for the step sizes."""
    mean_step: Positive = 0.0625
    """Initial step size of a kernel's mean at one bit per weight, in root mean squares of its filter; like all
    initial step sizes, it is b^(−1/3) times as large at b bits."""
    scale_step: Positive = 0.0625
    """Initial step size of a kernel's scale at one bit per weight, in root mean squares of its filter."""
    weight_step: Positive = 0.25
    """Initial step size of a single weight at one bit per weight, as a fraction of the weight."""
    per_kernel: bool = True
    """True for integers of the mean and the scale of each kernel."""
    covered: Share = 0.25
    """Fraction of the weights that have integers of their own: the largest of the whole network."""
    counted_from: Share = 0.05
    """Fraction of the steps before the size of the code counts."""
    counted_until: Share = 0.4
    """Fraction of the steps after which the size is near `bits`; until then it is steered there."""
    rounded_from: Share = 0.0
    """Fraction of the steps before changes are rounded to integers."""
    rounded_until: Share = 0.3
    """Fraction of the steps after which changes are integers; until then they move there in proportion."""
    frozen_after: PositiveShare = 0.85
    """Fraction of the steps after which the integers stay; BatchNorm and head then train with them."""

    def first_step(self, stream: str) -> float:
        """Return the initial step size of a stream, ``mean``, ``scale`` or ``weight``, at `bits`."""
        return float(getattr(self, f"{stream}_step") * self.bits ** (-1 / 3))

    @property
    def rate(self) -> float:
        """Learning rate of the changes at `bits`, in root mean squares of a filter."""
        return float(self.learning_rate * self.bits ** (-2 / 3))

    @model_validator(mode="after")
    def _has_integers(self) -> typing.Self:
        if not self.per_kernel and not self.covered:
            raise ValueError(
                "per_kernel is False and covered is 0, so that nothing can change; correct one of them"
            )
        return self

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
