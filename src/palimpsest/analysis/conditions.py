"""Conditions of a run beside its tables: pictures, steps of training, machine, precision, libraries and commit."""

import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from palimpsest.errors import DataError
from palimpsest.layout import making_command

LIBRARIES = ("torch", "torchvision", "numpy", "scikit-image")
"""Libraries that train the networks or compute the metrics."""


def library_versions() -> dict[str, str]:
    """Return the installed versions of `LIBRARIES` by name."""
    return {name: version(name) for name in LIBRARIES}


def collect_conditions(
    origins: Iterable[Path], prepared: Mapping[str, Path], steps: Mapping[str, int]
) -> dict[str, Any]:
    """Return the content of `conditions.json`.

    origins: files `origin.json` of all measurements. prepared: `info.json` of the prepared arrays, by task.
    steps: training steps by task, and by training of a base network.

    Content: `pictures` → task → side in pixels, number of pictures by split, and fraction of the pixels of the
    validation split that are ignored; `steps`, as given; `measured`, `trained` → the machines that measured and
    trained, each as in `measuring_conditions`; `trained_in` → precisions of the trainings; `commits`; `libraries` →
    versions of `LIBRARIES` in the measurements.

    Raises:
        DataError: a file is missing or damaged.
    """
    contents = [load_json(path) for path in origins]
    measured = [content["conditions"] for content in contents]
    trained = [machine for content in contents for machine in content.get("trained_on", {}).values()]
    libraries = [content.get("libraries", {}) for content in contents]
    precisions = {precision for content in contents for precision in content.get("trained_in", {}).values()}
    return {
        "pictures": {task: _pictures(load_json(path)) for task, path in prepared.items()},
        "steps": dict(steps),
        "measured": _without_repetition(measured),
        "trained": _without_repetition(trained),
        "trained_in": sorted(precisions),
        "commits": sorted({content["commit"] for content in contents}),
        "libraries": {
            name: sorted({versions[name] for versions in libraries if name in versions}) for name in LIBRARIES
        },
    }


def _without_repetition(machines: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    return [machine for index, machine in enumerate(machines) if machine not in machines[:index]]


def _pictures(info: Mapping[str, Any]) -> dict[str, float]:
    counts = {split: entry["pictures"] for split, entry in info["splits"].items()}
    ignored = info.get("labels", {}).get("val", {}).get("ignored", 0.0)
    return {"side": info["size"], **counts, "ignored": ignored}


def load_json(path: Path) -> Any:
    """Return the content of a file of JSON, such as `conditions.json`.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: is missing or damaged; delete it and run `{making_command(path)}`") from error


PRECISIONS = {"32-true": "float32", "bf16-mixed": "bfloat16"}
"""Number format of a training by the value of `training.precision`."""


def describe_conditions(conditions: Mapping[str, Any]) -> str:
    """Return the content of `conditions.json` as sentences for pages."""
    pictures = conditions["pictures"]
    sides = " and ".join(f"{side} × {side}" for side in sorted({entry["side"] for entry in pictures.values()}))
    counts = ", ".join(f"{entry['val']:,} for {task}" for task, entry in pictures.items())
    ignored = ", ".join(
        f"{entry['ignored']:.1%} for {task}" for task, entry in pictures.items() if entry["ignored"]
    )
    steps = ", ".join(f"{count:,} for {training}" for training, count in conditions["steps"].items())
    measured, trained = (
        "; ".join(dict.fromkeys(map(_machine, conditions[key]))) for key in ("measured", "trained")
    )
    elsewhere = "" if trained == measured else f" on {trained or 'unknown machines'}"
    formats = " and ".join(PRECISIONS.get(name, name) for name in conditions["trained_in"])
    libraries = ", ".join(f"{name} {' and '.join(used)}" for name, used in conditions["libraries"].items() if used)
    commits = ", ".join(commit[:7] for commit in conditions["commits"]) or "not recorded"
    return " ".join(
        [
            f"Measured on whole pictures of {sides} pixels of the validation split: {counts}.",
            f"Pixels ignored there: {ignored}." if ignored else "No pixels are ignored.",
            f"Steps of training: {steps}.",
            f"Trained in {formats or 'unknown precision'}{elsewhere} and measured in float32 on {measured}; "
            f"{libraries}; commit {commits}.",
        ]
    )


def _machine(conditions: Mapping[str, str]) -> str:
    """Return a machine as text: the card, or processor, instruction set and threads."""
    if "processor" not in conditions:
        return f"{conditions['device']} (CUDA {conditions['cuda']})"
    threads = conditions["threads"]
    return f"{conditions['processor']} ({conditions['instructions']}, {threads} thread{'s' * (threads != '1')})"
