"""One encoder-decoder network that learns one image translation task after another and forgets none.

`open` opens a bundle, a file with a network and all its tasks.
"""

from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from palimpsest.bundle import Bundle

__version__ = "0.1.0"


def open(path: "Path | str") -> "Bundle":
    """Open a bundle, as `palimpsest bundle` writes it, and verify its checksums.

    Raises:
        palimpsest.errors.StorageError: the file is missing, damaged, of a newer format, or no bundle.
    """
    opened: Bundle = resolve_name("palimpsest.bundle:open_bundle")(path)  # by name: every job imports this module
    return opened
