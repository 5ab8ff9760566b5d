"""Settings of the method `piggyback-gan`."""

from palimpsest.schema import SettingsGroup, Share


class PiggybackGanSettings(SettingsGroup):
    """Filters made of filters (Zhai et al. 2020)."""

    free: Share = 0.25
    """λ, the share of each layer's filters that is learned freely."""
