"""Interface between the settings of a data set and the checks before any work (`palimpsest.preflight`)."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from palimpsest.data.settings import DatasetSettings
from palimpsest.errors import SettingsError, nearest

S = TypeVar("S", bound=DatasetSettings)


@dataclass
class DatasetChecks(Generic[S]):
    """Facts about a data set that its settings imply; a format overrides what it knows."""

    settings: S
    key: str
    """Full path of the settings, as datasets.coco."""

    def check(self) -> None:
        """Check the settings against what can be generated or fetched.

        Raises:
            SettingsError: a name is unknown or missing; names the key's full path.
        """

    def splits(self, labelled: bool) -> Collection[str] | None:
        """Return the names of the splits, or of the annotated ones alone; None if they depend on the files."""
        return None

    def splits_in_folder(self, labelled: bool) -> Collection[str] | None:
        """Return the splits by the files in the user's folder, which exists; None if they are unknown.

        Raises:
            SettingsError: a file that lists pictures is missing or damaged; names the key's full path.
        """
        return None

    def split_name(self, name: str) -> str:
        """Return the form in which `splits` has the name of a split."""
        return name

    def categories(self) -> Mapping[str, str] | None:
        """Return the supercategory of each category; None if they depend on the files."""
        return None

    def drawn(self) -> frozenset[str] | None:
        """Return the categories that generated pictures show; None if they show all, or are not generated."""
        return None

    def refuse_unknown(self, setting: str, noun: str, names: Iterable[str], known: Collection[str]) -> None:
        """Refuse names in a setting of the data set that are not among the known ones.

        Raises:
            SettingsError: a name is unknown; the message has the nearest known one.
        """
        for name in names:
            if name not in known:
                raise SettingsError(f"{self.key}.{setting}: unknown {noun} {name!r}{nearest(name, known)}")
