"""Options that several subcommands share, and the settings and models that they select; imports no PyTorch."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from palimpsest.cli import outcome
from palimpsest.cli.outcome import UsageError
from palimpsest.errors import DataError, PalimpsestError, SettingsError, failure_message, unknown_name
from palimpsest.methods import METHODS

if TYPE_CHECKING:
    from palimpsest.bundle import Bundle
    from palimpsest.settings import Settings

PARAMS = Path("params.yaml")


def show_traceback(value: bool) -> None:
    """Show tracebacks from now on, if the option `--debug` is given."""
    outcome.debug = outcome.debug or value


def positive(value: float) -> float:
    """Return the value of an option.

    Raises:
        BadParameter: the number is not above 0.
    """
    if not value > 0:
        raise typer.BadParameter(f"has to be a number above 0, found {value:g}")
    return value


def needs_preset(context: typer.Context, parameter: typer.CallbackParam, value: Any) -> Any:
    """Return the value of an option that selects stored tasks of a study.

    Raises:
        UsageError: the option is given without `--preset`; a bundle has its tasks.
    """
    source = context.get_parameter_source(parameter.name or "")
    given = source is not None and source.name == "COMMANDLINE"
    if given and context.params.get("preset") is None:  # parsed before, because it is eager
        raise UsageError(f"--{parameter.name}: is for the tasks of a study; remove it, or add --preset")
    return value


Debug = Annotated[
    bool, typer.Option("--debug", callback=show_traceback, is_eager=True, help="Show the traceback of errors.")
]
Preset = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        is_eager=True,
        help="Use the stored tasks of this preset in this folder instead of a bundle.",
    ),
]
Method = Annotated[
    str,
    typer.Option(metavar="NAME", callback=needs_preset, help=f"Method of the stored tasks: {', '.join(METHODS)}."),
]
Seed = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        callback=needs_preset,
        help="Seed of the stored tasks.",
        show_default="the first seed of params.yaml",
    ),
]
Items = Annotated[
    list[str],
    typer.Argument(
        metavar="PATH",
        help="The bundle, unless --preset is given; then pictures of any size and common format, folders, or "
        "quoted patterns such as 'holiday/*.jpg'.",
    ),
]
OutputFolder = Annotated[
    Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the results, made if it is missing.")
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite results that exist.")]
MaxMegapixels = Annotated[
    float,
    typer.Option(
        metavar="N",
        callback=positive,
        help="Refuse larger pictures; a translation takes about 25 bytes of memory per pixel.",
    ),
]
TaskName = Annotated[str, typer.Option("--task", metavar="NAME", help="Name of the task, as colorize.")]
Config = Annotated[
    list[str] | None,
    typer.Option(
        "--config",
        metavar="KEY=VALUE...",
        help="Overrides of params.yaml in the notation of snakemake --config, as preset=real.",
    ),
]
MoreConfig = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Further overrides.")]
"""Overrides after the first one of `--config`, as Snakemake accepts them."""


def chosen_settings(preset: str, method: str) -> "Settings":
    """Return the settings of a preset from `params.yaml` in this folder.

    `data_root` is ignored, because the stored tasks need no data.

    Raises:
        SettingsError: the file is missing or invalid.
        UsageError: the file has no such preset, or there is no such method.
    """
    from palimpsest.params import read, resolve  # noqa: PLC0415 (pydantic takes a while)

    check_choice("--method", method, METHODS)
    require_params(beside="models/")
    content = read(PARAMS)
    check_preset(preset, content)
    content.pop("data_root", None)  # may belong to another preset
    return resolve(content, {"preset": preset})


def check_preset(preset: str, content: Mapping[str, Any]) -> None:
    """Check that ``content``, that of `params.yaml`, has a preset.

    Raises:
        UsageError: it has no such preset.
    """
    check_choice("--preset", preset, content.get("presets") or {})


def open_model(
    path: str | None, preset: str | None, method: str, seed: int | None, task: str | None = None
) -> "Bundle":
    """Return the bundle in a file, or that of a study's stored tasks; ``task`` suffices if it is given.

    Raises:
        UsageError: neither a file nor a preset is given, or both are, or a name is unknown.
        StorageError: a file is missing or damaged.
    """
    if preset is None:
        if path is None:
            raise UsageError("name a bundle, or a study with --preset")
        from palimpsest.bundle import open_bundle  # noqa: PLC0415 (PyTorch takes seconds)

        opened = open_bundle(path)
        if task is not None:
            check_choice("--task", task, opened.tasks)
        return opened
    if path is not None:
        raise UsageError(f"name either the bundle {path} or a study with --preset, not both")
    settings = chosen_settings(preset, method)
    if task is not None:
        check_choice("--task", task, settings.sequence)
    from palimpsest.bundling import bundle_study  # noqa: PLC0415

    return bundle_study(settings, settings.seeds[0] if seed is None else seed, method, [task] if task else ())


def split_file(items: Sequence[str], preset: str | None) -> tuple[str | None, list[str]]:
    """Return the bundle and the pictures among the arguments: without a preset, the first is the bundle."""
    return (items[0], list(items[1:])) if preset is None else (None, list(items))


def require_params(beside: str) -> None:
    """Check that `params.yaml` is in this folder; ``beside`` names what else the right folder contains.

    Raises:
        SettingsError: the file is missing.
    """
    if not PARAMS.exists():
        raise SettingsError(f"{PARAMS}: is missing; run palimpsest in the folder with {PARAMS} and {beside}")


def overridden_settings(config: Sequence[str]) -> "Settings":
    """Return the settings of `params.yaml` in this folder with the overrides of the option `--config`.

    Raises:
        SettingsError: the file is missing or invalid, or an override is invalid.
        UsageError: an override is not of the form `KEY=VALUE`.
    """
    from palimpsest.params import read, resolve  # noqa: PLC0415 (pydantic takes a while)

    require_params(beside="Snakefile")
    overrides = dict(parse_override(text) for text in config)
    return resolve(read(PARAMS), overrides)


def check_choice(option: str, name: str, names: Iterable[str]) -> None:
    """Check that the value of an option is one of the names that it accepts.

    Raises:
        UsageError: ``name`` is not among ``names``; the message proposes the nearest one.
    """
    choices = list(names)
    if name not in choices:
        raise UsageError(f"{option}: {unknown_name(name, choices, 'value')}")


def parse_override(text: str) -> tuple[str, Any]:
    """Return key and value of an override `KEY=VALUE`; the value is parsed as YAML, as by Snakemake.

    Raises:
        UsageError: the text has another form.
    """
    import yaml  # noqa: PLC0415

    key, equals, value = text.partition("=")
    try:
        return key, yaml.safe_load(value) if key.isidentifier() and equals else refuse_override(text)
    except yaml.YAMLError:
        refuse_override(text)


def refuse_override(text: str) -> NoReturn:
    """Raise a `UsageError` for a text that is not of the form `KEY=VALUE`."""
    raise UsageError(f"--config: {text!r} is not a setting; write KEY=VALUE, as preset=real")


def check_output(option: str, path: Path, suffix: str, *, force: bool) -> None:
    """Check that a file may be written: its path has this suffix, and it does not exist or may be overwritten.

    Raises:
        UsageError: the path has another suffix.
        DataError: the file exists, and ``force`` is False.
    """
    if suffix and path.suffix != suffix:
        raise UsageError(f"{option}: {path} does not end with {suffix}; add the suffix")
    if path.exists() and not force:
        raise DataError(f"{path}: exists; name another file, or overwrite it with --force")


def make_folder(path: Path) -> None:
    """Make a folder for results, and its parent folders; an existing folder stays.

    Raises:
        UsageError: the path is a file, below a file, or no folder yet and named as a picture.
        PalimpsestError: the folder cannot be made.
    """
    from palimpsest.data.pictures import SUFFIXES  # noqa: PLC0415 (NumPy and Pillow)

    if path.suffix.lower() in SUFFIXES and not os.path.lexists(path):
        raise UsageError(f"--output: {path} is named as a picture, but results go to a folder; name a folder")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{path}: is a file, or below a file; name a folder for the results") from None
    except OSError as error:
        raise PalimpsestError(failure_message(path, error, "made a folder", "name another one")) from error
