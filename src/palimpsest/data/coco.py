"""MS COCO 2017 and data sets in its layout: pictures in folders, instances in JSON.

Layout: ``<root>/{train2017,val2017,unlabeled2017}`` and ``<root>/annotations`` with
``instances_{train,val}2017.json`` and ``image_info_unlabeled2017.json``. Format: https://cocodataset.org/#format-data.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from pycocotools import mask as rle_masks

from palimpsest.data.categories import is_similar, normalized
from palimpsest.data.census import Labels
from palimpsest.data.coco_index import Index, read_index
from palimpsest.data.outlines import Fault, Outline, Size, SplitCheck, extent_of, fault_of
from palimpsest.data.pictures import IGNORED, Frame, Pixels, Record, read_frame, turn_labels
from palimpsest.data.reader import DatasetReader, Sample, SampleSpec, labelled_sample
from palimpsest.data.regions import MALFORMED, Rle, paint, shape_of
from palimpsest.data.turned import Turned, Votes, drawn_size, vote
from palimpsest.errors import DataError, nearest, unknown_name

INDEX = {
    "train": "instances_train2017.json",
    "val": "instances_val2017.json",
    "unlabeled": "image_info_unlabeled2017.json",
}


class CocoFolder(DatasetReader):
    """Reader of a folder in COCO layout, with splits ``train``, ``val`` and ``unlabeled``.

    A split without JSON has pictures (for colorization and style) but no label maps.
    """

    def __init__(self, root: Path, *, names_settings: bool = True) -> None:
        """Check that ``root`` is a folder; its files are read when a method needs them.

        With ``names_settings`` messages name the settings of `params.yaml` instead of options of the command line.

        Raises:
            DataError: there is no such folder.
        """
        self.root = Path(root)
        self._splits_key = "tasks.NAME.splits" if names_settings else "--split"
        self._indices: dict[str, Index] = {}
        self._votes: dict[str, Votes] = {}
        self._checked: dict[tuple[str, SplitCheck], bool] = {}
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder; correct the root of the data set")

    @property
    def categories(self) -> dict[str, str]:
        """Supercategory by category name, in the order of the JSON of train, or of val if train has none.

        Raises:
            DataError: there is no JSON file, or two categories have the same name or id.
        """
        return dict(self._index_with_categories(self._reference_split()).categories)

    def annotated(self, splits: Iterable[str], listed: Iterable[str]) -> list[dict[str, int]]:
        """Return one dict for each split: the number of its annotations by category, including 0.

        A split that ``splits`` repeats counts once. ``listed`` are names of categories in the `classes` of a task.

        Raises:
            DataError: two categories of a split have the same name or id, or an annotated category is missing in
                `categories` and its name equals or resembles a category or a listed name.
        """
        reference = self._reference_split()
        names = [*self.categories, *map(normalized, listed)]
        counts = []
        for split in dict.fromkeys(splits):
            annotated = self._index_with_categories(split).annotated
            for name, count in annotated.items():
                if count and name not in self.categories and is_similar(name, names):
                    raise DataError(
                        f"{self._index_file(split)}: {count} annotations are of the category {name!r}, which "
                        f"{INDEX[reference]} does not list{nearest(name, self.categories)}; name the categories "
                        f"alike in both files"
                    )
            counts.append(dict.fromkeys(self.categories, 0) | annotated)
        return counts

    def records(self, split: str) -> list[Record]:
        """Return the pictures of a split, sorted by id.

        Pictures with equal ids, and annotations of a missing picture, are records with a `fault`.

        Raises:
            DataError: the split does not exist, or its JSON is damaged.
        """
        return list(self._index(split).records)

    def read(self, record: Record, spec: SampleSpec) -> Sample:
        """Return the centred squares of a picture and its label map; without ``spec.target`` only the picture.

        Raises:
            DataError: as `read_labels`, or the picture is unreadable.
        """
        return labelled_sample(record, spec, self.read_labels)

    def label_map(
        self, record: Record, class_of: Mapping[str, int], other_label: int, frame: Frame | None = None
    ) -> Pixels:
        """Return the class of each pixel, uint8 (H, W), in the shown orientation of the picture.

        A smaller instance (fewer pixels; of equal ones the later) covers a larger one, so that the cup on the table
        is a cup. Crowd regions have label 255 and follow the same rule. Instances of categories outside
        ``class_of`` get ``other_label`` (0 background, 255 ignored); pixels without an instance get 0.

        ``frame`` is the frame of the picture, if the caller has read it.

        Raises:
            DataError: annotations are missing, damaged, or made for another size.
        """
        return self.read_labels(record, class_of, other_label, frame).map

    def read_labels(
        self, record: Record, class_of: Mapping[str, int], other_label: int, frame: Frame | None = None
    ) -> Labels:
        """Return the label map of `label_map` with counts of the annotations and the faulty annotations.

        Coordinates are in the frame of the declared size, stored or shown. If the annotations of pictures turned by
        EXIF exceed that frame and fit the transposed frame, all turned pictures are read in the transposed frame.

        Raises:
            DataError: as `label_map`; or the annotations of a turned picture fit neither frame.
        """
        split = record.key.partition("/")[0]
        index = self._index_with_labels(split)
        frame = frame or read_frame(record.picture)
        annotations = index.annotations.get(record.key, [])
        height, width = self._drawn_size(split, record, frame)
        painted: list[tuple[Rle, int]] = []
        faults: list[Fault] = []
        read = crowd = 0
        for annotation in annotations:
            if annotation.category is None:
                raise DataError(
                    f"{record.picture}: {annotation.name} has an unknown category; add the category to the JSON"
                )
            label = IGNORED if annotation.crowd else class_of.get(annotation.category, other_label)
            try:
                shape = shape_of(annotation.segmentation)
                region = shape.region(height, width)
                if region is not None:
                    painted.append((region, label))
                if label:
                    covered = 0 if region is None else int(rle_masks.area(region))
                    reason = fault_of(shape, covered, (height, width), partial(self._check_split, split))
                    faults += [Fault(record.source, annotation.name, reason)] if reason else []
                    read, crowd = read + 1, crowd + annotation.crowd
            except MALFORMED as error:
                raise DataError(f"{record.picture}: {annotation.name}: {error}") from error
        labels = turn_labels(paint(painted, height, width), frame, str(record.picture))
        turned = None
        if frame.shown != frame.stored:
            turned = Turned((height, width) == frame.shown, self._votes_of(split).deciding)
        return Labels(labels, read, crowd, tuple(faults), turned)

    def count_annotations(self, split: str) -> int:
        """Return the number of all annotations of a split."""
        return sum(map(len, self._index(split).annotations.values()))

    def contents(self, records: Sequence[Record], categories: Sequence[str]) -> str:
        """Return a text for a message: the numbers of annotations of ``records``, first those of ``categories``."""
        counts: Counter[str] = Counter()
        crowd: Counter[str] = Counter()
        for record in records:
            for annotation in self._index(record.key.partition("/")[0]).annotations.get(record.key, ()):
                counts[str(annotation.category)] += 1
                crowd[str(annotation.category)] += annotation.crowd
        names = [*categories, *(name for name, _ in counts.most_common(5) if name not in categories)]
        described = [
            f"{counts[name]} × {name!r}" + f", including {crowd[name]} crowd (iscrowd: 1)" * (crowd[name] > 0)
            for name in names
        ]
        note = "; crowd regions are ignored" if crowd.total() else ""
        return f"annotations of these pictures: {', '.join(described)}{note}"

    def _check_split(self, split: str, check: SplitCheck) -> bool:
        """Return the result of a check of all outlines of a split; later calls repeat the result."""
        if (split, check) not in self._checked:
            self._checked[split, check] = check(self._outlines(split))
        return self._checked[split, check]

    def _outlines(self, split: str) -> Iterator[Outline]:
        index = self._index(split)
        for record in index.records:
            for annotation in index.annotations.get(record.key, ()):
                extent = extent_of(annotation.segmentation)
                with suppress(DataError):  # an unreadable picture counts as broken when it is read
                    if extent is not None:
                        size = index.sizes.get(record.key) or read_frame(record.picture).shown
                        yield Outline(extent, size, annotation.box)

    def _drawn_size(self, split: str, record: Record, frame: Frame) -> Size:
        """Return (height, width) of the frame, stored or shown, in which the annotations of a picture are drawn."""
        index = self._index(split)
        declared = index.sizes.get(record.key) or frame.shown
        if declared not in (frame.shown, frame.stored):
            raise DataError(
                f"{record.picture}: its annotations are for {declared[1]}×{declared[0]} pixels, the picture has "
                f"{frame.shown[1]}×{frame.shown[0]}; correct the JSON or the picture"
            )
        if frame.shown == frame.stored:
            return declared
        segmentations = [annotation.segmentation for annotation in index.annotations.get(record.key, ())]
        return drawn_size(str(record.picture), frame, declared, segmentations, self._votes_of(split))

    def _votes_of(self, split: str) -> Votes:
        """Return the `Votes` of the turned pictures of a split; if none decides, the votes of train or val."""
        votes = self._count_votes(split)
        if not votes.deciding:
            for alternative in (name for name in ("train", "val") if name != split):
                with suppress(DataError):  # the task may not use this split
                    if self._index_file(alternative).is_file() and self._count_votes(alternative).deciding:
                        return self._count_votes(alternative)
        return votes

    def _count_votes(self, split: str) -> Votes:
        if split not in self._votes:
            index, votes = self._index(split), Votes()
            for record in index.records:
                annotations = index.annotations.get(record.key)
                with suppress(DataError):  # an unreadable picture counts as broken when it is read
                    if annotations and not record.fault:
                        segmentations = [annotation.segmentation for annotation in annotations]
                        votes += vote(read_frame(record.picture), index.sizes.get(record.key), segmentations)
            self._votes[split] = votes
        return self._votes[split]

    def _reference_split(self) -> str:
        for split in ("train", "val"):
            if self._index_file(split).is_file():
                return split
        raise DataError(f"{self._index_file('train')}: no such file; add it")

    def _index_with_categories(self, split: str) -> Index:
        index = self._index(split)
        if index.fault:
            raise DataError(f"{self._index_file(split)}: {index.fault}")
        return index

    def _index_with_labels(self, split: str) -> Index:
        index = self._index(split)
        if not index.labelled:
            raise DataError(
                f"{self._index_file(split)}: missing or without annotations, which a task with classes needs; add "
                f"them, or change {self._splits_key}"
            )
        return index

    def _index_file(self, split: str) -> Path:
        return self.root / "annotations" / INDEX[split]

    def _index(self, split: str) -> Index:
        if split not in INDEX:
            raise DataError(f"{self.root}: {unknown_name(split, INDEX, 'split', self._splits_key)}")
        if split not in self._indices:
            self._indices[split] = read_index(self._index_file(split), split, self._picture_folder(split))
        return self._indices[split]

    def _picture_folder(self, split: str) -> Path:
        return self.root / f"{split}2017"
