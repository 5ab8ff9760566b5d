"""Formats of data sets: the one table in which a new format is entered."""

from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Annotated

from pydantic import BeforeValidator, SerializeAsAny

from palimpsest.data.settings import DatasetSettings
from palimpsest.data.targets import Target, TargetName
from palimpsest.errors import nearest


@dataclass(frozen=True)
class Format:
    """Reader, settings, checks and generator of one format, each as ``module:name``, and its targets."""

    reader: str
    """A `palimpsest.data.reader.DatasetReader`; imported when a data set is opened and not before."""
    targets: tuple[TargetName, ...]
    """Targets that a data set of this format has beside its pictures; the pictures alone serve every format."""
    settings: str = "palimpsest.data.settings:DatasetSettings"
    checks: str = "palimpsest.data.checks:DatasetChecks"
    """A `palimpsest.data.checks.DatasetChecks`, which the workflow makes before any work and no job imports."""
    generator: str | None = None
    """A function of folder, number of pictures by split, size and seed, for ``source: generated``."""

    def serves(self, target: Target | None) -> bool:
        """Return whether a data set of this format has targets of a form."""
        return target is None or target.name in self.targets

    @property
    def paths(self) -> list[str]:
        """All ``module:name`` of the format that jobs import."""
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
    ),
    "table": Format(
        reader="palimpsest.data.table:TableFolder",
        targets=("labels", "picture", "values"),
        settings="palimpsest.data.table_settings:TableDatasetSettings",
        checks="palimpsest.data.table:TableChecks",
    ),
}


def formats_with(target: Target | None) -> list[str]:
    """Return the names of the formats that have targets of a form."""
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
        problem = "none is given" if name is None else f"there is no format {name!r}"
        raise ValueError(f"format: {problem}{nearest(str(name), FORMATS)}")
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
