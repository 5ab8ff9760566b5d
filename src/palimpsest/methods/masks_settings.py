"""Settings of the masks."""

import typing
from typing import Annotated, Literal

from pydantic import Field, model_validator

from palimpsest.schema import Positive, PositiveShare, SettingsGroup, Share


class ScoreSettings(SettingsGroup):
    """Masks that are learned by scores (Mallya et al. 2018). Defaults that differ from the original code say what
    it has."""

    score_learning_rate: Positive = 3e-3
    """Original: 1e-4."""
    score_beta1: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Adam's momentum of scores. At its usual 0.9 (original) scores run on past the threshold, and bits that were
    right are lost."""
    score_beta2: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """Adam's decay of the squared gradients of scores. At its usual 0.999 (original) the large gradients
    of the first steps hold back the scores through all of a short training."""
    score_lr_end: PositiveShare = 1.0
    """The scores come to rest after this share of the steps, and BatchNorm and head train on under a mask that
    stands still."""
    averaged: Share = 0.0
    """The mask is made of the scores' mean over this share of the steps, the last before they come to rest."""
    initial_score: float = 1e-2
    threshold: float = 5e-3
    start: Literal["constant", "proportional"] = "proportional"
    """Initial scores. `constant` (original): all at `initial_score`. `proportional`: that far above the
    threshold on average, each in proportion to its weight's magnitude within the layer, so that what hardly
    matters is the first to go."""

    @model_validator(mode="after")
    def _starts_open(self) -> typing.Self:
        if self.initial_score <= self.threshold:
            raise ValueError("initial_score must lie above threshold: the mask has to start as all ones")
        if self.averaged and not self.averaged <= self.score_lr_end < 1:
            raise ValueError(
                "averaged has to be at most score_lr_end, and score_lr_end below 1: scores are averaged while they "
                "train, and BatchNorm has to get used to the mask that is made of their mean"
            )
        return self


class MaskSettings(ScoreSettings):
    """One-bit masks (Mallya et al. 2018)."""

    surrogate: Literal["identity", "clipped", "sigmoid"] = "identity"
    """Surrogate for the derivative of the step: 1 (original); 1 near the threshold and 0 beyond; a bump around the
    threshold. Both of the latter are as wide as `initial_score` lies above it."""
    weight_factor: bool = True
    """True: a score's gradient is multiplied by its weight (original); False: by the weight's sign."""


class AffineMaskSettings(MaskSettings):
    """Masks with three scalars per layer (Mancini et al. 2018)."""

    initial_scalars: tuple[float, float, float] = (0.0, 0.0, 1.0)
    """k₀ of the weight, k₁ of ones, k₂ of the masked weight. With k₂ = 0 the mask has no
    gradient until k₂ moves."""
