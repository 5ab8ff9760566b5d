"""Data set whose pictures and targets are listed in a table: CSV (UTF-8, with a header) or Parquet.

Paths are relative to the root of the data set. Targets are label maps, pictures, or files with one number per pixel
(`palimpsest.data.values`), depending on the task.
"""

import os
import typing
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from palimpsest.data.census import Labels
from palimpsest.data.checks import DatasetChecks
from palimpsest.data.pictures import (
    DEFAULT_LIMITS,
    IGNORED,
    Frame,
    Limits,
    Pixels,
    Record,
    read_frame,
    read_picture,
    read_scaled,
    resize_and_crop,
    turn_labels,
)
from palimpsest.data.reader import DatasetReader, Sample, SampleSpec, labelled_sample, picture_sample
from palimpsest.data.settings import DatasetSettings
from palimpsest.data.table_settings import TableDatasetSettings
from palimpsest.data.targets import PICTURE, VALUES
from palimpsest.data.values import check_shape, read_numbers, read_values
from palimpsest.errors import DataError, SettingsError, printable, unknown_name


class TableFolder(DatasetReader):
    """Reader of a folder of pictures with one table, or one table per split."""

    def __init__(self, root: Path, settings: TableDatasetSettings) -> None:
        """Check that ``root`` is a folder; its tables are read when a method needs them.

        Raises:
            DataError: there is no such folder.
        """
        self.root = Path(root)
        self._settings = settings
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder; correct the root of the data set")

    @classmethod
    def of(cls, settings: DatasetSettings, root: Path, limits: Limits = DEFAULT_LIMITS) -> typing.Self:
        """Return the reader of the data set in the folder ``root``; see `DatasetReader.of`."""
        assert isinstance(settings, TableDatasetSettings)
        return cls(root, settings)

    @property
    def categories(self) -> dict[str, str]:
        """Categories in the setting `labels`, each with its own name as supercategory."""
        return {name: name for name in self._settings.labels}

    @property
    def splits(self) -> list[str]:
        """Names of the splits, in the order of the tables; one table for all splits is read for them.

        Raises:
            DataError: the one table is missing, damaged or lacks a column.
        """
        tables = self._settings.table
        if isinstance(tables, str):
            return [*self._table(tables)[self._settings.columns.split].unique()]
        return [*tables]

    def check_tables(self) -> None:
        """Read every table.

        Raises:
            DataError: a table is missing, damaged or lacks a column.
        """
        tables = self._settings.table
        for name in [tables] if isinstance(tables, str) else tables.values():
            self._table(name)

    def records(self, split: str) -> list[Record]:
        """Return the pictures of a split, in the order of the table.

        Rows without a picture or target, and with paths outside the root, are records with a `fault`.

        Raises:
            DataError: the split does not exist, or the table is missing, damaged or lacks a column.
        """
        if split not in self.splits:
            raise DataError(f"{self.root}: {unknown_name(split, self.splits, 'split', 'tasks.NAME.splits')}")
        columns, tables = self._settings.columns, self._settings.table
        table = self._table(tables if isinstance(tables, str) else tables[split])
        if isinstance(tables, str):
            table = table[table[columns.split] == split]
        pictures = table[columns.picture]
        targets = table[columns.target] if columns.target else [None] * len(table)
        return [self._record(row, *paths) for row, *paths in zip(table.index, pictures, targets, strict=True)]

    def read(self, record: Record, spec: SampleSpec) -> Sample:
        """Return the centred squares of a picture and its target; only the picture if ``spec.target`` is None.

        Raises:
            DataError: a file is missing or unreadable, or picture and target differ in shape.
        """
        if spec.target is None:
            return picture_sample(record, spec)
        assert record.target is not None
        if spec.target not in (PICTURE, VALUES):
            return labelled_sample(record, spec, self.read_labels)
        picture, frame = read_scaled(record.picture, spec.size, spec.limits)
        if spec.target == VALUES:
            return read_values(record.target, picture, frame, spec)
        target = read_picture(record.target, spec.limits)
        check_shape(record.target, target.shape, frame)
        return Sample(picture, resize_and_crop(target, spec.size, labels=False))

    def read_labels(
        self, record: Record, class_of: Mapping[str, int], other_label: int, frame: Frame | None = None
    ) -> Labels:
        """Return the label map of a record, before resizing, with the label of its class at each pixel.

        Numbers that no class has become ``other_label``; 0 stays background unless a category has it, and 255 stays
        ignored. ``frame`` is the frame of the picture; None if the caller has not read it.

        Raises:
            DataError: the map is unreadable, differs in size from its picture, or has numbers outside 0 to 255.
        """
        numbers = self._numbers(record)
        label_of = np.full(256, other_label, np.uint8)
        label_of[0], label_of[IGNORED] = 0, IGNORED
        for name, number in self._settings.labels.items():
            label_of[number] = class_of.get(name, other_label)
        frame = frame or read_frame(record.picture)
        return Labels(turn_labels(label_of[numbers], frame, str(record.target)))

    def contents(self, records: Sequence[Record], categories: Sequence[str]) -> str:
        """Return a text for a message: the numbers in the label maps of ``records``, those of ``categories``."""
        counts = np.zeros(256, np.int64)
        for record in records:
            counts += np.bincount(self._numbers(record).ravel(), minlength=256)
        numbers = ", ".join(f"{number} ({counts[number] / counts.sum():.2%})" for number in np.flatnonzero(counts))
        expected = ", ".join(f"{self._settings.labels[name]} for {name!r}" for name in categories)
        return f"the label maps contain the numbers {numbers}; labels has {expected}"

    def _numbers(self, record: Record) -> Pixels:
        assert record.target is not None
        numbers = read_numbers(record.target, DEFAULT_LIMITS)
        labels: Pixels = numbers.astype(np.uint8)
        if not np.array_equal(labels, numbers):
            raise DataError(f"{record.target}: has numbers other than 0 to 255; correct the label map")
        return labels

    def _record(self, row: int, picture: str, target: str | None) -> Record:
        fault = None
        if not picture or target == "":
            fault = f"row {row + 1} of the table lacks a {'target' if picture else 'picture'}; fill it in"
        paths = [self._below_root(path) for path in (picture, target or "")]
        for text, path in zip((picture, target), paths, strict=True):
            if path is None:
                fault = f"row {row + 1} of the table: {text} is outside the data set; move the file below its root"
        picture_path, target_path = paths
        source = (picture_path or Path(picture)).as_posix()
        return Record(
            printable(source),
            self.root / source,
            source,
            fault,
            self.root / target_path if target and target_path else None,
        )

    def _below_root(self, path: str) -> Path | None:
        """Return a path in the table, made relative to the root; None if it is outside the root."""
        root = Path(os.path.abspath(self.root))  # noqa: PTH100 (links are kept)
        whole = Path(os.path.abspath(root / path))  # noqa: PTH100
        return whole.relative_to(root) if whole.is_relative_to(root) else None

    @cache  # noqa: B019 (a reader lives as long as its job)
    def _table(self, name: str) -> pd.DataFrame:
        """Return the columns of a table file that the settings name, as text; empty cells become empty text.

        Raises:
            DataError: the file is missing or no table, or lacks a column.
        """
        path, columns = self.root / name, [column for column in dict(self._settings.columns).values() if column]
        try:
            if path.suffix.lower() == ".parquet":
                table = pd.read_parquet(path)
            else:
                table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        except FileNotFoundError:
            raise DataError(f"{path}: no such file; correct table in the data set's settings") from None
        except Exception as error:  # pandas and pyarrow raise many types of errors
            raise DataError(f"{path}: cannot be read as a table ({error}); save it as CSV or Parquet") from error
        for column in columns:
            if column not in table.columns:
                names = [str(name) for name in table.columns]
                raise DataError(f"{path}: {unknown_name(column, names, 'column', 'columns')}")
        return table[columns].reset_index(drop=True).fillna("").astype(str)


class TableChecks(DatasetChecks[TableDatasetSettings]):
    """Checks of tables before any work."""

    def splits_in_folder(self, labelled: bool) -> Collection[str]:
        """Return the splits that the tables in the user's folder name; this reads the tables.

        Raises:
            SettingsError: a table is missing or damaged, or lacks a column.
        """
        assert self.settings.root is not None
        try:
            folder = TableFolder(self.settings.root, self.settings)
            folder.check_tables()
            return folder.splits
        except DataError as error:
            raise SettingsError(f"{self.key}.table: {error}") from error
