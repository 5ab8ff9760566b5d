"""The settings of single methods; what a preset sets stands under `method_settings` in `params.yaml`.

They stand together and apart from the methods, so that reading settings imports no PyTorch.
"""

import typing
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

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
    """How long Adam remembers the squared gradients of scores. At its usual 0.999 (original) the large gradients
    of the first steps hold back the scores through all of a short training."""
    score_lr_end: PositiveShare = 1.0
    """The scores come to rest after this share of the steps, and BatchNorm and head train on under a mask that
    stands still."""
    averaged: Share = 0.0
    """The mask is made of the scores' mean over this share of the steps, the last before they come to rest."""
    initial_score: float = 1e-2
    threshold: float = 5e-3
    start: Literal["constant", "proportional"] = "proportional"
    """Where scores begin. `constant` (original): all at `initial_score`. `proportional`: that far above the
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
    """What stands in for the step's derivative: 1 (original); 1 near the threshold and 0 beyond; a bump around the
    threshold. Both of the latter are as wide as `initial_score` lies above it."""
    weight_factor: bool = True
    """Whether a score's gradient is scaled by its weight's magnitude (original), or takes its sign alone."""


class AffineMaskSettings(MaskSettings):
    """Masks with three scalars per layer (Mancini et al. 2018)."""

    initial_scalars: tuple[float, float, float] = (0.0, 0.0, 1.0)
    """k₀ of the weight, k₁ of ones, k₂ of the masked weight. With k₂ = 0 the mask has no
    gradient until k₂ moves."""


class FineTuneSettings(SettingsGroup):
    """One network that is trained on and on."""

    batchnorm: Literal["task", "shared"] = "task"
    """Whether each task keeps a BatchNorm of its own, or it moves on with the network. Shared, forgetting looks
    worse, as in most published figures."""


class EwcSettings(FineTuneSettings):
    """Elastic weight consolidation (Kirkpatrick et al. 2017; online: Schwarz et al. 2018)."""

    weight: Annotated[float, Field(ge=0)] = 1.0
    """λ, the stiffness of the springs; each earlier task's Fisher information is 1 in the mean."""
    decay: PositiveShare = 1.0
    """γ, what is left of the earlier tasks' Fisher information when one is added."""
    pictures: Annotated[int, Field(ge=1)] = 64
    """Training pictures from which the Fisher information is estimated."""


class LwfSettings(FineTuneSettings):
    """Learning without forgetting (Li & Hoiem 2016)."""

    weight: Annotated[float, Field(ge=0)] = 10.0
    """λ₀, how much the earlier tasks' answers count, in units of the new task's loss."""
    temperature: Positive = 2.0
    """Of class scores, before they are compared."""


class PackNetSettings(SettingsGroup):
    """Packing tasks into one network (Mallya & Lazebnik 2018)."""

    keep: PositiveShare = 0.4
    """Share of the free weights that a task keeps; the original keeps between a quarter and a half."""
    pruned_after: Share = 0.6
    """Share of the steps after which the task prunes, and trains on with what it keeps."""


class BatchnormSettings(SettingsGroup):
    """BatchNorm and head alone (Bilen & Vedaldi 2017)."""

    lr_multiplier: Positive = 1.0
    """How many times as fast they learn as they do beside weights (`training.head_lr_multiplier`)."""


class AdapterSettings(SettingsGroup):
    """Parallel convolutions (Rebuffi et al. 2018)."""

    rank: Annotated[int, Field(ge=0)] = 0
    """0: 1×1 convolutions; otherwise convolutions of the layer's size and of this rank."""
    lr_multiplier: Positive = 1.0
    """How many times as fast as weights they learn."""


class BitDeltaSettings(SettingsGroup):
    """One bit of change per weight (after Liu et al. 2024)."""

    quantised_after: Share = 0.6
    """Share of the steps of plain fine-tuning; the rest trains through the quantisation."""
    threshold: Annotated[float, Field(ge=0)] = 0.0
    """0: −1 or 1. Otherwise 0 too, where the change is below this multiple of its channel's mean; a zero takes one
    bit, what is not zero two."""


class PiggybackGanSettings(SettingsGroup):
    """Filters made of filters (Zhai et al. 2020)."""

    free: Share = 0.25
    """λ, the share of each layer's filters that is learned freely."""


AnyMethodSettings = (
    AffineMaskSettings
    | MaskSettings
    | ScoreSettings
    | EwcSettings
    | LwfSettings
    | FineTuneSettings
    | PackNetSettings
    | BatchnormSettings
    | AdapterSettings
    | BitDeltaSettings
    | PiggybackGanSettings
)


class MethodSettings(SettingsGroup):
    """Settings of single methods, each under the method's name."""

    model_config = ConfigDict(alias_generator=lambda name: name.replace("_", "-"))

    fine_tune: FineTuneSettings = FineTuneSettings()
    piggyback: MaskSettings = MaskSettings()
    piggyback_ternary: ScoreSettings = ScoreSettings()
    piggyback_affine: AffineMaskSettings = AffineMaskSettings()
    piggyback_gan: PiggybackGanSettings = PiggybackGanSettings()
    piggyback_resblock: MaskSettings = MaskSettings()
    bitdelta: BitDeltaSettings = BitDeltaSettings()
    batchnorm: BatchnormSettings = BatchnormSettings()
    adapter: AdapterSettings = AdapterSettings()
    packnet: PackNetSettings = PackNetSettings()
    ewc: EwcSettings = EwcSettings()
    lwf: LwfSettings = LwfSettings()

    def of(self, method: str) -> AnyMethodSettings | None:
        """The settings of one method; None where it has none."""
        found: AnyMethodSettings | None = getattr(self, method.replace("-", "_"), None)
        return found
