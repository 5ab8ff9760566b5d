"""Formats of data sets: the one table in which a new format is entered."""

from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Annotated

from pydantic import BeforeValidator, SerializeAsAny

from palimpsest.data.settings import DatasetSettings
from palimpsest.data.targets import Target, TargetName
from palimpsest.errors import unknown_name


@dataclass(frozen=True)
class Format:
    """Row of `FORMATS`: one format of data sets. Classes are named as ``module:name``, and imported when needed."""

    reader: str
    """Subclass of `palimpsest.data.reader.DatasetReader`; imported when a data set is opened."""
    targets: tuple[TargetName, ...]
    """Types of targets that data sets of this format can have. Tasks without targets can use every format."""
    settings: str = "palimpsest.data.settings:DatasetSettings"
    """Class of the settings."""
    checks: str = "palimpsest.data.checks:DatasetChecks"
    """Class of the checks before any work; only the workflow imports it, no job."""
    needs_settings: bool = False
    """True if a folder alone does not determine the data set; then the command line cannot name it."""
    generator: str | None = None
    """Function that writes a data set with ``source: generated``; None if the format has none.

    Its parameters are folder, number of pictures by split, size and seed, as of `generate_coco`, and those of
    `GeneratedDatasetSettings.generator_options`.
    """

    def serves(self, target: Target | None) -> bool:
        """Return whether a data set of this format can have targets of a type; True for None, no targets."""
        return target is None or target.name in self.targets

    @property
    def paths(self) -> list[str]:
        """``module:name`` of reader, settings and generator, the parts that jobs import."""
        return [path for path in (self.reader, self.settings, self.generator) if path]


FORMATS: dict[str, Format] = {
    "coco": Format(
        reader="palimpsest.data.coco:CocoFolder",
        targets=("labels",),
        settings="palimpsest.data.public_settings:PublicDatasetSettings",
        checks="palimpsest.data.public_checks:CocoChecks",
        generator="palimpsest.data.generated:generate_coco",
    ),
    "voc": Format(
        reader="palimpsest.data.voc:VocFolder",
        targets=("labels",),
        settings="palimpsest.data.public_settings:PublicDatasetSettings",
        checks="palimpsest.data.public_checks:VocChecks",
        generator="palimpsest.data.generated:generate_voc",
    ),
    "paired": Format(
        reader="palimpsest.data.paired:PairedFolder",
        targets=("picture", "values"),
        settings="palimpsest.data.paired_settings:PairedDatasetSettings",
        checks="palimpsest.data.pair_folders:PairChecks",
        generator="palimpsest.data.generated_pairs:generate_pairs",
    ),
    "pictures": Format(
        reader="palimpsest.data.picture_folder:PictureFolder",
        targets=(),
        settings="palimpsest.data.picture_folder_settings:PictureFolderSettings",
    ),
    "table": Format(
        reader="palimpsest.data.table:TableFolder",
        targets=("labels", "picture", "values"),
        settings="palimpsest.data.table_settings:TableDatasetSettings",
        needs_settings=True,
        checks="palimpsest.data.table:TableChecks",
    ),
}


FOLDER_FORMATS = [name for name, row in FORMATS.items() if not row.needs_settings]
"""Names of the formats in which a folder is a data set without further settings."""


def formats_with(target: Target | None) -> list[str]:
    """Return the names of the formats that can have targets of a type; all for None, no targets."""
    return [name for name, row in FORMATS.items() if row.serves(target)]


def settings_of_format(name: str) -> type[DatasetSettings]:
    """Return the class of the settings of a data set in this format."""
    settings: type[DatasetSettings] = resolve_name(FORMATS[name].settings)
    return settings


def _checked(value: object) -> object:
    if isinstance(value, DatasetSettings) or not isinstance(value, dict):
        return value
    name = value.get("format")
    if name not in FORMATS:
        raise ValueError(f"format: {unknown_name(name, FORMATS, 'format')}")
    settings = settings_of_format(name)
    for key in value:
        owners = [row for row in FORMATS if key in settings_of_format(row).model_fields]
        if owners and name not in owners:
            raise ValueError(
                f"{key} is a setting of format {' and '.join(owners)}; leave it out for {name}, or give the data "
                "set a name that the preset does not have"
            )
    return settings.model_validate(value)


AnyDataset = Annotated[SerializeAsAny[DatasetSettings], BeforeValidator(_checked)]
"""Type of a field that holds the settings of one data set of any format."""
