"""What every job of the pipeline does first: read the settings, open its log, and fail in one clear line."""

import argparse
import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from palimpsest import liveness, machine
from palimpsest.errors import PalimpsestError
from palimpsest.layout import Layout
from palimpsest.params import laid_over, read, resolve, vary
from palimpsest.settings import Settings

SNAPSHOT = "PALIMPSEST_SETTINGS"
"""Environment variable in which the pipeline hands its jobs the settings it was started with."""


def hand_over(content: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
    """Have the jobs that this process starts run in this very environment, with these settings.

    A job that read `params.yaml` itself would see what has been edited since, and its output would be recorded
    under settings that it was not made with.
    """
    for name, value in machine.KEEP_MEMORY.items():
        os.environ.setdefault(name, value)
    liveness.mark_parent()
    os.environ[SNAPSHOT] = json.dumps({"content": content, "overrides": overrides})
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def settings_of_job(overrides: Mapping[str, Any], variant: str | None = None) -> Settings:
    """The settings that the pipeline handed over, or those of `params.yaml` for a job that is run by hand.

    With ``variant`` those of one variant of a sweep.
    """
    snapshot = os.environ.get(SNAPSHOT)
    handed = json.loads(snapshot) if snapshot else {"content": read(Path("params.yaml")), "overrides": {}}
    content, over = handed["content"], laid_over(handed["overrides"], overrides)
    return resolve(content, over) if variant is None else vary(content, over, variant)


Main = Callable[[Settings, Layout, argparse.Namespace], None]


def run(main: Main, description: str | None, *arguments: str) -> None:
    """Run one stage as a command; ``arguments`` are the names it takes, as ``seed`` for ``--seed``.

    Exit status 1 and one line on stderr for what the user can mend; the log file has the traceback.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in arguments:
        parser.add_argument(f"--{name}", required=True, type=int if name == "seed" else str)
    parser.add_argument("--config", type=settings_in, default={}, help="settings laid over params.yaml, as JSON")
    parser.add_argument("--variant", help="run it with what params.yaml says of this variant of a sweep")
    parser.add_argument("--log", type=Path, help="a file that keeps the log")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, interrupt)
    try:
        liveness.end_with_parent()
        keep_log(options.log)
        settings = settings_of_job(options.config, options.variant)
        main(settings, settings.layout, options)
    except PalimpsestError as error:
        logging.getLogger("palimpsest").debug("%s", traceback.format_exc())
        fail(str(error))
    except KeyboardInterrupt:
        fail("interrupted; the next run goes on from the last checkpoint")
    except Exception:
        logging.getLogger("palimpsest").exception("unexpected error")
        raise


def settings_in(text: str) -> dict[str, Any]:
    """The mapping that a text is in JSON; the parser refuses what makes this a `ValueError`."""
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("not a mapping of settings")
    return found


def interrupt(signum: int, frame: object) -> None:
    """End as by Ctrl-C, so that what is open is closed."""
    raise KeyboardInterrupt


def fail(message: str) -> None:
    """Say in one line what is wrong, in the log and on stderr, and end."""
    logger = logging.getLogger("palimpsest")
    logger.error(message)
    if any(isinstance(handler, logging.FileHandler) for handler in logger.handlers):
        print(f"error: {message}", file=sys.stderr)
    sys.exit(1)


def keep_log(path: Path | None) -> None:
    """Write the log to a file, or to stderr where none is given; a retry goes on in the same file."""
    handler: logging.Handler = logging.StreamHandler()
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        liveness.alone(path)
        handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    logger = logging.getLogger("palimpsest")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if path is not None else logging.INFO)
    logger.propagate = False
