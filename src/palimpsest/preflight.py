"""Checks before any work: files, folders, devices, archives, splits and categories that the settings name.

The Snakefile alone runs them, so that an edit of this module reruns no job. A job that meets such a fault later
ends with an error of its own.
"""

from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from palimpsest import machine
from palimpsest.data.categories import members_of
from palimpsest.data.checks import DatasetChecks
from palimpsest.data.classes import class_mapping
from palimpsest.data.formats import FORMATS
from palimpsest.data.pictures import read_frame
from palimpsest.data.targets import LABELS
from palimpsest.errors import DataError, SettingsError, nearest
from palimpsest.settings import Settings
from palimpsest.tasks import KINDS

OTHER_CARDS = ("/dev/dxg", "/dev/kfd")
"""Devices by which Linux on Windows, and AMD's cards, compute with CUDA's interface."""


def check_settings(settings: Settings) -> None:
    """Check the files, data sets, splits and classes that the tasks of the sequence use.

    Raises:
        SettingsError: one of them is missing or wrong; the message names the full path of the key.
    """
    check_files(settings)
    for name in dict.fromkeys(name for task in settings.sequence for name in settings.tasks[task].datasets):
        check_dataset(settings, name)
    for task in settings.sequence:
        check_splits(settings, task)
        check_classes(settings, task)


def check_files(settings: Settings) -> None:
    """Check that the files that the user provides (`files_of`) exist, and that paintings are readable pictures.

    Raises:
        SettingsError: a file is missing or no picture; the message names the full path of the key.
    """
    for key, path in files_of(settings):
        if not path.is_file():
            raise SettingsError(f"{key}: file {path} does not exist; correct the path")
        if key.endswith(".picture"):
            try:
                read_frame(path)
            except DataError as error:
                raise SettingsError(f"{key}: {error}") from error


def files_of(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Yield full key and path of each file that the user provides, without weights that the pipeline downloads."""
    downloads = settings.layout.weights
    if settings.base.encoder_weights is not None:
        yield "base.encoder_weights", settings.base.encoder_weights
    weights = settings.network.initial_weights
    if weights is not None and weights.parent != downloads:
        yield "network.encoder_weights", weights
    for name in settings.sequence:
        for key, path in settings.tasks[name].users_files().items():
            if path.parent != downloads:
                yield f"tasks.{name}.{key}", path


def checks_of(settings: Settings, name: str) -> DatasetChecks[Any]:
    """Return the checks of a data set: an instance of the class that its format names in the table of formats."""
    dataset = settings.datasets[name]
    checks: DatasetChecks[Any] = resolve_name(FORMATS[dataset.format].checks)(dataset, f"datasets.{name}")
    return checks


def check_dataset(settings: Settings, name: str) -> None:
    """Check the settings of a data set, and that its folder exists.

    A folder whose files are listed in a manifest may be missing: a study can be continued from its prepared arrays.

    Raises:
        SettingsError: a name is unknown or missing, or the folder does not exist; the message names the full path
            of the key.
    """
    checks = checks_of(settings, name)
    checks.check_names()
    root, data_root = settings.datasets[name].root, settings.data_root
    if root is not None and not root.is_dir() and not settings.layout.manifest(name).exists():
        setting = "data_root" if data_root is not None and data_root in root.parents else "it"
        raise SettingsError(f"{checks.key}.root: folder {root} does not exist; correct {setting}")


def check_splits(settings: Settings, name: str) -> None:
    """Check that the data sets of a task have the splits that the task names.

    Formats without a fixed list of splits are checked by the files in the user's folder, until the task is
    prepared.

    Raises:
        SettingsError: the data set has no such split; the message names the full path of the key.
    """
    task = settings.tasks[name]
    labelled = KINDS[task.kind].target is LABELS
    prepared = (settings.layout.prepared(name) / "info.json").exists()
    sources = [(f"splits.{split}", task.data, source) for split, source in task.splits.items()]
    for data, splits in task.additional_pictures.items():
        sources += [(f"additional_pictures.{data}", data, source) for source in splits]
    for key, data, source in sources:
        checks, root = checks_of(settings, data), settings.datasets[data].root
        known = checks.splits(labelled)
        if known is None and not prepared and root is not None and root.is_dir():
            known = checks.splits_in_folder(labelled)
        if known is not None and checks.split_name(source) not in known:
            raise SettingsError(
                f"tasks.{name}.{key}: data set {data!r} has no "
                f"{'annotated ' if labelled else ''}split {source!r}{nearest(source, known)}"
            )


def check_classes(settings: Settings, name: str) -> None:
    """Check the categories in the classes of a task; skip a data set whose settings do not imply its categories.

    Raises:
        SettingsError: a category is unknown or in two classes, or generated pictures never show a class; the
            message names the full path of the key.
    """
    task = settings.tasks[name]
    classes, checks = task.preparation().get("classes"), checks_of(settings, task.data)
    categories, drawn = checks.categories(), checks.drawn()
    if classes is None or categories is None:
        return
    try:
        class_mapping(classes, categories)
    except SettingsError as error:
        raise SettingsError(f"tasks.{name}.{error}") from error
    if drawn is None:
        return
    for label, members in classes.items():
        if not any(drawn.intersection(members_of(member, categories, None)[0]) for member in members):
            raise SettingsError(
                f"tasks.{name}.classes.{label}: generated pictures show none of {', '.join(members)}; "
                f"choose from {', '.join(sorted(drawn))}"
            )


def check_devices(settings: Settings, cards: int | None = None) -> None:
    """Check that this machine has the GPUs that the settings of trainings require.

    ``cards`` is the number of GPUs; None means to count them.

    Raises:
        SettingsError: the machine has fewer; the message names the full path of the key.
    """
    training = settings.training
    cards = machine.gpus() if cards is None else cards
    if training.accelerator == "cuda" and not cards and not any(Path(path).exists() for path in OTHER_CARDS):
        raise SettingsError("training.accelerator: this machine has no GPU for 'cuda'; set it to auto or cpu")
    if training.accelerator != "cpu" and 0 < cards < training.devices:
        raise SettingsError(
            f"training.devices: this machine has {cards} of {training.devices} GPUs; lower it to {cards}"
        )
