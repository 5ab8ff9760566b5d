"""Sources of a data set's pictures: generated, downloaded, or a folder of the user."""

import itertools
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Literal

from palimpsest.data.categories import check_similar_names, notes_for, total
from palimpsest.data.classes import Classes, class_mapping
from palimpsest.data.download import fetch, split_val2017, unpack
from palimpsest.data.formats import FORMATS
from palimpsest.data.generated_settings import GeneratedDatasetSettings
from palimpsest.data.manifest import write_manifest
from palimpsest.data.pictures import DEFAULT_LIMITS, Limits
from palimpsest.data.public_settings import PublicDatasetSettings
from palimpsest.data.reader import DatasetReader
from palimpsest.data.settings import DatasetSettings
from palimpsest.errors import SettingsError
from palimpsest.jobs import PreparationJob
from palimpsest.storage.atomic import replacing, replacing_folder

GENERATOR_SEED = 0  # seed of the pictures; `seeds` of the settings are those of the trainings


def provide(dataset: DatasetSettings, folder: Path, manifest: Path) -> None:
    """Generate or download a data set in ``folder``, and write the checksums of its files to ``manifest``.

    If the data set is a folder of the user, only the manifest is written.

    Raises:
        DataError: a file cannot be downloaded or unpacked, or the data set has no files.
        StorageError: the disk is full or not writable.
    """
    if isinstance(dataset, GeneratedDatasetSettings) and dataset.source == "generated":
        generate = resolve_name(FORMATS[dataset.format].generator or "")
        with replacing_folder(folder) as new:
            generate(new, dataset.generate, dataset.side, GENERATOR_SEED, **dataset.generator_options())
    elif isinstance(dataset, PublicDatasetSettings) and dataset.source == "download":
        download(dataset, folder)
    write_manifest(root_of(dataset, folder), manifest)


def download(dataset: PublicDatasetSettings, folder: Path) -> None:
    """Download the archives of a data set to ``archives`` beside ``folder``, and unpack them into ``folder``.

    If the archives of COCO lack its training pictures (19 GB), val2017 is split by picture id (`split_val2017`).
    """
    archives = archives_beside(folder)
    small = dataset.is_small_coco
    for name in dataset.archives:
        unpack(fetch(name, archives), archives / "coco-val2017" if small else folder)
    if small:
        split_val2017(archives / "coco-val2017", folder)


def archives_beside(folder: Path) -> Path:
    """Return the folder of the downloaded archives of a data set that is unpacked in ``folder``."""
    return folder.parent / "archives"


WEIGHTS = {"squeezenet": "squeezenet1_1-b8a52dc0.pth", "vgg16": "vgg16-397923af.pth"}
"""File of each perceptual network in torchvision's store."""


def provide_weights(network: str, path: Path, data_root: Path | None) -> None:
    """Copy the weights of a perceptual network from ``data_root``/weights to ``path``, or download them.

    ``network`` is a key of `WEIGHTS`. Without ``data_root``, or without such a file there, they are downloaded.

    Raises:
        DataError: the file cannot be read or downloaded.
    """
    source = local_weights(network, data_root) or fetch(WEIGHTS[network], path.parent)
    with replacing(path) as temporary:
        shutil.copyfile(source, temporary)


def local_weights(network: str, data_root: Path | None) -> Path | None:
    """Return the file in ``data_root``/weights with the weights of a perceptual network; None if there is none."""
    stem = WEIGHTS[network].partition("-")[0]
    files = sorted((data_root / "weights").glob(f"{stem}*.pth")) if data_root else []
    return files[0] if files else None


def root_of(dataset: DatasetSettings, folder: Path) -> Path:
    """Return the folder with the files of a data set: the root in its settings, or ``folder`` if it has no root."""
    return dataset.root if dataset.root is not None else folder


def open_dataset(dataset: DatasetSettings, folder: Path, limits: Limits = DEFAULT_LIMITS) -> DatasetReader:
    """Return the reader of a data set, whose files are in its root or, if it has none, in ``folder``.

    ``limits`` apply to files that the reader opens before `read`.
    """
    reader: type[DatasetReader] = resolve_name(FORMATS[dataset.format].reader)
    return reader.of(dataset, root_of(dataset, folder), limits)


def classes_of(task: str, job: PreparationJob, dataset: DatasetReader) -> Classes | None:
    """Return the classes of a task, made of the categories of its data set; None if the task has no classes.

    Raises:
        SettingsError: the data set lacks a category; the message names the full path of the key.
        DataError: categories are ambiguous, or two splits have different ones; the message names the file.
    """
    if job.classes is None:
        return None
    return task_classes(task, job.classes, job.others, job.splits.values(), dataset)


def task_classes(
    task: str,
    classes: Mapping[str, Sequence[str]],
    others: Literal["background", "ignored"] | None,
    splits: Iterable[str],
    dataset: DatasetReader,
) -> Classes:
    """Return the classes of a task, made of the categories of a data set; ``splits`` are those that are read.

    ``others`` is the label of all other categories. ``task`` is the name of a task with settings in `params.yaml`,
    for messages; empty for any other task.

    Raises:
        SettingsError: the data set lacks a category; the message names the full path of the key.
        DataError: categories are ambiguous, or two splits have different ones; the message names the file.
    """
    notes: list[str] = []
    key = f"tasks.{task}." if task else f"{dataset.title}: "
    by_split = dataset.annotated(splits, itertools.chain.from_iterable(classes.values()))
    annotated = total(by_split) if by_split else None
    categories = dataset.categories
    try:
        names, class_of = class_mapping(classes, categories, annotated)
        if annotated is not None:
            notes = notes_for(classes, categories, annotated)
            notes += check_similar_names(classes, class_of, by_split)
    except SettingsError as error:
        raise SettingsError(f"{key}{error}") from error
    other_label = 255 if others == "ignored" else 0
    return Classes(tuple(names), class_of, other_label, tuple(f"{key}{note}" for note in notes))
