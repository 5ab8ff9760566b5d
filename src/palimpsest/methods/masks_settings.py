"""Settings of the masks."""

import typing
from typing import Annotated, Literal

from pydantic import Field, model_validator

from palimpsest.schema import Positive, PositiveShare, SettingsGroup, Share


class ScoreSettings(SettingsGroup):
    """Scores of masks (Mallya et al. 2018). Where a default differs from the original code, the original value is
    given."""

    score_learning_rate: Positive = 3e-3
    """Original: 1e-4."""
    score_beta1: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """β₁ of Adam for scores. At the usual 0.9 (original), momentum carries scores across the threshold, and useful
    bits are lost."""
    score_beta2: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """β₂ of Adam for scores. At the usual 0.999 (original), the large gradients of the first steps slow the scores
    throughout a short training."""
    score_lr_end: PositiveShare = 1.0
    """Share of the steps after which the scores' learning rate is zero; BatchNorm and head then train with a fixed
    mask."""
    averaged: Share = 0.0
    """Share of the steps, up to `score_lr_end`, over which scores are averaged; the mask uses the mean."""
    initial_score: float = 1e-2
    threshold: float = 5e-3
    start: Literal["constant", "proportional"] = "proportional"
    """Initial scores. `constant` (original): all at `initial_score`. `proportional`: the distance from the
    threshold is proportional to the weight's magnitude, with that of `initial_score` as the layer's mean, so that
    the smallest weights are masked first."""

    @model_validator(mode="after")
    def _starts_open(self) -> typing.Self:
        if self.initial_score <= self.threshold:
            raise ValueError(
                "initial_score is not above threshold, so that the mask would not start as all ones; raise it"
            )
        if self.averaged and not self.averaged <= self.score_lr_end < 1:
            raise ValueError(
                "averaged needs averaged ≤ score_lr_end < 1, because scores are averaged while they train and "
                "BatchNorm then adapts to the mask of their mean; lower averaged or score_lr_end"
            )
        return self


class MaskSettings(ScoreSettings):
    """One-bit masks (Mallya et al. 2018)."""

    surrogate: Literal["identity", "clipped", "sigmoid"] = "identity"
    """Surrogate derivative of the step. `identity` (original): 1; `clipped`: 1 near the threshold, 0 elsewhere;
    `sigmoid`: a bump around the threshold. The distance of `initial_score` from the threshold is their width."""
    weight_factor: bool = True
    """True: a score's gradient is multiplied by its weight (original); False: by the weight's sign."""


class AffineMaskSettings(MaskSettings):
    """Masks with three scalars per layer (Mancini et al. 2018)."""

    initial_scalars: tuple[float, float, float] = (0.0, 0.0, 1.0)
    """k₀ of the weight, k₁ of ones, k₂ of the masked weight. With k₂ = 0 the mask has no
    gradient until k₂ moves."""
