"""Settings of the masks."""

import typing
from typing import Annotated, Literal

from pydantic import Field, model_validator

from palimpsest.methods.settings import MethodSettings
from palimpsest.schema import Positive, PositiveShare, Share


class ScoreSettings(MethodSettings):
    """Scores of masks (Mallya et al. 2018). Where a default differs from the original code, the original value is
    given."""

    score_learning_rate: Positive = 3e-3
    """Learning rate of Adam for the scores (original: 1e-4)."""
    score_beta1: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """β₁ of Adam for scores, the decay of the mean gradient (original: 0.9, at which momentum carries scores across
    the threshold and useful bits are lost)."""
    score_beta2: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """β₂ of Adam for scores, the decay of the mean squared gradient (original: 0.999, at which the large gradients
    of the first steps slow the scores throughout a short training)."""
    score_lr_end: PositiveShare = 1.0
    """Fraction of the steps after which the scores' learning rate is zero; BatchNorm and head then train with a
    fixed mask."""
    averaged: Share = 0.0
    """Fraction of the steps, directly before `score_lr_end`, over which scores are averaged; the fixed mask uses
    the mean. 0 for no averaging."""
    initial_score: float = 1e-2
    """Mean score of a layer at the start of a training; it has to be above `threshold`."""
    threshold: float = 5e-3
    """Score above which a mask keeps a weight; a mask of two bits also negates a weight with a score below its
    negative."""
    start: Literal["constant", "proportional"] = "proportional"
    """Initial scores of a layer. `constant` (original): all equal `initial_score`. `proportional`: the distance of
    a score from `threshold` is proportional to the magnitude of its weight, so that the smallest weights are masked
    first; the mean distance is that of `initial_score`."""

    @model_validator(mode="after")
    def _starts_open(self) -> typing.Self:
        if self.initial_score <= self.threshold:
            raise ValueError(
                f"initial_score ({self.initial_score:g}) is not above threshold ({self.threshold:g}), so that the "
                "mask would not start as all ones; raise initial_score or lower threshold"
            )
        if self.averaged and not self.averaged <= self.score_lr_end < 1:
            raise ValueError(
                f"averaged ({self.averaged:g}) needs averaged ≤ score_lr_end < 1, but score_lr_end is "
                f"{self.score_lr_end:g}; lower averaged or score_lr_end, because scores are averaged while they "
                "train and BatchNorm then adapts to the mask of their mean"
            )
        return self


class MaskSettings(ScoreSettings):
    """One-bit masks (Mallya et al. 2018)."""

    surrogate: Literal["identity", "clipped", "sigmoid"] = "identity"
    """Surrogate for the derivative of the step from score to mask. `identity` (original): 1 everywhere; `clipped`:
    1 near the threshold, 0 elsewhere; `sigmoid`: a bump around the threshold. The width of `clipped` and `sigmoid`
    is the distance of `initial_score` from `threshold`."""
    weight_factor: bool = True
    """True if a score's gradient is multiplied by its weight (original); False for the weight's sign."""


class AffineMaskSettings(MaskSettings):
    """Masks with four scalars per layer (Mancini et al. 2018, 2020)."""

    initial_scalars: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)
    """Initial k₀, k₁, k₂ and k₃ of each layer, which computes with k₀ · w + k₁ + k₂ · mask + k₃ · (w ∘ mask) for
    its weight w. From k₂ = k₃ = 0 the scores have no gradient until one of the two changes."""
