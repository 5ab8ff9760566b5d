"""Exit status of a subcommand, and the one line on stderr about each problem."""

import importlib.metadata
import json
import math
import sys
import traceback
from collections.abc import Iterator, Mapping

from palimpsest.errors import PalimpsestError, user_message

DONE, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130
"""Exit status: success, failure, wrong usage, Ctrl-C."""

debug = False
"""True after the option `--debug`: errors show a traceback."""


class UsageError(PalimpsestError):
    """Error in the arguments of the command."""


class ResumableInterruptionError(PalimpsestError):
    """Ctrl-C in a command that can go on later; the message says how."""


def message_of(error: Exception) -> str:
    """Return the message of an error for the user; for an unexpected error, with the error's type.

    A missing library of an extra of the package is no unexpected error.
    """
    if isinstance(error, ModuleNotFoundError) and (extra := extra_of(str(error.name))):
        return f"{error.name}: is not installed; run: pip install 'palimpsest[{extra}]'"
    return user_message(error) or f"unexpected {type(error).__name__}: {error}; --debug shows where"


def extra_of(module: str) -> str | None:
    """Return the extra of the package that installs a module; None if no extra does."""
    from packaging.requirements import Requirement  # noqa: PLC0415 (takes a while)

    name = module.partition(".")[0].replace("_", "-")
    try:
        requirements = map(Requirement, importlib.metadata.requires("palimpsest") or [])
    except ModuleNotFoundError:  # run from its source, without an installation
        return None
    return next(
        (
            extra
            for requirement in requirements
            for extra in ("pipeline", "export")
            if requirement.name == name and requirement.marker and requirement.marker.evaluate({"extra": extra})
        ),
        None,
    )


def report(problem: str) -> None:
    """Print a problem as one line on stderr; after `--debug`, with the traceback of the current error before it."""
    if debug:
        traceback.print_exc()
    print("error:", " ".join(problem.split()), file=sys.stderr)


def json_text(content: object) -> str:
    """Return the JSON of a content; numbers that are not finite become null, because JSON has none of them."""
    return json.dumps(finite(content), indent=1, allow_nan=False)


def finite(content: object) -> object:
    """Return a content of dictionaries, lists and values, with None in place of numbers that are not finite."""
    if isinstance(content, Mapping):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def metric_lines(metrics: Mapping[str, float], errors: Mapping[str, float]) -> Iterator[str]:
    """Yield a line per metric, with its standard error if there is one: few pictures have none."""
    for name, value in metrics.items():
        deviation = f" ± {errors[name]:.4f}" if name in errors else ""
        yield f"{name:<24} {value:>12.4f}{deviation}"
