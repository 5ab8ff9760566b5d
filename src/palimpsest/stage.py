"""What every job of the pipeline does first: read the settings, open its log, and fail in one clear line."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from palimpsest import machine
from palimpsest.errors import PalimpsestError, explained
from palimpsest.interruption import is_interruption, take_interruptions
from palimpsest.layout import Layout
from palimpsest.output import survive_any_output
from palimpsest.params import laid_over, read, resolve
from palimpsest.processes.file_locks import hold_log
from palimpsest.processes.parent import end_with_parent, mark_parent
from palimpsest.processes.ranks import is_rank_zero
from palimpsest.settings import Settings
from palimpsest.storage.atomic import writing
from palimpsest.sweeps import vary

SNAPSHOT = "PALIMPSEST_SETTINGS"
"""Environment variable in which the pipeline hands its jobs the settings it was started with."""


def hand_over(content: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
    """Have the jobs that this process starts run in this very environment, with these settings.

    A job that read `params.yaml` itself would see what has been edited since, and its output would be recorded
    under settings that it was not made with.
    """
    for name, value in machine.KEEP_MEMORY.items():
        os.environ.setdefault(name, value)
    mark_parent()
    os.environ[SNAPSHOT] = json.dumps({"content": content, "overrides": overrides})
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def handed(overrides: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The content of `params.yaml` and what is laid over it: as the pipeline handed them over, if it did."""
    snapshot = os.environ.get(SNAPSHOT)
    given = json.loads(snapshot) if snapshot else {"content": read(Path("params.yaml")), "overrides": {}}
    return given["content"], laid_over(given["overrides"], overrides)


def settings_of_job(overrides: Mapping[str, Any], variant: str | None = None) -> Settings:
    """The settings of a job; with ``variant`` those of one variant of a sweep."""
    content, over = handed(overrides)
    return resolve(content, over) if variant is None else vary(content, over, variant)


Main = Callable[[Settings, Layout, argparse.Namespace], None]


def run(main: Main, description: str | None, *arguments: str) -> None:
    """Run one stage as a command; ``arguments`` are the names it takes, as ``seed`` for ``--seed``.

    Exit status 1 and one line on stderr for what the user can mend; the log file has the traceback.
    """
    survive_any_output()
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in arguments:
        parser.add_argument(f"--{name}", required=True, type=int if name == "seed" else str)
    parser.add_argument("--config", type=settings_in, default={}, help="settings laid over params.yaml, as JSON")
    parser.add_argument("--variant", help="run it with what params.yaml says of this variant of a sweep")
    parser.add_argument("--log", type=Path, help="a file that keeps the log")
    options = parser.parse_args()
    take_interruptions()
    try:
        end_with_parent()
        if is_rank_zero():
            mark_parent()
        keep_log(options.log)
        settings = settings_of_job(options.config, options.variant)
        main(settings, settings.layout, options)
    except (KeyboardInterrupt, Exception) as error:
        if is_interruption(error):
            fail("interrupted; the next run goes on from the last checkpoint")
        message = explained(error)
        note_traceback()
        if message is None:
            raise
        fail(message)


def settings_in(text: str) -> dict[str, Any]:
    """The mapping that a text is in JSON; the parser refuses what makes this a `ValueError`."""
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("not a mapping of settings")
    return found


def note_traceback() -> None:
    """Keep the traceback of the error at hand in the log, as long as there is room for it."""
    with suppress(PalimpsestError):
        logging.getLogger("palimpsest").debug("the job has failed", exc_info=True)


def fail(message: str) -> None:
    """Say in one line what is wrong, in the log and on stderr, and end."""
    logger = logging.getLogger("palimpsest")
    if logger.handlers:  # none where the log could not even be opened
        with suppress(PalimpsestError):  # a log that cannot be written must not hide what came before
            logger.error(message)
    if all(isinstance(handler, logging.FileHandler) for handler in logger.handlers):
        print(f"error: {message}", file=sys.stderr)
    sys.exit(1)


class LogFile(logging.FileHandler):
    """A log that a job does not go on without; the library would print a traceback for every line."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        self.path = path

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line.

        Raises:
            StorageError: it cannot be written, as with no space left.
        """
        assert self.stream is not None
        with writing(self.path):
            self.stream.write(self.format(record) + self.terminator)
            self.flush()


def keep_log(path: Path | None) -> None:
    """Write the log to a file, or to stderr where none is given; a retry goes on in the same file.

    Of several processes that train together the first alone keeps it; the others say only what goes wrong.
    """
    handler: logging.Handler = logging.StreamHandler()
    if not is_rank_zero():
        handler.setLevel(logging.WARNING)
    elif path is not None:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            hold_log(path)
            handler = LogFile(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    logger = logging.getLogger("palimpsest")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if path is not None else logging.INFO)
    logger.propagate = False
