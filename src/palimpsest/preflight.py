"""Checks before any work: files, folders, devices, archives, splits and categories that the settings name.

The Snakefile alone runs them, so that an edit of this module reruns no job. A job that meets such a fault later
ends with an error of its own.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from palimpsest import machine
from palimpsest.data.categories import members_of
from palimpsest.data.classes import class_mapping
from palimpsest.data.coco import INDEX, SUPERCATEGORIES
from palimpsest.data.generated import COCO_FIRST_ID, VOC_YEAR
from palimpsest.data.pair_folders import SPLIT_OF
from palimpsest.data.pictures import read_frame
from palimpsest.data.public_settings import PublicDatasetSettings
from palimpsest.data.scenes import coco as coco_scenes
from palimpsest.data.scenes import voc as voc_scenes
from palimpsest.data.settings import DatasetSettings
from palimpsest.data.targets import LABELS
from palimpsest.data.voc import GROUPS, lists_of
from palimpsest.errors import DataError, SettingsError, nearest
from palimpsest.settings import Settings
from palimpsest.tasks import KINDS

TO_GENERATE = {"coco": COCO_FIRST_ID, "voc": VOC_YEAR}
"""Splits that can be generated, by format."""
SMALL_COCO = ("val2017.zip", "annotations_trainval2017.zip")
"""Archives of COCO that are split by picture id where train2017.zip is not among them."""
ARCHIVES = {
    "coco": ("train2017.zip", "unlabeled2017.zip", *SMALL_COCO),
    "voc": ("VOCtrainval_11-May-2012.tar", "benchmark.tgz"),
}
"""Archives that can be fetched, by format; `palimpsest.data.download` has their addresses."""
OTHER_CARDS = ("/dev/dxg", "/dev/kfd")
"""Devices by which Linux on Windows, and AMD's cards, compute with CUDA's interface."""


def check(settings: Settings) -> None:
    """Check files, data sets, splits and classes of the tasks of the sequence.

    Raises:
        SettingsError: the first fault; names the key's full path.
    """
    check_files(settings)
    for name in dict.fromkeys(settings.tasks[task].data for task in settings.sequence):
        check_dataset(settings, name)
    for task in settings.sequence:
        check_splits(settings, task)
        check_classes(settings, task)


def check_files(settings: Settings) -> None:
    """Check that the files exist that tasks of the sequence are learned from, and that paintings are pictures.

    Raises:
        SettingsError: a file is missing or no picture; names the key's full path.
    """
    for key, path in files_of(settings):
        if not path.is_file():
            raise SettingsError(f"{key}: there is no file {path}")
        if key.endswith(".picture"):
            try:
                read_frame(path)
            except DataError as error:
                raise SettingsError(f"{key}: {error}") from error


def files_of(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Yield key and path of each file of the user's own; fetched weights are none."""
    if settings.base.encoder_weights is not None:
        yield "base.encoder_weights", settings.base.encoder_weights
    for name in settings.sequence:
        for key, path in settings.tasks[name].users_files().items():
            if path.parent != settings.layout.perceptual_weights("").parent:
                yield f"tasks.{name}.{key}", path


def check_dataset(settings: Settings, name: str) -> None:
    """Check the splits to generate, the archives to fetch, or the folder of a data set.

    The folder counts until its files are listed: a study that came with its prepared arrays does without.

    Raises:
        SettingsError: an unknown or missing name, or no such folder; names the key's full path.
    """
    dataset, key = settings.datasets[name], f"datasets.{name}"
    if isinstance(dataset, PublicDatasetSettings) and dataset.source == "generated":
        refuse_unknown(f"{key}.generate", "split", dataset.generate, TO_GENERATE[dataset.format])
    if isinstance(dataset, PublicDatasetSettings) and dataset.source == "download":
        refuse_unknown(f"{key}.archives", "archive", dataset.archives, ARCHIVES[dataset.format])
        missing = [archive for archive in SMALL_COCO if archive not in dataset.archives]
        if dataset.is_small_coco and missing:
            raise SettingsError(f"{key}.archives: {missing[0]} is missing; add it, or train2017.zip")
    root, near = dataset.root, settings.data_root
    if root is not None and not root.is_dir() and not settings.layout.manifest(name).exists():
        wrong = "data_root" if near is not None and near in root.parents else "it"
        raise SettingsError(f"{key}.root: there is no folder {root}; correct {wrong}")


def refuse_unknown(key: str, kind: str, names: Iterable[str], known: Collection[str]) -> None:
    """Refuse names that are not among the known ones.

    Raises:
        SettingsError: a name is unknown; says which is nearest.
    """
    for name in names:
        if name not in known:
            raise SettingsError(f"{key}: there is no {kind} {name!r}{nearest(name, known)}")


