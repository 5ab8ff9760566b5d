"""MS COCO 2017 and data sets in its layout: photographs in folders, instances in JSON.

Layout: ``<root>/{train2017,val2017,unlabeled2017}`` and ``<root>/annotations`` with
``instances_{train,val}2017.json`` and ``image_info_unlabeled2017.json``. Format: https://cocodataset.org/#format-data.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from pycocotools import mask as rle_masks

from palimpsest.data.categories import look_alike, normalized
from palimpsest.data.census import Labels
from palimpsest.data.coco_index import Index, read_index
from palimpsest.data.outlines import Fault, Outline, Size, SplitCheck, extent_of, fault_of
from palimpsest.data.pictures import IGNORED, Frame, Pixels, Record, read_frame, turn_labels
from palimpsest.data.reader import DatasetReader, Form, Sample, labelled
from palimpsest.data.regions import MALFORMED, Rle, paint, shape_of
from palimpsest.data.turned import Turned, Votes, drawn_size, vote
from palimpsest.errors import DataError, nearest

INDEX = {
    "train": "instances_train2017.json",
    "val": "instances_val2017.json",
    "unlabeled": "image_info_unlabeled2017.json",
}


class CocoFolder(DatasetReader):
    """Folder in COCO layout; splits ``train``, ``val`` and ``unlabeled``. JSON is read when it is needed.

    Without its JSON a split still has photographs (for colorization and style), but no label maps.
    """

    def __init__(self, root: Path) -> None:
        """Check that ``root`` is a folder; its files are read when they are needed."""
        self.root = Path(root)
        self._indices: dict[str, Index] = {}
        self._votes: dict[str, Votes] = {}
        self._checked: dict[tuple[str, SplitCheck], bool] = {}
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder")

    @property
    def categories(self) -> dict[str, str]:
        """Supercategory by category name, in the order of the JSON of train, or of val where train has none.

        Raises:
            DataError: there is no JSON with categories, or two of them have the same name or id.
        """
        return dict(self._categorised(self._resolving_split()).categories)

    def annotated(self, splits: Iterable[str], listed: Iterable[str]) -> list[dict[str, int]]:
        """Return the number of annotations by category for each of these splits, 0 of categories without any.

        ``listed`` are the names in the task's classes.

        Raises:
            DataError: categories of a split have the same name or id, or annotations are of a category that
                `categories` lacks, and that is listed or has almost the name of a listed one or of a category;
                gives the nearest name of it.
        """
        resolving = self._resolving_split()
        names = [*self.categories, *map(normalized, listed)]
        counts = []
        for split in dict.fromkeys(splits):
            annotated = self._categorised(split).annotated
            for name, count in annotated.items():
                if count and name not in self.categories and look_alike(name, names):
                    raise DataError(
                        f"{self._index_file(split)}: {count} annotations are of the category {name!r}, which "
                        f"{INDEX[resolving]} does not list{nearest(name, self.categories)}; name the categories "
                        f"alike in both files"
                    )
            counts.append(dict.fromkeys(self.categories, 0) | annotated)
        return counts

    def records(self, split: str) -> list[Record]:
        """Return the photographs of a split, sorted by id.

        Two photographs under one id, and annotations of a photograph that is not listed, are records with a
        `fault`.

        Raises:
            DataError: no such split, or its JSON is damaged.
        """
        return list(self._index(split).records)

    def read(self, record: Record, form: Form) -> Sample:
        """Read a photograph and its label map at their final size."""
        return labelled(record, form, self.read_labels)

    def label_map(
        self, record: Record, class_of: Mapping[str, int], other: int, frame: Frame | None = None
    ) -> Pixels:
        """Return the class of each pixel, uint8 (H, W), in the shown orientation of the photograph.

        Where instances overlap, the smaller one wins (fewer pixels; of equals the later one), so that the cup
        on the table is a cup. Crowd regions are 255 and take part under the same rule. Instances of a
        category that ``class_of`` lacks get ``other`` (0 background, 255 ignored); the rest is 0.

        ``frame`` is the photograph's, where the caller has read it already.

        Raises:
            DataError: there are no annotations, or damaged ones, or ones made for another size.
        """
        return self.read_labels(record, class_of, other, frame).map

    def read_labels(
        self, record: Record, class_of: Mapping[str, int], other: int, frame: Frame | None = None
    ) -> Labels:
        """Return the `label_map` together with the annotations that could not be painted as they were meant.

        Coordinates are in the frame of the declared size, stored or shown. Where the annotations of pictures
        turned by EXIF exceed that frame and fit the other one, all such pictures are read in the other one.

        Raises:
            DataError: as `label_map`; or annotations fit a turned picture neither as stored nor as shown.
        """
        split = record.key.partition("/")[0]
        index = self._labelled(split)
        frame = frame or read_frame(record.picture)
        annotations = index.annotations.get(record.key, [])
        height, width = self._drawn_size(split, record, frame)
        painted: list[tuple[Rle, int]] = []
        faults: list[Fault] = []
        read = crowd = 0
        for annotation in annotations:
            if annotation.category is None:
                raise DataError(f"{record.picture}: {annotation.name} is of a category that is not listed")
            label = IGNORED if annotation.crowd else class_of.get(annotation.category, other)
            try:
                shape = shape_of(annotation.segmentation)
                region = shape.region(height, width)
                if region is not None:
                    painted.append((region, label))
                if label:
                    covered = 0 if region is None else int(rle_masks.area(region))
                    reason = fault_of(shape, covered, (height, width), partial(self._confirmed, split))
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
        """Describe what is annotated in these photographs; ``categories`` are those looked for in vain."""
        counts: Counter[str] = Counter()
        crowd: Counter[str] = Counter()
        for record in records:
            for annotation in self._index(record.key.partition("/")[0]).annotations.get(record.key, ()):
                counts[str(annotation.category)] += 1
                crowd[str(annotation.category)] += annotation.crowd
        named = [*categories, *(name for name, _ in counts.most_common(5) if name not in categories)]
        described = [
            f"{counts[name]} × {name!r}" + f", {crowd[name]} of them crowd (iscrowd: 1)" * (crowd[name] > 0)
            for name in named
        ]
        note = "; crowd regions are ignored" if crowd.total() else ""
        return f"annotations of these pictures: {', '.join(described)}{note}"

    def _confirmed(self, split: str, check: SplitCheck) -> bool:
        """Run a check on the outlines of a split, once."""
        if (split, check) not in self._checked:
            self._checked[split, check] = check(self._outlines(split))
        return self._checked[split, check]

    def _outlines(self, split: str) -> Iterator[Outline]:
        index = self._index(split)
        for record in index.records:
            for annotation in index.annotations.get(record.key, ()):
                extent = extent_of(annotation.segmentation)
                with suppress(DataError):  # of an unreadable picture, which is counted when it is read
                    if extent is not None:
                        size = index.sizes.get(record.key) or read_frame(record.picture).shown
                        yield Outline(extent, size, annotation.box)

    def _drawn_size(self, split: str, record: Record, frame: Frame) -> Size:
        """Return (height, width) of the frame that the annotations of a photograph are given in."""
        index = self._index(split)
        declared = index.sizes.get(record.key) or frame.shown
        if declared not in (frame.shown, frame.stored):
            raise DataError(
                f"{record.picture}: its annotations are for {declared[1]}×{declared[0]} pixels, "
                f"the picture is {frame.shown[1]}×{frame.shown[0]}"
            )
        if frame.shown == frame.stored:
            return declared
        segmentations = [annotation.segmentation for annotation in index.annotations.get(record.key, ())]
        return drawn_size(str(record.picture), frame, declared, segmentations, self._votes_of(split))

    def _votes_of(self, split: str) -> Votes:
        """Return the votes of a split's turned pictures, or of the other split's where none decides."""
        votes = self._own_votes(split)
        if not votes.deciding:
            for other in ("train", "val"):
                with suppress(DataError):  # of a split that this task may not use
                    if other != split and self._index_file(other).is_file() and self._own_votes(other).deciding:
                        return self._own_votes(other)
        return votes

    def _own_votes(self, split: str) -> Votes:
        if split not in self._votes:
            index, votes = self._index(split), Votes()
            for record in index.records:
                annotations = index.annotations.get(record.key)
                with suppress(DataError):  # of an unreadable picture, which is counted when it is read
                    if annotations and not record.fault:
                        segmentations = [annotation.segmentation for annotation in annotations]
                        votes += vote(read_frame(record.picture), index.sizes.get(record.key), segmentations)
            self._votes[split] = votes
        return self._votes[split]

    def _resolving_split(self) -> str:
        for split in ("train", "val"):
            if self._index_file(split).is_file():
                return split
        raise DataError(f"{self._index_file('train')}: no such file")

    def _categorised(self, split: str) -> Index:
        index = self._index(split)
        if index.fault:
            raise DataError(f"{self._index_file(split)}: {index.fault}")
        return index

    def _labelled(self, split: str) -> Index:
        index = self._index(split)
        if not index.labelled:
            raise DataError(f"{self._index_file(split)}: no such file, or no annotations in it")
        return index

    def _index_file(self, split: str) -> Path:
        return self.root / "annotations" / INDEX[split]

    def _index(self, split: str) -> Index:
        if split not in INDEX:
            raise DataError(f"{self.root}: a COCO data set has no split {split!r}, only {', '.join(INDEX)}")
        if split not in self._indices:
            self._indices[split] = read_index(self._index_file(split), split, self.root / f"{split}2017")
        return self._indices[split]
