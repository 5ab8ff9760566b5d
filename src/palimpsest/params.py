"""`params.yaml` and the command line's values as checked settings, or one line that names the key and the cure."""

import copy
import re
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from palimpsest.errors import SettingsError, nearest
from palimpsest.schema import as_path
from palimpsest.settings import Settings

TOP = ("preset", "data_root", "seeds", "defaults", "presets", "sweeps")
"""Keys at the top of `params.yaml`. DVC's stages name these, since DVC tracks nothing that they do not name;
all but `sweeps`, on which nothing of the study depends (`palimpsest.sweeps`)."""


RENAMED = {
    "task_pace": "head_lr_multiplier",
    "pace": "lr_multiplier",
    "score_share": "score_lr_end",
    "network.resblock_width": "networks.resblock.width",
}
"""New names of settings by their old ones: a key of any group, or the full path of one."""


class UniqueKeys(yaml.SafeLoader):
    """YAML in which a key that stands twice is a mistake, not a silent second value."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """As the safe loader, but say where a value stands that its form does not fit, as the date 2024-13-01."""
        try:
            return super().construct_object(node, deep)
        except (yaml.YAMLError, RecursionError):
            raise
        except Exception as error:  # whatever Python's own types raise
            raise yaml.MarkedYAMLError(problem=str(error), problem_mark=node.start_mark) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As the safe loader, but refuse a key that stands twice."""
        seen = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            name = repr(key.value)
            if name in seen:
                raise yaml.MarkedYAMLError(problem=f"{name} stands twice", problem_mark=key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


def read(path: Path) -> dict[str, Any]:
    """Return the plain content of a YAML file of settings.

    Raises:
        SettingsError: the file is missing or is not YAML.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), UniqueKeys)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is not UTF-8 text ({error})") from error
    except (yaml.YAMLError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise SettingsError(f"{path}{line}: is not valid YAML ({getattr(error, 'problem', error)})") from error
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: has to be a mapping of settings")
    return content


def resolve(content: Mapping[str, Any], overrides: Mapping[str, Any] | None = None) -> Settings:
    """Defaults, the chosen preset over them, and the command line's values over both, checked.

    Raises:
        SettingsError: a key is unknown or a value impossible; names the key's full path.
    """
    for key in content:
        if key in Settings.model_fields and key not in TOP:
            raise SettingsError(f"{key}: belongs below defaults or a preset, not at the top of params.yaml")
        if key not in TOP:
            raise SettingsError(f"{key}: unknown setting{nearest(str(key), TOP)}")
    layers = {key: content.get(key) or {} for key in ("defaults", "presets")}
    top = laid_over({key: content[key] for key in content if key not in layers}, overrides or {})
    top.pop("sweeps", None)
    if "variant" in top:
        raise SettingsError("variant: unknown setting; a variant of a sweep is tried by `snakemake sweep`")
    preset = top.get("preset")
    if not isinstance(preset, str) or preset not in mapping(layers["presets"], "presets"):
        raise SettingsError(f"preset: there is no {preset!r}{nearest(str(preset), layers['presets'])}")
    chosen = mapping(layers["presets"][preset] or {}, f"presets.{preset}")
    values = laid_over(laid_over(mapping(layers["defaults"], "defaults"), chosen), top)
    values = copy.deepcopy(values)  # what follows writes into it
    read_from_data_root(values)
    try:
        return with_weights(Settings.model_validate(values))
    except ValidationError as error:
        raise SettingsError("; ".join(explain(problem) for problem in error.errors())) from error


def mapping(value: Any, path: str) -> Mapping[str, Any]:
    """Return the value, which has to be a mapping of settings."""
    if not isinstance(value, Mapping):
        raise SettingsError(f"{path}: has to be a mapping of settings, found {value!r}")
    return value


def groups(values: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the groups of settings below a key; values that are no groups are refused in validation."""
    below = values.get(key)
    return [group for group in below.values() if isinstance(group, dict)] if isinstance(below, dict) else []


def with_weights(settings: Settings) -> Settings:
    """Return the settings with the fetched weights file in every task that needs one and names none."""
    path_of = settings.layout.perceptual_weights
    tasks = {name: task.with_weights(path_of) for name, task in settings.tasks.items()}
    return settings.model_copy(update={"tasks": tasks})


def read_from_data_root(values: dict[str, Any]) -> None:
    """Turn data sets that would be downloaded into folders below ``data_root``, where one is given."""
    try:
        root = as_path(values.get("data_root"))
    except ValueError:
        return  # refused when it is checked
    if not isinstance(root, str | Path):
        return  # none, or refused too
    replaced = [dataset for dataset in groups(values, "datasets") if dataset.get("source") == "download"]
    if not replaced:
        raise SettingsError(
            f"data_root: preset {values.get('preset')!r} makes its own pictures; use preset=real or preset=paper"
        )
    for dataset in replaced:
        dataset.update(source="directory", root=str(Path(root) / str(dataset.get("format"))))


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two nested mappings as one, in which the values of the second win."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = laid_over(merged[key], value) if both else value
    return {key: dict(value) if isinstance(value, Mapping) else value for key, value in merged.items()}


def explain(problem: Any) -> str:
    """One line for one problem that pydantic found: the key's full path and what is wrong with it."""
    location = [str(part) for part in problem["loc"]]
    path = ".".join(location)
    if problem["type"] == "extra_forbidden" and (new := RENAMED.get(path) or RENAMED.get(location[-1])):
        return f"{path}: was renamed; write {new} in its place"
    if problem["type"] == "extra_forbidden":
        others = set(names_at(problem["loc"][:-1])) - {location[-1]}  # which another network or kind may have
        return f"{path}: unknown setting{nearest(location[-1], sorted(others))}"
    message = form_of(problem, path) or problem["msg"].removeprefix("Value error, ")
    return f"{path}: {message}" if path else message


def form_of(problem: Any, path: str) -> str | None:
    """Return which form a value needs and how it is written, where a value of another form was found."""
    kind, value = problem["type"], problem["input"]
    found = "nothing" if value is None else repr(value)
    if kind in ("list_type", "tuple_type"):
        parts = re.split(r"[,;\s]+", value.strip()) if isinstance(value, str) else [value]
        written = "[{}]".format(", ".join("…" if part is None else str(part) for part in parts))
        there = "" if "." in path else f" in params.yaml, or --config '{path}={written.replace(' ', '')}'"
        return f"has to be a list, found {found}; write {written}{there}"
    if kind in ("dict_type", "model_type", "model_attributes_type"):
        names = names_at(problem["loc"])[:3] if kind != "dict_type" else ["name"]
        return (
            f"has to be a group of settings, found {found}; write {{{', '.join(f'{name}: …' for name in names)}}}"
        )
    if kind == "string_type":
        return f"has to be text, found {found}; put it into quotes, as '{str(value).lower()}'"
    if kind == "path_type":
        return f"has to be a path, found {found}; write one name"
    return None


def names_at(location: tuple[Any, ...]) -> list[str]:
    """Return the names of settings that may stand at a place."""
    models: list[type[BaseModel]] = [Settings]
    for part in location:
        inside = [
            m
            for model in models
            if (field := field_at(model, part)) is not None
            for m in models_in(field.annotation)
        ]
        models = inside or models  # the key of a mapping, as a task's name, leads to no other model
    return sorted({field.alias or name for model in models for name, field in model.model_fields.items()})


def field_at(model: type[BaseModel], name: object) -> FieldInfo | None:
    """Return the field that a settings file calls ``name``; None without such a field."""
    return next((f for key, f in model.model_fields.items() if name in (key, f.alias)), None)


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models among an annotation's alternatives and values."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation, *annotation.__subclasses__()]  # such as those of a kind of task
    return [found for part in typing.get_args(annotation) for found in models_in(part)]
