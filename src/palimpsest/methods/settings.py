"""Settings of all methods, each group under its method's name, made from the table of methods."""

from functools import cache
from pkgutil import resolve_name
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SerializeAsAny, create_model

from palimpsest.methods import METHODS, entry_of
from palimpsest.schema import SettingsGroup


def settings_class(method: str) -> type[SettingsGroup] | None:
    """Return the class of a method's settings; None for a method without settings."""
    path = entry_of(method).settings
    found: type[SettingsGroup] | None = resolve_name(path) if path else None
    return found


class MethodSettings(SettingsGroup):
    """Settings of single methods; a field for each method that has settings, under the method's name."""

    def of(self, method: str) -> SettingsGroup | None:
        """Return the settings of one method; None for a method without settings."""
        found: SettingsGroup | None = getattr(self, field_of(method), None)
        return found


def field_of(method: str) -> str:
    """Return the name of a method's field, a Python name."""
    return method.replace("-", "_")


@cache
def _settings_of_all_methods() -> type[MethodSettings]:
    classes = {method: settings_class(method) for method in METHODS}
    fields: dict[str, Any] = {
        field_of(method): (found, Field(default=found(), alias=method))
        for method, found in classes.items()
        if found
    }
    return create_model("MethodSettings", __base__=MethodSettings, __module__=__name__, **fields)


def default_method_settings() -> MethodSettings:
    """Return the settings of all methods in the table, each at its default."""
    return _settings_of_all_methods()()


def _checked(value: object) -> object:
    return value if isinstance(value, MethodSettings) else _settings_of_all_methods().model_validate(value)


AnyMethodSettings = Annotated[SerializeAsAny[MethodSettings], BeforeValidator(_checked)]
"""Type of a field that holds the settings of all methods."""
