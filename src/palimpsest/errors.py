"""The errors that a user can mend: one line each that says what is wrong, where, and how to mend it."""

import difflib
from collections.abc import Iterable


class PalimpsestError(Exception):
    """Base of all errors that end a command with one line and no traceback."""

    def __str__(self) -> str:
        return printable(super().__str__())


class SettingsError(PalimpsestError):
    """A setting is unknown, out of range or contradicts another; names the key's full path."""


class DataError(PalimpsestError):
    """A picture, an annotation or a weights file is missing, unreadable or wrong; names the file."""


class StorageError(PalimpsestError):
    """A stored network or task is damaged, or belongs to another network; says what was expected and found."""


class TrainingError(PalimpsestError):
    """Training cannot go on, as with a loss that is not a number."""


def printable(text: str) -> str:
    """The text, with what is not Unicode in it escaped, as a Latin-1 file name: any file and terminal takes it."""
    return text.encode("utf-8", "backslashreplace").decode()


def known(name: str, names: Iterable[str], what: str) -> str:
    """The name, if it is one of these.

    Raises:
        SettingsError: it is not; says which is nearest.
    """
    choices = list(names)
    if name not in choices:
        raise SettingsError(f"there is no {what} {name!r}{nearest(name, choices)}")
    return name


def nearest(name: str, names: Iterable[str]) -> str:
    """`; did you mean …?` with the most similar of the names, or all of them where none is similar."""
    choices = list(map(str, names))
    by_lower = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.45)
    return f"; did you mean {by_lower[close[0]]!r}?" if close else f"; there are {', '.join(choices)}"
