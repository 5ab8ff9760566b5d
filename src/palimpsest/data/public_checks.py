"""Checks of data sets in the formats `coco` and `voc` before any work.

No job imports this module, so that an edit of it reruns none.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import ClassVar

from palimpsest.data.checks import DatasetChecks
from palimpsest.data.coco import INDEX
from palimpsest.data.generated import COCO_FIRST_ID, VOC_YEAR
from palimpsest.data.public_settings import PublicDatasetSettings
from palimpsest.data.scenes import coco as coco_scenes
from palimpsest.data.scenes import voc as voc_scenes
from palimpsest.data.voc import GROUPS, lists_of
from palimpsest.errors import SettingsError

SMALL_COCO = ("val2017.zip", "annotations_trainval2017.zip")
"""Archives of a COCO without train2017.zip; its splits are made from val2017 by picture id (`split_val2017`)."""
COCO_ARCHIVES = ("train2017.zip", "unlabeled2017.zip", *SMALL_COCO)
"""Archives that `archives` may name for COCO."""
VOC_ARCHIVES = ("VOCtrainval_11-May-2012.tar", "benchmark.tgz")
"""Archives that `archives` may name for VOC."""

SUPERCATEGORIES = {
    "person": ("person",),
    "vehicle": ("bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat"),
    "outdoor": ("traffic light", "fire hydrant", "stop sign", "parking meter", "bench"),
    "animal": ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe"),
    "accessory": ("backpack", "umbrella", "handbag", "tie", "suitcase"),
    "sports": (
        *("frisbee", "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard"),
        *("surfboard", "tennis racket"),
    ),
    "kitchen": ("bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl"),
    "food": ("banana", "apple", "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake"),
    "furniture": ("chair", "couch", "potted plant", "bed", "dining table", "toilet"),
    "electronic": ("tv", "laptop", "mouse", "remote", "keyboard", "cell phone"),
    "appliance": ("microwave", "oven", "toaster", "sink", "refrigerator"),
    "indoor": ("book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush"),
}
"""Categories of COCO 2017 by supercategory. Other data sets in COCO layout use the categories of their JSON."""


class PublicChecks(DatasetChecks[PublicDatasetSettings]):
    """Checks of COCO or VOC: the downloaded data set, generated scenes, or the user's folder in its layout."""

    generated_splits: ClassVar[Collection[str]]
    """Names that `generate` may contain."""
    known_archives: ClassVar[Collection[str]]
    """Names that `archives` may contain."""

    def check_names(self) -> None:
        """Check the names of splits to generate, or of archives to download.

        Raises:
            SettingsError: a name is unknown.
        """
        if self.settings.source == "generated":
            self.check_known("generate", "split", self.settings.generate, self.generated_splits)
        if self.settings.source == "download":
            self.check_known("archives", "archive", self.settings.archives, self.known_archives)

    @property
    def root(self) -> Path:
        """Folder of the user; only for the source `directory`."""
        assert self.settings.root is not None
        return self.settings.root


class CocoChecks(PublicChecks):
    """Checks of COCO 2017 and data sets in its layout."""

    generated_splits = COCO_FIRST_ID
    known_archives = COCO_ARCHIVES

    def check_names(self) -> None:
        """Check the names (`PublicChecks.check_names`), and that the archives are complete without train2017.zip.

        Raises:
            SettingsError: a name is unknown, or an archive is missing.
        """
        super().check_names()
        missing = [archive for archive in SMALL_COCO if archive not in self.settings.archives]
        if self.settings.source == "download" and self.settings.is_small_coco and missing:
            raise SettingsError(f"{self.key}.archives: {missing[0]} is missing; add it, or train2017.zip")

    def splits(self, labelled: bool) -> Collection[str] | None:
        """Return the splits that will be generated or downloaded; None for the user's folder.

        With ``labelled`` the split without annotations, ``unlabeled``, is left out.
        """
        if self.settings.source == "directory":
            return None
        if self.settings.source == "generated":
            names = [name.removesuffix("2017") for name in self.settings.generate]
        else:
            archives = self.settings.archives
            names = [name for name in INDEX if self.settings.is_small_coco or f"{name}2017.zip" in archives]
        return [name for name in names if not (labelled and name == "unlabeled")]

    def splits_in_folder(self, labelled: bool) -> Collection[str] | None:
        """Return the splits with a JSON file, and unless ``labelled`` also those with only a folder of pictures."""
        annotated = [name for name, file in INDEX.items() if (self.root / "annotations" / file).is_file()]
        photographs = [] if labelled else [name for name in INDEX if (self.root / f"{name}2017").is_dir()]
        return list(dict.fromkeys([*annotated, *photographs]))

    def categories(self) -> Mapping[str, str] | None:
        """Return the supercategory of each category of the scenes or of COCO 2017; None for the user's folder."""
        if self.settings.source == "generated":
            return dict(coco_scenes.CATEGORIES.values())
        if self.settings.source == "download":
            return {name: group for group, names in SUPERCATEGORIES.items() for name in names}
        return None


class VocChecks(PublicChecks):
    """Checks of Pascal VOC 2012 and data sets in its layout."""

    generated_splits = VOC_YEAR
    known_archives = VOC_ARCHIVES

    def splits(self, labelled: bool) -> Collection[str] | None:
        """Return the splits that will be generated, or the splits of VOC 2012; None for the user's folder."""
        if self.settings.source == "directory":
            return None
        return [*self.settings.generate] if self.settings.source == "generated" else ["train", "val", "trainval"]

    def splits_in_folder(self, labelled: bool) -> Collection[str] | None:
        """Return the splits with a list of pictures, sorted; None if the user's folder has no lists."""
        lists = lists_of(self.root)
        return None if lists is None else sorted(path.stem for path in lists.glob("*.txt"))

    def categories(self) -> Mapping[str, str]:
        """Return the group of each class of VOC, for every source: label maps in its layout contain no names."""
        return GROUPS

    def drawn(self) -> frozenset[str] | None:
        """Return the categories that occur in generated scenes; None for the other sources."""
        if self.settings.source != "generated":
            return None
        return frozenset(kind.name for kind in voc_scenes.FAMILY.objects.values())
