"""Settings of the method `piggyback-gan`."""

from palimpsest.methods.settings import MethodSettings
from palimpsest.schema import Share


class PiggybackGanSettings(MethodSettings):
    """Filters as combinations of earlier filters (Zhai et al. 2020)."""

    free: Share = 0.25
    """λ, the fraction of new filters in each layer; the other filters combine earlier ones."""