def check_splits(settings: Settings, task: str) -> None:
    """Check the names of the splits that a task is taken from.

    A folder of the user's own is looked into until the task is prepared.

    Raises:
        SettingsError: the data set has no such split; names the key's full path.
    """
    chosen = settings.tasks[task]
    dataset, labelled = settings.datasets[chosen.data], KINDS[chosen.kind].target is LABELS
    known = splits_of(dataset, labelled)
    if known is None and not (settings.layout.prepared(task) / "info.json").exists():
        known = splits_in_folder(dataset, labelled)
    for split, source in chosen.splits.items():
        name = source.casefold() if dataset.format == "paired" else source
        if known is not None and name not in known:
            raise SettingsError(
                f"tasks.{task}.splits.{split}: data set {chosen.data!r} has no "
                f"{'annotated ' if labelled else ''}split {source!r}{nearest(source, known)}"
            )


def splits_of(dataset: DatasetSettings, labelled: bool) -> list[str] | None:
    """Return the splits of a data set, or those with annotations alone; None of a folder of photographs."""
    if dataset.format == "paired":
        return list(SPLIT_OF)
    if dataset.source == "directory" or not isinstance(dataset, PublicDatasetSettings):
        return None
    if dataset.source == "generated":
        names = [name.removesuffix("2017") for name in dataset.generate]
    elif dataset.format == "voc":
        names = ["train", "val", "trainval"]
    else:
        names = [name for name in INDEX if dataset.is_small_coco or f"{name}2017.zip" in dataset.archives]
    return [name for name in names if not (labelled and name == "unlabeled")]


def splits_in_folder(dataset: DatasetSettings, labelled: bool) -> list[str] | None:
    """Return the splits whose files are in a folder of the user's own; None where that cannot be told."""
    root = dataset.root
    if root is None or not root.is_dir() or not isinstance(dataset, PublicDatasetSettings):
        return None
    if dataset.format == "voc":
        lists = lists_of(root)
        return None if lists is None else sorted(path.stem for path in lists.glob("*.txt"))
    listed = [name for name, file in INDEX.items() if (root / "annotations" / file).is_file()]
    photographs = [] if labelled else [name for name in INDEX if (root / f"{name}2017").is_dir()]
    return list(dict.fromkeys([*listed, *photographs]))


def check_classes(settings: Settings, task: str) -> None:
    """Check the categories in the classes of a task, where those of the data set are known without reading it.

    Raises:
        SettingsError: an unknown category, one in two classes, or a class that is never drawn in generated
            pictures; names the key's full path.
    """
    chosen = settings.tasks[task]
    classes = chosen.preparation().get("classes")
    if classes is None:
        return
    dataset = settings.datasets[chosen.data]
    categories = categories_of(dataset)
    if categories is None:
        return
    try:
        class_mapping(classes, categories)
    except SettingsError as error:
        raise SettingsError(f"tasks.{task}.{error}") from error
    if dataset.source == "generated" and dataset.format == "voc":
        drawn = {thing.name for thing in voc_scenes.FAMILY.objects.values()}
        for name, members in classes.items():
            if not any(drawn.intersection(members_of(member, categories, None)[0]) for member in members):
                raise SettingsError(
                    f"tasks.{task}.classes.{name}: generated pictures show none of {', '.join(members)}; "
                    f"they show {', '.join(sorted(drawn))}"
                )


def categories_of(dataset: DatasetSettings) -> Mapping[str, str] | None:
    """Return supercategory by category of a data set; None where they stand in its files."""
    if dataset.format == "voc":
        return GROUPS
    if dataset.source == "generated":
        return dict(coco_scenes.CATEGORIES.values())
    if dataset.source == "download":
        return {name: group for group, names in SUPERCATEGORIES.items() for name in names}
    return None


def check_devices(settings: Settings, cards: int | None = None) -> None:
    """Check that this machine has the cards that trainings ask for.

    ``cards`` is their number, where it is known.

    Raises:
        SettingsError: there are fewer; names the key's full path.
    """
    training = settings.training
    cards = machine.gpus() if cards is None else cards
    if training.accelerator == "cuda" and not cards and not any(Path(path).exists() for path in OTHER_CARDS):
        raise SettingsError("training.accelerator: this machine has no card for 'cuda'; set it to auto or cpu")
    if training.accelerator != "cpu" and 0 < cards < training.devices:
        raise SettingsError(
            f"training.devices: this machine has {cards} of {training.devices} cards; lower it to {cards}"
        )
