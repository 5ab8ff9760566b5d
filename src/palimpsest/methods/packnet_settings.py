"""Settings of the method `packnet`."""

from typing import Annotated

from pydantic import Field

from palimpsest.methods.settings import MethodSettings
from palimpsest.schema import Share


class PackNetSettings(MethodSettings):
    """Packing tasks into one network (Mallya & Lazebnik 2018)."""

    keep: Annotated[float, Field(gt=0, lt=1)] = 0.4
    """Fraction of the free weights that a task keeps (original: between a quarter and a half). At 1 no weights
    would remain for later tasks."""
    pruned_after: Share = 0.6
    """Fraction of the steps after which the task frees the other weights and trains only those that it keeps."""
