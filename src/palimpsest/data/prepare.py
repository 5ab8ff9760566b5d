"""Preparation of a data set as arrays: reads, resizes and counts; excludes and lists broken pictures."""

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from palimpsest.data.arrays import write_prepared
from palimpsest.data.census import Census
from palimpsest.data.classes import Classes
from palimpsest.data.manifest import Digests
from palimpsest.data.pictures import Pixels, Record
from palimpsest.data.reader import DatasetReader, Findings, Sample, SampleSpec
from palimpsest.data.selection import EarlierSplits, LeftOut, SplitTally, sampling_order
from palimpsest.data.targets import VALUES
from palimpsest.data.values import ValueCensus, note_values
from palimpsest.errors import DataError


def prepare(
    dataset: DatasetReader,
    folder: Path,
    splits: Mapping[str, tuple[str, int | None]],
    spec: SampleSpec,
    *,
    refuse: Callable[[Pixels], str | None],
    log: Callable[[str], None],
    max_broken_share: float = 0.01,
    digests: Digests | None = None,
) -> None:
    """Write the prepared arrays of one task to ``folder`` (see `palimpsest.data.arrays`).

    ``splits`` maps each prepared split, ``train`` or ``val``, to a split of the data set and a maximum number of
    pictures (None for all). A hash of the names selects the pictures: the selection is reproducible, spread over
    the data set, and a subset of the selection with a higher limit.

    No picture is in two splits. A picture that an earlier split examined, under any name (`real_paths`) or as a
    file of equal content (``digests``; None: each file is hashed), is excluded from later splits; a pair only if
    both input and target are equal. Within a split each real file is used once; files of equal content are not
    compared.

    Broken pictures are excluded. ``refuse`` returns a reason to exclude a prepared picture, uint8 (S, S, 3), or
    None. Excluded pictures are counted, listed in `info.json`, passed to ``log`` as lines, and replaced by others.

    For label maps the fraction of each class is recorded. Faulty annotations are counted, listed and logged; their
    pictures are used.

    Raises:
        DataError: a split has more than ``max_broken_share`` broken pictures or faulty annotations, no usable
            picture, or a class without pixels. The message names the files; nothing is written.
    """
    earlier = EarlierSplits(digests or Digests(dataset.root))
    classes = spec.classes
    with write_prepared(folder, spec.size, spec.target) as rows:
        rows.info |= {"classes": list(classes.names) if classes else None, "left_out": []}
        for split, (source, limit) in splits.items():
            listed = dataset.records(source)
            records, copies = earlier.without_copies(listed)
            location = f"{dataset.root}: {split} from {source!r}"
            tally = SplitTally(location, len(records), len(listed), max_broken_share)
            census = Census(location, classes.names if classes else ())
            values = ValueCensus(location)
            available = dataset.count_annotations(source) if classes else 0
            used: list[Record] = []
            for record, sample in _usable(
                sampling_order(records, limit), partial(dataset.read, spec=spec), refuse, tally
            ):
                rows.add(split, record.source, sample.picture, sample.target)
                used.append(record)
                if spec.target == VALUES and sample.target is not None:
                    values.add(sample.target)
                if sample.labels is not None and sample.target is not None:
                    census.add(sample.target, sample.labels)
                    if sample.labels.faults:
                        census.check_annotations(max_broken_share, available)
                if tally.used == limit:
                    break
            tally.check_usable()
            if classes is not None:
                census.check_annotations(max_broken_share)
                census.check_classes(partial(_contents, dataset, used, classes))
                _note_labels(rows.info, split, census, log)
            if spec.target == VALUES:
                note_values(rows.info, split, values, log)
            earlier.add(split, tally)
            _note_pictures(rows.info, (split, source), tally, copies, dataset.root, log)
            findings = dataset.take_findings()
            if findings is not None:
                _note_findings(rows.info, split, findings, log)


def _note_pictures(
    info: dict[str, Any],
    splits: tuple[str, str],
    tally: SplitTally,
    copies: list[LeftOut],
    root: Path,
    log: Callable[[str], None],
) -> None:
    """Log the number of used pictures of a split and its excluded pictures, and add both to ``info``.

    ``splits`` are the prepared split and the split of the data set that its pictures are from. ``copies`` are
    excluded pictures that ``tally`` does not list.
    """
    split, source = splits
    for record, kind, reason in [*tally.left_out, *copies]:
        reason_anywhere = reason.replace(f"{root}{os.sep}", "")
        entry = {"split": split, "source": record.source, "kind": kind, "reason": reason_anywhere}
        info["left_out"].append(entry)
        log(f"{split}: {record.source} left out, {kind}: {reason_anywhere}")
    counts = {"pictures": tally.used, "refused": tally.count("refused"), "broken": tally.count("broken")}
    if copies:
        counts["copies"] = len(copies)
    info.setdefault("splits", {})[split] = {"from": source, **counts}
    log(f"{split}: " + ", ".join(f"{number} {kind}" for kind, number in counts.items()))


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


def _usable(
    records: list[Record],
    read: Callable[[Record], Sample],
    refuse: Callable[[Pixels], str | None],
    tally: SplitTally,
) -> Iterator[tuple[Record, Sample]]:
    """Yield the usable records with their samples; count them, and the excluded records, in ``tally``.

    ``refuse`` returns the reason to exclude a prepared picture, or None.
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
        reason = refuse(sample.picture)
        if reason:
            tally.leave_out(record, "refused", reason)
            continue
        tally.used += 1
        yield record, sample
