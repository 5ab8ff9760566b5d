"""Settings of the method `batchnorm`."""

from palimpsest.methods.settings import MethodSettings
from palimpsest.schema import Positive


class BatchnormSettings(MethodSettings):
    """BatchNorm and head only (Bilen & Vedaldi 2017)."""

    lr_multiplier: Positive = 1.0
    """Factor of the learning rate for BatchNorm and head, in addition to `training.head_lr_multiplier`."""
