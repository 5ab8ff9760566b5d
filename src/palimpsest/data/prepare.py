"""From a data set to prepared arrays: read, resize, paint label maps; leave out and name what is broken."""

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
from palimpsest.data.reader import DatasetReader, Findings, Form, Sample
from palimpsest.data.selection import EarlierSplits, LeftOut, SplitTally, drawn
from palimpsest.data.targets import VALUES
from palimpsest.data.values import ValueCensus, note_values
from palimpsest.errors import DataError


def prepare(
    dataset: DatasetReader,
    folder: Path,
    splits: Mapping[str, tuple[str, int | None]],
    form: Form,
    *,
    refuse: Callable[[Pixels], str | None],
    log: Callable[[str], None],
    max_broken_share: float = 0.01,
    digests: Digests | None = None,
) -> None:
    """Write the prepared arrays of one task to ``folder`` (see `palimpsest.data.arrays`).

    ``splits`` has, by prepared split, the data set's split to take it from and how many photographs at most
    (None for all). Where that is not all of them, they are drawn by a hash of their names: the same ones each
    time, from all over the data set, and a higher limit only adds to them.

    No photograph is in two splits: what an earlier split looked at, under any name (`real_paths`) or as a file of
    equal content (``digests``), is left out of a later one; of pairs, inputs and targets both have to be equal.
    Within a split each real file counts once, and the first record stays; files of equal content are taken as they
    come.

    A photograph for which ``refuse`` has a reason (it sees the finished picture) is left out, and
    so is a broken one; each is counted, listed in `info.json` and logged, and another comes in its place.

    Of label maps the share of each class is recorded, and annotations that cannot be painted are counted, listed
    and logged; their photographs are used.

    Raises:
        DataError: more than ``max_broken_share`` of a split's photographs are broken or of its annotations cannot
            be painted, none of the photographs can be used, or a class has no pixel in a split; names files.
            Nothing is written then.
    """
    taken = EarlierSplits(digests or Digests(dataset.root))
    classes = form.classes
    with write_prepared(folder, form.size, form.target) as rows:
        rows.info |= {"classes": list(classes.names) if classes else None, "left_out": []}
        for split, (source, limit) in splits.items():
            listed = dataset.records(source)
            records, copies = taken.without_copies(listed)
            where = f"{dataset.root}: {split} from {source!r}"
            tally = SplitTally(where, len(records), len(listed), max_broken_share)
            census = Census(where, classes.names if classes else ())
            values = ValueCensus(where)
            available = dataset.count_annotations(source) if classes else 0
            used: list[Record] = []
            for record, sample in _usable(drawn(records, limit), partial(dataset.read, form=form), refuse, tally):
                rows.add(split, record.source, sample.picture, sample.target)
                used.append(record)
                if form.target == VALUES and sample.target is not None:
                    values.add(sample.target)
                if sample.labels is not None and sample.target is not None:
                    census.add(sample.target, sample.labels)
                    if sample.labels.faults:
                        census.check_annotations(max_broken_share, available)
                if tally.used == limit:
                    break
            tally.check()
            if classes is not None:
                census.check_annotations(max_broken_share)
                census.check_classes(partial(_contents, dataset, used, classes))
                _note_labels(rows.info, split, census, log)
            if form.target == VALUES:
                note_values(rows.info, split, values, log)
            taken.add(split, tally)
            _note_pictures(rows.info, (split, source), tally, copies, dataset.root, log)
            findings = dataset.take_findings()
            if findings is not None:
                _note_pairs(rows.info, split, findings, log)


def _note_pictures(
    info: dict[str, Any],
    splits: tuple[str, str],
    tally: SplitTally,
    copies: list[LeftOut],
    root: Path,
    log: Callable[[str], None],
) -> None:
    """Log and record how many photographs of a split are used, and which are left out and why.

    ``splits`` are the prepared split and the data set's split that it is taken from.
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
    log(f"{split}: " + ", ".join(f"{number} {what}" for what, number in counts.items()))


def _note_labels(info: dict[str, Any], split: str, census: Census, log: Callable[[str], None]) -> None:
    """Log and record the shares of the classes, and the annotations that cannot be painted."""
    info.setdefault("labels", {})[split] = census.info()
    info.setdefault("faulty_annotations", []).extend(census.listed(split))
    for line in census.lines():
        log(f"{split}: {line}")


def _note_pairs(info: dict[str, Any], split: str, findings: Findings, log: Callable[[str], None]) -> None:
    """Log and record what was found in the pairs of a split."""
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
    """Yield the photographs that can be used, one after the other; note in ``tally`` which cannot, and why."""
    for record in tqdm(records, unit=" pictures", disable=None, leave=False):
        tally.seen.append(record)
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
