"""Errors that a user can fix. Each is one line: what is wrong, where, and what to do."""

import difflib
import errno
from collections.abc import Iterable
from pathlib import Path

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Error numbers of a full disk, an exhausted quota and a file over the size limit."""

FULL_DATABASE = "database or disk is full"
"""SQLite's message for a full disk, which SQLAlchemy and MLflow repeat; a quota gives SQLITE_IOERR_WRITE."""


class PalimpsestError(Exception):
    """Base of all errors that end a command with one line and no traceback."""

    def __str__(self) -> str:
        return printable(super().__str__())


class SettingsError(PalimpsestError):
    """Error in the settings: an unknown key, a bad value or a contradiction. The message names the key's path."""


class DataError(PalimpsestError):
    """Error in a picture, an annotation or a weights file. The message names the file."""


class LabelError(DataError):
    """Error in a prepared label map: a label is no class of the task. The caller adds the name of the task."""


class StorageError(PalimpsestError):
    """Error of a file that cannot be written, or of a stored task that is damaged or belongs to another network."""


class TrainingError(PalimpsestError):
    """Error that stops a training, such as a loss that is not finite. The message names the setting to change."""


class CodeError(PalimpsestError):
    """Error in the code: invalid Python, or a network that breaks its contract. The message names file or class."""


def printable(text: str) -> str:
    """Return a text that UTF-8 can encode: surrogates, as from a Latin-1 file name, become escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def no_space(error: BaseException | None) -> bool:
    """Return True if an error or one of its causes is a lack of disk space; False for None."""
    while error is not None:
        if (
            (isinstance(error, OSError) and error.errno in FULL)
            or getattr(error, "sqlite_errorname", None) == "SQLITE_IOERR_WRITE"
            or FULL_DATABASE in str(error)
        ):
            return True
        error = error.__cause__ or error.__context__
    return False


def failure_message(
    path: Path | str,
    error: BaseException,
    action: str = "written",
    advice: str = "correct this and run the same command again",
) -> str:
    """Return the message `<path>: cannot be <action> (<reason>); <advice>`.

    On a full disk the advice is to make room. ``action`` is a participle.
    """
    reason = getattr(error, "strerror", None) or getattr(error, "orig", None) or error  # of the system, of SQLite
    line = str(reason).partition("\n")[0]
    if no_space(error):
        advice = "make room and run the same command again"
    return f"{path}: cannot be {action} ({line}); {advice}"


def user_message(error: BaseException) -> str | None:
    """Return the message of an error that the user can fix; None for an error that is a bug."""
    if isinstance(error, PalimpsestError):
        return str(error)
    if isinstance(error, UnicodeEncodeError) and "utf" not in error.encoding:  # a file name
        escaped = error.object.encode("ascii", "backslashreplace").decode()
        return f"{escaped}: cannot be written in this locale ({error.encoding}); set PYTHONUTF8=1 and run it again"
    if no_space(error):
        name = getattr(error, "filename2", None) or getattr(error, "filename", None)
        return failure_message(name or "a file", error)
    return None


def check_name(name: str, names: Iterable[str], noun: str) -> str:
    """Return ``name`` if it is one of ``names``; ``noun`` is the kind of thing that they name, for the message.

    Raises:
        SettingsError: ``name`` is unknown; the message proposes the nearest name.
    """
    choices = list(names)
    if name not in choices:
        raise SettingsError(unknown_name(name, choices, noun))
    return name


def unknown_name(name: object, names: Iterable[str], noun: str, key: str = "") -> str:
    """Return the message `unknown <noun> '<name>' in <key>; <advice>` for a name that is not one of ``names``.

    For None, no name at all, the message is `missing; <advice>`. ``key`` is the setting with the name; empty if the
    caller puts it before the message.
    """
    if name is None:
        return f"missing{nearest('', names)}"
    return f"unknown {noun} {name!r}{f' in {key}' if key else ''}{nearest(str(name), names)}"


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the advice for an unknown name: `; did you mean …?` with the most similar of ``names``.

    If none is similar, the advice is to choose from all of them.
    """
    choices = list(map(str, names))
    if not choices:
        return "; none is defined"
    by_lower = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.45)
    return f"; did you mean {by_lower[close[0]]!r}?" if close else f"; choose from {', '.join(choices)}"
