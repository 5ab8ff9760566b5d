"""Settings of the method `packnet`."""

from palimpsest.schema import PositiveShare, SettingsGroup, Share


class PackNetSettings(SettingsGroup):
    """Packing tasks into one network (Mallya & Lazebnik 2018)."""

    keep: PositiveShare = 0.4
    """Share of the free weights that a task keeps; the original keeps between a quarter and a half."""
    pruned_after: Share = 0.6
    """Share of the steps after which the task prunes, and trains on with what it keeps."""
