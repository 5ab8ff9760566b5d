"""Settings of the method `batchnorm`."""

from palimpsest.schema import Positive, SettingsGroup


class BatchnormSettings(SettingsGroup):
    """BatchNorm and head alone (Bilen & Vedaldi 2017)."""

    lr_multiplier: Positive = 1.0
    """How many times as fast they learn as they do beside weights (`training.head_lr_multiplier`)."""
