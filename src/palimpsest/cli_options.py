"""Options of subcommands of `palimpsest`, and the settings that they select; imports no PyTorch."""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from palimpsest.errors import PalimpsestError, SettingsError, failure_message, unknown_name
from palimpsest.methods import METHODS

if TYPE_CHECKING:
    from palimpsest.settings import Settings

PARAMS = Path("params.yaml")


class UsageError(PalimpsestError):
    """Error in the arguments of the command."""


def choose_model(arguments: argparse.ArgumentParser) -> None:
    """Add the options that select a stored task: `--preset`, `--method`, `--seed` and `--task`."""
    arguments.add_argument("--preset", help="preset of the training (default: the preset of params.yaml)")
    arguments.add_argument(
        "--method",
        default="piggyback",
        help=f"method of the training: {', '.join(METHODS)} (default: %(default)s)",
    )
    arguments.add_argument("--seed", type=int, help="seed of the training (default: the first seed of params.yaml)")
    arguments.add_argument("--task", required=True, help="name of the task in params.yaml, as colorize")


def override_settings(arguments: argparse.ArgumentParser) -> None:
    """Add the option `--config`, which overrides settings."""
    arguments.add_argument(
        "--config",
        metavar="KEY=VALUE",
        nargs="+",
        default=[],
        help="overrides of params.yaml in the notation of snakemake --config, as preset=real",
    )


def require_params(beside: str) -> None:
    """Check that `params.yaml` is in this folder; ``beside`` names what else the right folder contains.

    Raises:
        SettingsError: the file is missing.
    """
    if not PARAMS.exists():
        raise SettingsError(f"{PARAMS}: is missing; run palimpsest in the folder with {PARAMS} and {beside}")


def settings_of(preset: str | None) -> "Settings":
    """Return the settings of a preset from `params.yaml` in this folder.

    None means the preset that the file selects. `data_root` is ignored, because translation needs no data.

    Raises:
        SettingsError: the file is missing or invalid.
        UsageError: the file has no such preset.
    """
    from palimpsest.params import read, resolve  # noqa: PLC0415 (pydantic takes a while)

    require_params(beside="models/")
    content = read(PARAMS)
    if preset is not None:
        check_choice("--preset", preset, content.get("presets") or {})
    content.pop("data_root", None)  # may belong to another preset
    return resolve(content, {} if preset is None else {"preset": preset})


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


def positive(text: str) -> float:
    """Return the number in a text.

    Raises:
        argparse.ArgumentTypeError: the text is no number, or the number is not above 0.
    """
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not number > 0:
        raise argparse.ArgumentTypeError(f"has to be a number above 0, found {text!r}")
    return number


def positive_integer(text: str) -> int:
    """Return the integer in a text.

    Raises:
        argparse.ArgumentTypeError: the text is no integer, or the integer is not above 0.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"has to be an integer above 0, found {text!r}")
    return int(text)


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


def make_folder(path: Path) -> None:
    """Make a folder for results, and its parent folders; an existing folder stays.

    Raises:
        UsageError: the path is a file, or below a file.
        PalimpsestError: the folder cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{path}: is a file, or below a file; name a folder for the results") from None
    except OSError as error:
        raise PalimpsestError(failure_message(path, error, "made a folder", "name another one")) from error
