"""Base class of the settings of a method; each method with settings has a subclass in a module ``…_settings``."""

from palimpsest.schema import SettingsGroup


class MethodSettings(SettingsGroup):
    """Settings of one method, the same for all tasks; every field has a default."""
