"""The errors that a user can mend: one line each that says what is wrong, where, and how to mend it."""


class PalimpsestError(Exception):
    """Base of all errors that end a command with one line and no traceback."""


class SettingsError(PalimpsestError):
    """A setting is unknown, out of range or contradicts another; names the key's full path."""


class DataError(PalimpsestError):
    """A picture, an annotation or a weights file is missing, unreadable or wrong; names the file."""


class StorageError(PalimpsestError):
    """A stored network or task is damaged, or belongs to another network; says what was expected and found."""


class TrainingError(PalimpsestError):
    """Training cannot go on, as with a loss that is not a number."""
