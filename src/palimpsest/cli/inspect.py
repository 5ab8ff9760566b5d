"""`palimpsest inspect`: content and origin of files."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from palimpsest.cli.options import Debug, Method, Preset, Seed, open_model
from palimpsest.cli.outcome import DONE, FAILED, UsageError, json_text, message_of, report
from palimpsest.errors import PalimpsestError


def inspect(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE...", help="Bundles, or files below models/ or results/; none with --preset."),
    ] = None,
    preset: Preset = None,
    method: Method = "piggyback",
    seed: Seed = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a list in JSON instead of YAML documents.")
    ] = False,
    debug: Debug = False,
) -> int:
    """Print content and origin of files.

    For a bundle, and for the stored tasks of a preset: network, parts, and each task with its quality and origin.
    For a stored task: its components, the base network it needs, all settings of the training, the commit, the data
    and the MLflow run. For results: the settings, commit and data of the measurement, and the above for every
    training measured; run this in the folder with params.yaml and models/. A damaged file is an error.

    \b
    example:
      palimpsest inspect tasks.safetensors
    """
    import yaml  # noqa: PLC0415

    if bool(files) == (preset is not None):
        raise UsageError("name either files or a study with --preset")
    descriptions: list[Callable[[], dict[str, Any]]] = [partial(origin_of, file) for file in files or []]
    if preset is not None:
        descriptions = [partial(origin_of_study, preset, method, seed)]
    failed, origins = 0, []
    for describe in descriptions:
        try:
            origins.append(describe())
        except UsageError:
            raise
        except PalimpsestError as error:
            failed += 1
            report(message_of(error))
        else:
            if not as_json:
                print(yaml.safe_dump(origins[-1], sort_keys=False, allow_unicode=True, explicit_start=True), end="")
    if as_json:
        print(json_text(origins))
    return FAILED if failed else DONE


def origin_of(path: Path) -> dict[str, Any]:
    """Return the properties of a bundle, or of a file of a study, by name.

    Raises:
        StorageError: the file is missing, damaged, or of neither kind.
    """
    from palimpsest.storage.bundle_file import is_bundle, load_bundle  # noqa: PLC0415 (PyTorch takes seconds)
    from palimpsest.storage.description import describe_bundle  # noqa: PLC0415

    if path.suffix == ".safetensors" and path.exists() and is_bundle(path):
        return {"file": str(path), **describe_bundle(load_bundle(path), path.stat().st_size)}
    from palimpsest.inspection import inspect as inspect_study  # noqa: PLC0415 (MLflow takes seconds)

    return inspect_study(path)


def origin_of_study(preset: str, method: str, seed: int | None) -> dict[str, Any]:
    """Return the properties of the bundle of a study's stored tasks by name; its size is that of the tensors.

    Raises:
        UsageError: the preset or the method is unknown.
        StorageError: a stored task is missing or damaged.
    """
    file = open_model(None, preset, method, seed).file
    from palimpsest.storage.description import describe_bundle  # noqa: PLC0415 (PyTorch takes seconds)

    size = sum(part.bytes for part in file.header.parts.values())
    return {"preset": preset, "method": method, **describe_bundle(file, size)}
