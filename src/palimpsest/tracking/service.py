"""Process that records the runs of all jobs of a pipeline, so that only one process imports MLflow.

The import and the connection to the database take three seconds of CPU time, half of a job's start. The pipeline
starts the service (`start_service`), and its jobs use it (`open_store`). A job without a service, such as a job on
another host or one started by hand, imports MLflow itself.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from palimpsest.errors import PalimpsestError, StorageError
from palimpsest.tracking.server import VARIABLE, server_uri

if TYPE_CHECKING:
    from palimpsest.tracking.store import RunStore

ADDRESS = "PALIMPSEST_TRACKING"
"""Environment variable with the socket of the service, which only the same user can open, and its folder."""

_services: list["subprocess.Popen[str]"] = []
"""Services of this process. A service ends when its standard input is closed, which happens with this process."""


INTERVAL = 15.0
"""Seconds between two transfers of runs to the tracking server."""


def start_service(uri: str | None = None) -> None:
    """Start the service of this process and set `ADDRESS` for its jobs.

    If ``uri`` is given, the service also sends the runs to this tracking server. The service is in a session of its
    own, so that the end of a terminal does not end it before its jobs.
    """
    command = [sys.executable, "-m", "palimpsest.tracking.service", str(INTERVAL)]
    pipe = subprocess.PIPE
    environment = {**os.environ, VARIABLE: uri or ""}  # no argument, since addresses may contain a password
    service = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True, env=environment)
    assert service.stdout is not None
    os.environ[ADDRESS] = (
        f"{service.stdout.readline().rstrip()}:{Path.cwd()}"  # no socket if the service has failed
    )
    _services.append(service)


@contextmanager
def open_store() -> Iterator["RunStore"]:
    """Yield a store of runs: of the service, or of this process if no service of this folder answers."""
    remote = connect()
    if remote is None:
        from palimpsest.tracking.store import RunStore  # noqa: PLC0415 - imports MLflow

        yield RunStore()
        return
    with remote.connection, remote.worker:  # a call that a signal interrupted is completed first
        yield cast("RunStore", remote)


def connect() -> "RemoteStore | None":
    """Return a connection to the service of the working directory; None if no such service answers."""
    address, _, folder = os.environ.get(ADDRESS, "").partition(":")
    if folder != str(Path.cwd()):
        return None
    with suppress(OSError):
        return RemoteStore(address)
    return None


class RemoteStore:
    """`RunStore` in the process of the service. Its methods raise the errors that the store raises there."""

    def __init__(self, address: str) -> None:
        """Connect to the service.

        Raises:
            OSError: no service answers at this address.
        """
        self.connection = Client(address, family="AF_UNIX")
        self.worker = ThreadPoolExecutor(max_workers=1)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(self.call, name)

    def call(self, name: str, *arguments: Any) -> Any:
        """Return the result of a method of the store.

        The thread completes a call that a signal interrupts, so that the next call gets its own answer.

        Raises:
            StorageError: the database cannot be written, or the service has ended.
        """
        result, error = self.worker.submit(self.exchange, name, arguments).result()
        if error is not None:
            raise error
        return result

    def exchange(self, name: str, arguments: tuple[Any, ...]) -> tuple[Any, Exception | None]:
        """Send a call to the service; return its result and its error."""
        try:
            self.connection.send((name, arguments))
            return cast("tuple[Any, Exception | None]", self.connection.recv())
        except (EOFError, OSError) as error:
            message = f"the process that records runs has ended ({error!r}); run the same command again"
            return None, StorageError(message)


def serve(connection: Connection) -> None:
    """Answer the calls of one job until it disconnects."""
    from palimpsest.tracking.store import RunStore  # noqa: PLC0415 - imports MLflow, once a job needs it

    store = None
    with connection, suppress(EOFError, OSError):
        while True:
            name, arguments = connection.recv()
            answer: tuple[Any, Exception | None]
            try:
                store = store or RunStore()
                answer = getattr(store, name)(*arguments), None
            except Exception as error:  # the job raises it
                answer = None, error
            connection.send(answer)


def accept(listener: Listener, threads: list[threading.Thread]) -> None:
    """Start a thread for every job that connects."""
    while True:
        thread = threading.Thread(target=serve, args=[listener.accept()], daemon=True)
        thread.start()
        threads.append(thread)


def send_regularly(uri: str, interval: float, ended: threading.Event) -> None:
    """Send the runs to a tracking server every ``interval`` seconds until the pipeline has ended.

    Errors are ignored: the next transfer sends what is missing, and the pipeline reports the error of the last one.
    """
    from palimpsest.tracking.store import RunStore  # noqa: PLC0415 - imports MLflow

    while not ended.wait(interval):
        with suppress(PalimpsestError):
            RunStore().send(uri)


def main() -> None:
    """Serve jobs until the process that started the service has ended and all jobs have disconnected.

    Signals that end the jobs are ignored, because the jobs record their ends.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with Listener(family="AF_UNIX") as listener:
        threads: list[threading.Thread] = []
        threading.Thread(target=accept, args=[listener, threads], daemon=True).start()
        uri, ended = server_uri(None), threading.Event()
        if uri is not None:
            threading.Thread(target=send_regularly, args=[uri, float(sys.argv[1]), ended], daemon=True).start()
        print(listener.address, flush=True)
        sys.stdin.read()
        ended.set()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()
