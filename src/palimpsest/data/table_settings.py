"""Settings of data sets in the format `table`."""

import typing
from typing import Annotated, Literal

from pydantic import Field, model_validator

from palimpsest.data.settings import DatasetSettings
from palimpsest.data.targets import LABELS, Target
from palimpsest.schema import ClassName, SettingsGroup


class Columns(SettingsGroup):
    """Names of the columns of a table."""

    picture: str = "picture"
    """Column with the paths of the pictures, relative to the root of the data set."""
    target: str | None = None
    """Column with the paths of the targets; None for a data set without targets, for kinds of tasks that need
    none."""
    split: str | None = None
    """Column with the names of the splits; None for one table per split."""


class TableDatasetSettings(DatasetSettings):
    """Pictures and targets listed in CSV or Parquet files."""

    format: Literal["table"]
    source: Literal["directory"]
    table: str | dict[str, str]
    """Path of the table below the root, if a column has the splits; otherwise the path of each split's table, as
    {train: train.csv, val: val.csv}."""
    columns: Columns = Columns()
    """Names of the columns."""
    labels: dict[ClassName, Annotated[int, Field(ge=0, le=254)]] = {}
    """Number of each category in label maps. 255 is ignored; 0 is background unless a category has it."""

    def unfit_for(self, target: Target | None) -> str | None:
        """Return a reason if no column of targets, or no number of a category, is set; None otherwise."""
        if target is not None and self.columns.target is None:
            return "no column has the targets; set columns.target"
        if target == LABELS and not self.labels:
            return "the numbers in its label maps have no names; set labels, as {road: 1, tree: 2}"
        return None

    @model_validator(mode="after")
    def _has_splits(self) -> typing.Self:
        if isinstance(self.table, str) and self.columns.split is None:
            raise ValueError(
                "columns.split: one table has all splits and needs a column with their names; set it, or give a "
                "table per split, as table: {train: train.csv, val: val.csv}"
            )
        if not isinstance(self.table, str) and self.columns.split is not None:
            raise ValueError("columns.split: each split has a table of its own; leave it out")
        return self
