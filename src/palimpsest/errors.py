"""The errors that a user can mend: one line each that says what is wrong, where, and how to mend it."""

import difflib
import errno
from collections.abc import Iterable
from pathlib import Path

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the system says of a full disk, a quota that is used up, and a file larger than is allowed."""

FULL_DATABASE = "database or disk is full"
"""What SQLite makes of that, and hence SQLAlchemy and MLflow; of a quota it says SQLITE_IOERR_WRITE."""


class PalimpsestError(Exception):
    """Base of all errors that end a command with one line and no traceback."""

    def __str__(self) -> str:
        return printable(super().__str__())


class SettingsError(PalimpsestError):
    """A setting is unknown, out of range or contradicts another; names the key's full path."""


class DataError(PalimpsestError):
    """A picture, an annotation or a weights file is missing, unreadable or wrong; names the file."""


class StorageError(PalimpsestError):
    """A file cannot be written; or a stored task is damaged or of another network: says what was expected."""


class TrainingError(PalimpsestError):
    """Training cannot go on, as with a loss that is not a number."""


class CodeError(PalimpsestError):
    """Code that cannot run: no valid Python, or a network that breaks its contract; names file or class."""


def printable(text: str) -> str:
    """The text, with what is not Unicode in it escaped, as a Latin-1 file name: any file and terminal takes it."""
    return text.encode("utf-8", "backslashreplace").decode()


def no_space(error: BaseException | None) -> bool:
    """Whether there was no room for what was to be written: says the error itself, or one that it came of."""
    while error is not None:
        if (
            (isinstance(error, OSError) and error.errno in FULL)
            or getattr(error, "sqlite_errorname", None) == "SQLITE_IOERR_WRITE"
            or FULL_DATABASE in str(error)
        ):
            return True
        error = error.__cause__ or error.__context__
    return False


def unwritten(path: Path | str, error: BaseException, what: str = "written") -> str:
    """`<path>: cannot be written (<why>)`, and what to do where that is for want of room."""
    why = getattr(error, "strerror", None) or getattr(error, "orig", None) or error  # the system's, SQLite's
    line = str(why).partition("\n")[0]
    mend = "; make room and run the same command again" if no_space(error) else ""
    return f"{path}: cannot be {what} ({line}){mend}"


def explained(error: BaseException) -> str | None:
    """The line that tells the user of an error; None of one that is no matter of the user's."""
    if isinstance(error, PalimpsestError):
        return str(error)
    if isinstance(error, UnicodeEncodeError) and "utf" not in error.encoding:  # of the name of a file
        escaped = error.object.encode("ascii", "backslashreplace").decode()
        return f"{escaped}: cannot be written in this locale ({error.encoding}); set PYTHONUTF8=1 and run it again"
    if no_space(error):
        name = getattr(error, "filename2", None) or getattr(error, "filename", None)
        return unwritten(name or "a file", error)
    return None


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
    """Return `; did you mean …?` with the most similar of the names, or all of them where none is similar."""
    choices = list(map(str, names))
    if not choices:
        return "; there is none"
    by_lower = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.45)
    return f"; did you mean {by_lower[close[0]]!r}?" if close else f"; there are {', '.join(choices)}"
