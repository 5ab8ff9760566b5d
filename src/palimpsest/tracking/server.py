"""Address of the tracking server, and results and errors of sending runs to it, without an import of MLflow."""

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from palimpsest.errors import PalimpsestError
from palimpsest.layout import TRACKING_DATABASE
from palimpsest.tracking.database import address

VARIABLE = "MLFLOW_TRACKING_URI"
"""Environment variable of MLflow with the address of a tracking server."""


class ServerError(PalimpsestError):
    """Error of the tracking server. The runs are in `mlflow.db`, and a later call sends them."""


@dataclass
class Sent:
    """Number of runs, values of metrics and files that a call has sent."""

    runs: int = 0
    values: int = 0
    files: int = 0

    def __str__(self) -> str:
        return f"{self.runs} runs, {self.values} values, {self.files} files"


def server_uri(setting: str | None) -> str | None:
    """Return the address of the server that gets copies of all runs; None without one.

    ``setting`` is `tracking.uri`; the environment variable of MLflow has priority, since it belongs to one user and
    the setting to all. The address of the local database means no server.
    """
    uri = os.environ.get(VARIABLE) or setting
    return None if uri in (None, address(TRACKING_DATABASE), f"sqlite:///{TRACKING_DATABASE}") else uri


def shown(uri: str) -> str:
    """Return an address without user name and password, for messages."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if parts.username else uri
