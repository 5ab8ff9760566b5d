"""Settings of all methods, one group per method, created from the table of methods."""

from functools import cache
from pkgutil import resolve_name
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SerializeAsAny, create_model

from palimpsest.methods import METHODS, entry_of
from palimpsest.schema import SettingsGroup


def settings_class(method: str) -> type[SettingsGroup] | None:
    """Return the class of a method's settings; None for a method without settings."""
    path = entry_of(method).settings
    settings: type[SettingsGroup] | None = resolve_name(path) if path else None
    return settings


class MethodSettings(SettingsGroup):
    """Settings of all methods, one field per method that has settings."""

    def of(self, method: str) -> SettingsGroup | None:
        """Return the settings of one method; None for a method without settings."""
        settings: SettingsGroup | None = getattr(self, field_of(method), None)
        return settings


def field_of(method: str) -> str:
    """Return the name of a method's field, which is a Python identifier."""
    return method.replace("-", "_")


@cache
def _method_settings_class() -> type[MethodSettings]:
    classes = {method: settings_class(method) for method in METHODS}
    fields: dict[str, Any] = {
        field_of(method): (settings, Field(default=settings(), alias=method))
        for method, settings in classes.items()
        if settings
    }
    return create_model("MethodSettings", __base__=MethodSettings, __module__=__name__, **fields)


def default_method_settings() -> MethodSettings:
    """Return the settings of all methods in the table, each at its default."""
    return _method_settings_class()()


def _checked(value: object) -> object:
    return value if isinstance(value, MethodSettings) else _method_settings_class().model_validate(value)


AnyMethodSettings = Annotated[SerializeAsAny[MethodSettings], BeforeValidator(_checked)]
"""Type of a field that holds the settings of all methods."""
