"""Settings from `params.yaml` and the command line, merged and checked; errors name the key and the correction."""

import copy
import re
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from palimpsest.errors import SettingsError, nearest, unknown_name
from palimpsest.methods import settings_class
from palimpsest.methods.settings import MethodSettings
from palimpsest.schema import as_path
from palimpsest.settings import Settings

TOP = ("preset", "data_root", "seeds", "defaults", "presets", "sweeps", "ablations")
"""Keys at the top of `params.yaml`. The stages of DVC list them as parameters, except `sweeps` and `ablations`: no
output of a stage depends on these (`palimpsest.variants`)."""

RENAMED = {
    "task_pace": "head_lr_multiplier",
    "pace": "lr_multiplier",
    "score_share": "score_lr_end",
    "network.resblock_width": "networks.resblock.width",
}
"""New names of settings by their old names: the key in any group, or the full path of one key."""


RELATIVE_KEY = re.compile(r"[a-z][\w.-]*: ")
"""Beginning of a validator's message that names a key within its group."""


class DuplicateKeyError(yaml.MarkedYAMLError):
    """Error of a key that occurs twice in one mapping."""


class UniqueKeyLoader(yaml.SafeLoader):
    """YAML loader that refuses duplicate keys. PyYAML's own loaders keep the last value without a warning."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Construct a value as the safe loader does; add the line to errors of values such as 2024-13-01."""
        try:
            return super().construct_object(node, deep)
        except (yaml.YAMLError, RecursionError):
            raise
        except Exception as error:  # constructors of Python types raise various errors
            raise yaml.MarkedYAMLError(problem=str(error), problem_mark=node.start_mark) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping as the safe loader does.

        Raises:
            DuplicateKeyError: a key occurs twice.
        """
        names = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            name = repr(key.value)
            if name in names:
                raise DuplicateKeyError(problem=f"duplicate key {name}; remove one", problem_mark=key.start_mark)
            names.add(name)
        return super().construct_mapping(node, deep)


def read(path: Path) -> dict[str, Any]:
    """Return the content of a YAML file of settings; only `resolve` checks keys and values.

    Raises:
        SettingsError: the file is missing, is not YAML, or is no mapping.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), UniqueKeyLoader)
    except OSError as error:
        raise SettingsError(
            f"{path}: cannot be read ({error.strerror}); correct the path or its permissions"
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is not UTF-8 text ({error}); save it as UTF-8") from error
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", error)
        if isinstance(error, DuplicateKeyError):
            raise SettingsError(f"{path}{line}: {problem}") from error
        raise SettingsError(f"{path}{line}: is not valid YAML ({problem}); correct the file") from error
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: has to be a mapping of settings; write lines such as `preset: mini`")
    return content


def resolve(content: Mapping[str, Any], overrides: Mapping[str, Any] | None = None) -> Settings:
    """Return checked settings: `defaults` of ``content``, overridden by the preset, overridden by ``overrides``.

    ``content`` is that of `params.yaml`; ``overrides`` has the form of its top level and comes from the command
    line.

    Raises:
        SettingsError: a key is unknown or a value is invalid; the message names the full path of the key.
    """
    for key in content:
        if key in Settings.model_fields and key not in TOP:
            raise SettingsError(f"{key}: misplaced at the top of params.yaml; move it below defaults or a preset")
        if key not in TOP:
            raise SettingsError(f"{key}: unknown setting{nearest(str(key), TOP)}")
    layers = {key: content.get(key) or {} for key in ("defaults", "presets")}
    top = merge_settings({key: content[key] for key in content if key not in layers}, overrides or {})
    for group in ("sweeps", "ablations"):
        top.pop(group, None)
    if "variant" in top:
        raise SettingsError("variant: unknown setting; list variants under sweeps or ablations")
    preset = top.get("preset")
    if not isinstance(preset, str) or preset not in check_mapping(layers["presets"], "presets"):
        raise SettingsError(f"preset: {unknown_name(preset, layers['presets'], 'value')}")
    preset_values = check_mapping(layers["presets"][preset] or {}, f"presets.{preset}")
    values = merge_settings(merge_settings(check_mapping(layers["defaults"], "defaults"), preset_values), top)
    values = copy.deepcopy(values)  # `use_data_root` changes it in place
    use_data_root(values)
    try:
        return with_weights(Settings.model_validate(values))
    except ValidationError as error:
        raise SettingsError("; ".join(line_of(problem) for problem in error.errors())) from error


def check_mapping(value: Any, path: str) -> Mapping[str, Any]:
    """Return ``value`` if it is a mapping; ``path`` is its key, for the message.

    Raises:
        SettingsError: the value is not a mapping.
    """
    if not isinstance(value, Mapping):
        raise SettingsError(f"{path}: has to be a mapping of settings, found {value!r}; write {{name: …}}")
    return value


def groups_below(values: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the mappings among the values of ``values[key]``; empty if that is missing or no mapping.

    All other values are skipped; validation refuses them later.
    """
    children = values.get(key)
    return [group for group in children.values() if isinstance(group, dict)] if isinstance(children, dict) else []


def with_weights(settings: Settings) -> Settings:
    """Return the settings with the path of downloaded weights in the network and every task that names no file."""
    path_of = settings.layout.perceptual_weights
    tasks = {name: task.with_weights(path_of) for name, task in settings.tasks.items()}
    network = settings.network.with_weights(settings.layout.encoder_weights)
    return settings.model_copy(update={"tasks": tasks, "network": network})


def use_data_root(values: dict[str, Any]) -> None:
    """Replace, in place, each download by a folder below ``data_root``; without ``data_root`` change nothing.

    Raises:
        SettingsError: ``data_root`` is set, and the preset downloads no data set.
    """
    try:
        root = as_path(values.get("data_root"))
    except ValueError:
        return  # validation refuses it
    if not isinstance(root, str | Path):
        return  # not set, or refused by validation
    replaced = [dataset for dataset in groups_below(values, "datasets") if dataset.get("source") == "download"]
    if not replaced:
        raise SettingsError(
            f"data_root: preset {values.get('preset')!r} generates its pictures; use preset=real or preset=paper"
        )
    for dataset in replaced:
        dataset.update(source="directory", root=str(Path(root) / str(dataset.get("format"))))


def merge_settings(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return two nested mappings merged into a new one; values of ``overrides`` take precedence."""
    merged = dict(base)
    for key, value in overrides.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge_settings(merged[key], value) if nested else value
    return {key: dict(value) if isinstance(value, Mapping) else value for key, value in merged.items()}


def line_of(problem: Any) -> str:
    """Return the line for an entry of pydantic's `ValidationError.errors()`: full key, fault and correction."""
    location = [str(part) for part in problem["loc"]]
    path = ".".join(location)
    if problem["type"] == "extra_forbidden" and (new := RENAMED.get(path) or RENAMED.get(location[-1])):
        return f"{path}: was renamed; write {new} in its place"
    if problem["type"] == "extra_forbidden":
        names = set(names_at(problem["loc"][:-1])) - {location[-1]}  # the key may belong to another network or kind
        return f"{path}: unknown setting{nearest(location[-1], sorted(names))}"
    message = expected_form(problem, path) or problem["msg"].removeprefix("Value error, ")
    if not path:
        return message  # a validator of all settings, which names the full key
    separator = "." if RELATIVE_KEY.match(message) else ": "
    return f"{path}{separator}{message}"


def expected_form(problem: Any, path: str) -> str | None:
    """Return the message for a value of the wrong type, with the notation to use; None for other errors.

    ``problem`` is an entry of pydantic's `ValidationError.errors()`, ``path`` its key.
    """
    kind, value = problem["type"], problem["input"]
    actual = "nothing" if value is None else repr(value)
    if kind in ("list_type", "tuple_type"):
        parts = re.split(r"[,;\s]+", value.strip()) if isinstance(value, str) else [value]
        written = "[{}]".format(", ".join("…" if part is None else str(part) for part in parts))
        advice = "" if "." in path else f" in params.yaml, or --config '{path}={written.replace(' ', '')}'"
        return f"has to be a list, found {actual}; write {written}{advice}"
    if kind in ("dict_type", "model_type", "model_attributes_type"):
        names = names_at(problem["loc"])[:3] if kind != "dict_type" else ["name"]
        return (
            f"has to be a group of settings, found {actual}; write {{{', '.join(f'{name}: …' for name in names)}}}"
        )
    if kind == "string_type":
        return f"has to be text, found {actual}; put it into quotes, as '{str(value).lower()}'"
    if kind == "path_type":
        return f"has to be a path, found {actual}; write one name"
    return None


def names_at(location: tuple[Any, ...]) -> list[str]:
    """Return the sorted names of the settings that a group allows; ``location`` lists the keys that lead to it."""
    models: list[type[BaseModel]] = [Settings]
    if location[:1] == ("method_settings",) and len(location) > 1:  # else each key could be of any method
        models, location = [settings_class(str(location[1])) or MethodSettings], location[2:]
    for part in location:
        children = [
            m
            for model in models
            if (field := field_at(model, part)) is not None
            for m in models_in(field.annotation)
        ]
        models = children or models  # the key of a mapping, as the name of a task, has no model of its own
    return sorted({field.alias or name for model in models for name, field in model.model_fields.items()})


def dotted(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings under dotted keys: `{"base": {"steps": 3}}` → `{"base.steps": 3}`."""
    leaves: dict[str, Any] = {}
    for key, value in values.items():
        leaves |= dotted(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return leaves


def field_at(model: type[BaseModel], name: object) -> FieldInfo | None:
    """Return the field of a model with this name or alias; None if the model has no such field."""
    return next((f for key, f in model.model_fields.items() if name in (key, f.alias)), None)


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models in a type, with all subclasses: a class, a part of a union, the values of a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        children = annotation.__subclasses__()  # as the settings of kinds of tasks
        return [annotation, *(model for child in children for model in models_in(child))]
    return [model for part in typing.get_args(annotation) for model in models_in(part)]
