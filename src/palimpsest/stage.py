"""Entry point of the pipeline's jobs: reads settings, configures the log, reports errors as one line."""

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
from palimpsest.errors import PalimpsestError, user_message
from palimpsest.interruption import is_interruption, take_interruptions
from palimpsest.layout import Layout
from palimpsest.output import survive_any_output
from palimpsest.params import merge_settings, read, resolve
from palimpsest.processes.file_locks import hold_log
from palimpsest.processes.parent import end_with_parent, mark_parent
from palimpsest.processes.ranks import is_rank_zero
from palimpsest.settings import Settings
from palimpsest.storage.atomic import writing
from palimpsest.variants import vary

SNAPSHOT = "PALIMPSEST_SETTINGS"
"""Environment variable that passes the settings of the pipeline to its jobs."""


def pass_settings(content: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
    """Set the environment variables of the jobs that this process starts: these settings and this Python.

    ``content`` is that of `params.yaml`, ``overrides`` those of the command line.

    A job that read `params.yaml` itself might read a later edit. Snakemake would then record its output with
    settings that the job did not use.
    """
    for name, value in machine.KEEP_MEMORY.items():
        os.environ.setdefault(name, value)
    mark_parent()
    os.environ[SNAPSHOT] = json.dumps({"content": content, "overrides": overrides})
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def passed_settings(overrides: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the content of `params.yaml` and the overrides of its settings, with ``overrides`` added.

    In a job of the pipeline they are those that `pass_settings` passed; in a job started by hand, the file is read.
    """
    text = os.environ.get(SNAPSHOT)
    snapshot = json.loads(text) if text else {"content": read(Path("params.yaml")), "overrides": {}}
    return snapshot["content"], merge_settings(snapshot["overrides"], overrides)


def settings_of_job(overrides: Mapping[str, Any], variant: str | None = None) -> Settings:
    """Return the settings of a job: those of the preset, or those of a ``variant``."""
    content, merged = passed_settings(overrides)
    return resolve(content, merged) if variant is None else vary(content, merged, variant)


Main = Callable[[Settings, Layout, argparse.Namespace], None]
"""Function of one stage: does the work for the settings, the paths and the options of the command line."""


def run(main: Main, description: str | None, *arguments: str) -> None:
    """Run one stage of the pipeline as a command.

    ``description`` is the text of the help; ``arguments`` are the names of the stage's options, as ``seed`` for
    ``--seed``.

    An error that the user can fix ends the command with exit status 1 and one line on stderr; the log has the
    traceback.
    """
    survive_any_output()
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in arguments:
        parser.add_argument(f"--{name}", required=True, type=int if name == "seed" else str)
    parser.add_argument("--config", type=parse_settings, default={}, help="overrides of params.yaml, as JSON")
    parser.add_argument("--variant", help="variant of a sweep or ablation (default: the preset itself)")
    parser.add_argument("--log", type=Path, help="log file (default: stderr)")
    options = parser.parse_args()
    take_interruptions()
    try:
        end_with_parent()
        if is_rank_zero():
            mark_parent()
        configure_log(options.log)
        settings = settings_of_job(options.config, options.variant)
        main(settings, settings.layout, options)
    except (KeyboardInterrupt, Exception) as error:
        if is_interruption(error):
            fail("interrupted; the next run resumes from the last checkpoint")
        message = user_message(error)
        log_traceback()
        if message is None:
            raise
        fail(message)


def parse_settings(text: str) -> dict[str, Any]:
    """Return the mapping in a JSON text; argparse turns a `ValueError` into its own message.

    Raises:
        ValueError: the text is not JSON, or is another value.
    """
    settings = json.loads(text)
    if not isinstance(settings, dict):
        raise ValueError("not a mapping of settings")
    return settings


def log_traceback() -> None:
    """Write the traceback of the current error to the log; do nothing if the log cannot be written."""
    with suppress(PalimpsestError):
        logging.getLogger("palimpsest").debug("the job has failed", exc_info=True)


def fail(message: str) -> None:
    """Write one error line to the log and to stderr, and exit with status 1."""
    logger = logging.getLogger("palimpsest")
    if logger.handlers:  # empty if the log could not be opened
        with suppress(PalimpsestError):  # an error of the log must not hide the error that ends the job
            logger.error(message)
    if all(isinstance(handler, logging.FileHandler) for handler in logger.handlers):
        print(f"error: {message}", file=sys.stderr)
    sys.exit(1)


class LogFile(logging.FileHandler):
    """Log file whose write errors end the job. A plain handler would print a traceback for every line."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        self.path = path

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line.

        Raises:
            StorageError: the file cannot be written, as with no space left.
        """
        assert self.stream is not None
        with writing(self.path):
            self.stream.write(self.format(record) + self.terminator)
            self.flush()


def configure_log(path: Path | None) -> None:
    """Write the log to a file, or to stderr without one; lines are appended to an existing file.

    Only the first process of a training writes the file; the other processes print warnings to stderr.
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
