"""Settings of the method `batchnorm`."""

from palimpsest.schema import Positive, SettingsGroup


class BatchnormSettings(SettingsGroup):
    """BatchNorm and head only (Bilen & Vedaldi 2017)."""

    lr_multiplier: Positive = 1.0
    """Learning-rate multiplier of BatchNorm and head, on top of `training.head_lr_multiplier`."""
