"""Preparation of a data set as arrays: reads, resizes and counts; excludes and lists broken pictures."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from palimpsest.data.arrays import write_prepared
from palimpsest.data.census import Census
from palimpsest.data.classes import Classes
from palimpsest.data.manifest import Digests, FileDigest
from palimpsest.data.pictures import Pixels, Record
from palimpsest.data.reader import DatasetReader, Findings, Sample, SampleSpec
from palimpsest.data.selection import DevSelection, EarlierSplits, LeftOut, SplitTally, sampling_order
from palimpsest.data.targets import VALUES
from palimpsest.data.values import ValueCensus, note_values
from palimpsest.errors import DataError

T = TypeVar("T")


def prepare(
    dataset: DatasetReader,
    folder: Path,
    splits: Mapping[str, tuple[str, int | None]],
    spec: SampleSpec,
    *,
    refuse: Callable[[Pixels], str | None],
    log: Callable[[str], None],
    max_broken_share: float = 0.01,
    dev_share: float = 0.0,
    digests: FileDigest | None = None,
    every_class: bool = True,
    names_settings: bool = True,
) -> None:
    """Write the prepared arrays of one task to ``folder`` (see `palimpsest.data.arrays`).

    ``splits`` maps each prepared split, ``train`` or ``val``, to a split of the data set and a maximum number of
    pictures (None for all). A hash of the names selects the pictures: the selection is reproducible, spread over
    the data set, and a subset of the selection with a higher limit.

    About the fraction ``dev_share`` of the pictures selected for ``train`` is written to the split ``dev`` instead
    (`DevSelection`). Classes without a pixel are allowed there.

    No picture is in two splits. A picture that an earlier split examined, under any name (`real_paths`) or as a
    file of equal content (``digests``; None: each file is hashed), is excluded from later splits; a pair only if
    both input and target are equal. Within a split each real file is used once; files of equal content are not
    compared.

    Broken pictures are excluded. ``refuse`` returns a reason to exclude a prepared picture, uint8 (S, S, 3), or
    None. Excluded pictures are counted, listed in `info.json`, passed to ``log`` as lines, and replaced by others.

    For label maps the fraction of each class is recorded; with ``every_class`` each has to occur. Faulty
    annotations are counted, listed and logged; their pictures are used.

    With ``names_settings`` messages may advise to change settings of `params.yaml`.

    Raises:
        DataError: a split has more than ``max_broken_share`` broken pictures or faulty annotations, no usable
            picture, or a class without pixels. The message names the files; nothing is written.
    """
    digests = digests or Digests(dataset.root)
    earlier = EarlierSplits(digests)
    with write_prepared(folder, spec.size, spec.target) as rows:
        rows.info |= {"classes": list(spec.classes.names) if spec.classes else None, "left_out": []}
        for split, (source, limit) in splits.items():
            listed = dataset.records(source)
            records, copies = earlier.without_copies(listed)
            tally = SplitTally(
                f"{dataset.title}: {split} from {source!r}",
                len(records),
                len(listed),
                max_broken_share,
                names_settings,
            )
            dev = DevSelection(records, dev_share if split == "train" else 0.0, digests)
            annotations = Census(tally.location, spec.classes.names if spec.classes else (), names_settings)
            available = dataset.count_annotations(source) if spec.classes else 0
            parts: dict[str, _Part] = {}
            for record, sample in usable(
                sampling_order(records, limit),
                partial(dataset.read, spec=spec),
                tally,
                lambda sample: refuse(sample.picture),
            ):
                name = "dev" if record in dev else split
                rows.add(name, record.source, sample.picture, sample.target)
                part = parts.setdefault(name, _Part(tally.location, spec))
                part.add(record, sample)
                if sample.labels is not None:
                    annotations.add_annotations(sample.labels)
                    if sample.labels.faults:
                        annotations.check_annotations(max_broken_share, available)
                if tally.used == limit:
                    break
            tally.check_usable()
            if split not in parts:
                raise DataError(
                    f"{tally.location}: the split dev takes every usable picture, and none is left for {split}; "
                    "use more pictures, or set pictures.dev_share to 0"
                )
            annotations.check_annotations(max_broken_share)
            if spec.classes is not None and every_class:
                parts[split].labels.check_classes(partial(_contents, dataset, parts[split].used, spec.classes))
            for name, part in parts.items():
                part.note(rows.info, name, log)
            earlier.add(split, tally)
            counts = {name: len(part.used) for name, part in parts.items()}
            _note_pictures(rows.info, (split, source), counts, tally, copies, dataset.roots, log)
            findings = dataset.take_findings()
            if findings is not None:
                _note_findings(rows.info, split, findings, log)


class _Part:
    """Used pictures of one prepared split, with the statistics of their targets."""

    def __init__(self, location: str, spec: SampleSpec) -> None:
        self.used: list[Record] = []
        self.labels = Census(location, spec.classes.names if spec.classes else ())
        self.values = ValueCensus(location)
        self._spec = spec

    def add(self, record: Record, sample: Sample) -> None:
        """Count a used picture and its target."""
        self.used.append(record)
        if self._spec.target == VALUES and sample.target is not None:
            self.values.add(sample.target)
        if sample.labels is not None and sample.target is not None:
            self.labels.add(sample.target, sample.labels)

    def note(self, info: dict[str, Any], split: str, log: Callable[[str], None]) -> None:
        """Log the statistics of the targets, and add them to ``info``."""
        if self._spec.classes is not None:
            _note_labels(info, split, self.labels, log)
        if self._spec.target == VALUES:
            note_values(info, split, self.values, log)


def _note_pictures(
    info: dict[str, Any],
    splits: tuple[str, str],
    used: Mapping[str, int],
    tally: SplitTally,
    copies: list[LeftOut],
    roots: Sequence[Path],
    log: Callable[[str], None],
) -> None:
    """Log the number of used pictures of a split and its excluded pictures, and add both to ``info``.

    ``splits`` are the prepared split and the split of the data set that its pictures are from. ``used`` are the
    numbers of used pictures by prepared split, which is ``dev`` for some pictures of ``train``. ``copies`` are
    excluded pictures that ``tally`` does not list.
    """
    split, source = splits
    for record, kind, reason in [*tally.left_out, *copies]:
        reason_anywhere = reason
        for root in roots:
            reason_anywhere = reason_anywhere.replace(f"{root}{os.sep}", "")
        entry = {"split": split, "source": record.source, "kind": kind, "reason": reason_anywhere}
        info["left_out"].append(entry)
        log(f"{split}: {record.source} left out, {kind}: {reason_anywhere}")
    counts = {"pictures": used[split], "refused": tally.count("refused"), "broken": tally.count("broken")}
    if copies:
        counts["copies"] = len(copies)
    info.setdefault("splits", {})[split] = {"from": source, **counts}
    log(f"{split}: " + ", ".join(f"{number} {kind}" for kind, number in counts.items()))
    for name in used.keys() - {split}:
        info["splits"][name] = {"from": source, "pictures": used[name], "refused": 0, "broken": 0}
        log(f"{name}: {used[name]} pictures of {split}")


def _note_labels(info: dict[str, Any], split: str, census: Census, log: Callable[[str], None]) -> None:
    """Log the faulty annotations of a split; add them, and the fractions of its classes, to ``info``."""
    info.setdefault("labels", {})[split] = census.info()
    info.setdefault("faulty_annotations", []).extend(census.listed(split))
    for line in census.lines():
        log(f"{split}: {line}")


def _note_findings(info: dict[str, Any], split: str, findings: Findings, log: Callable[[str], None]) -> None:
    """Log the findings of any reader about a split, and add them to ``info`` below the key ``pairs``."""
    info.setdefault("pairs", {})[split] = findings.info
    for line in findings.lines:
        log(f"{split}: {line}")


def _contents(dataset: DatasetReader, records: list[Record], classes: Classes, names: list[str]) -> str:
    return dataset.contents(records, classes.members(names))


def usable(
    records: list[Record],
    read: Callable[[Record], T],
    tally: SplitTally,
    refuse: Callable[[T], str | None] = lambda sample: None,
) -> Iterator[tuple[Record, T]]:
    """Yield the usable records with what ``read`` returns; count them, and the excluded records, in ``tally``.

    ``refuse`` returns the reason to exclude a sample, or None.
    """
    for record in tqdm(records, unit=" pictures", disable=None, leave=False):
        tally.examined_records.append(record)
        try:
            if record.fault:
                raise DataError(f"{record.picture}: {record.fault}")
            sample = read(record)
        except DataError as error:
            tally.leave_out(record, "broken", str(error))
            continue
        reason = refuse(sample)
        if reason:
            tally.leave_out(record, "refused", reason)
            continue
        tally.used += 1
        yield record, sample
