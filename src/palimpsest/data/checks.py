"""Interface between the settings of a data set and the checks before any work (`palimpsest.preflight`)."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from palimpsest.data.settings import DatasetSettings
from palimpsest.errors import SettingsError, unknown_name

S = TypeVar("S", bound=DatasetSettings)


@dataclass
class DatasetChecks(Generic[S]):
    """Facts about a data set that follow from its settings, for checks before any work.

    The methods here return None, for unknown; the subclass of a format overrides them where it knows more.
    """

    settings: S
    key: str
    """Full path of the settings, as datasets.coco."""

    def check_names(self) -> None:
        """Check the names in the settings of splits to generate and of archives to download.

        Raises:
            SettingsError: a name is unknown or missing; names the key's full path.
        """

    def splits(self, labelled: bool) -> Collection[str] | None:
        """Return the names of the splits, with ``labelled`` of annotated splits; None if only files show them."""
        return None

    def splits_in_folder(self, labelled: bool) -> Collection[str] | None:
        """Return the names of the splits in the user's folder, which has to exist; None if its files show none.

        With ``labelled`` only annotated splits are listed.

        Raises:
            SettingsError: a file that lists pictures is missing or damaged; names the key's full path.
        """
        return None

    def split_name(self, name: str) -> str:
        """Return the spelling of a split's name in `splits`; formats that ignore case override this."""
        return name

    def categories(self) -> Mapping[str, str] | None:
        """Return the supercategory of each category; None if only files show the categories."""
        return None

    def drawn(self) -> frozenset[str] | None:
        """Return the categories that occur in generated pictures; None if all occur, or no picture is generated."""
        return None

    def check_known(self, setting: str, noun: str, names: Iterable[str], known: Collection[str]) -> None:
        """Check that the names in a setting of the data set are known; ``noun`` is what a name denotes.

        Raises:
            SettingsError: a name is unknown; the message has the nearest known one.
        """
        for name in names:
            if name not in known:
                raise SettingsError(f"{self.key}.{setting}: {unknown_name(name, known, noun)}")
