"""Report sections on pictures: samples of every task, embedded in the page, and the contents of the data."""

import base64
import io
import json
import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from palimpsest.errors import DataError
from palimpsest.report.summary import Matrix
from palimpsest.settings import FLOOR

EMBEDDED_BYTES = 4_000
"""Size of a file above which a picture is embedded as WebP of quality 90, to keep the page small."""

Context = dict[str, Any]


class Column(NamedTuple):
    """Column of the gallery."""

    group: str
    """Method; empty for the pictures that all methods share: input and target."""
    title: str
    method: str
    """Method in whose folder the files are."""
    files: Mapping[str, str]
    """Start of the names of the files, by task; without the tasks that have no picture in this column."""


def gallery(samples: Mapping[int, Path], matrix: Matrix, methods: Sequence[str]) -> Context:
    """Return the gallery for the template: a column per method, and a row per task and sample picture.

    samples: the folder `evaluation/seed-<n>` by seed; for each task, the first seed with any sample is used.
    Columns without any file are left out; `missing` of a task names those that should have one.

    Raises:
        DataError: a file is not a readable picture.
    """
    columns = columns_of(matrix, methods)
    tasks = [_task_samples(samples, columns, task) for task, _ in matrix.sequence]
    used = [index for index in range(len(columns)) if any(row[index] for task in tasks for row in task["rows"])]
    for task in tasks:
        task["rows"] = [[row[index] for index in used] for row in task["rows"]]
    groups = groupby(columns[index].group for index in used)
    return {
        "columns": [columns[index] for index in used],
        "groups": [(name, len(list(members))) for name, members in groups],
        "tasks": tasks,
        "several": any(len(task["rows"]) > 1 for task in tasks),
    }


def columns_of(matrix: Matrix, methods: Sequence[str]) -> list[Column]:
    """Return the columns of the gallery: input, target, the methods, and the trivial baseline.

    A method whose predictions a later training may have changed has two columns: right after training, and after
    the last task.
    """
    tasks = [task for task, _ in matrix.sequence]
    columns = [Column("", name, FLOOR, dict.fromkeys(tasks, name)) for name in ("input", "target")]
    for method in methods:
        afters = {task: matrix.afters(method, task) for task in tasks}
        learned = {task: f"after-{measured[0]}" for task, measured in afters.items() if measured}
        final = {
            task: f"after-{measured[-1]}"
            for task, measured in afters.items()
            if len(measured) > 1 and matrix.unchanged(method, task, measured[-1]) is not True
        }
        columns += [Column(method, "after training", method, learned)] if learned else []
        columns += [Column(method, "after the last task", method, final)] if final else []
    return [*columns, Column(FLOOR, "", FLOOR, dict.fromkeys(tasks, "floor"))]


def _task_samples(samples: Mapping[int, Path], columns: Sequence[Column], task: str) -> Context:
    """Return the rows of a task in the gallery, one per sample; a picture that does not exist is None."""
    listings: list[dict[int, Path]] = []
    seed = None
    for seed in samples:
        listings = [
            _samples(samples[seed] / column.method / "samples" / task, column.files[task])
            if task in column.files
            else {}
            for column in columns
        ]
        if any(listings):
            break
    return {
        "task": task,
        "seed": seed,
        "rows": [
            [
                _embedded(files[number])
                | {"alt": f"{task}, sample {number}: {f'{column.group} {column.title}'.strip()}"}
                if number in files
                else None
                for column, files in zip(columns, listings, strict=True)
            ]
            for number in sorted({number for files in listings for number in files})
        ],
        "missing": [
            f"{column.group} {column.title}".strip()
            for column, files in zip(columns, listings, strict=False)
            if task in column.files and not files
        ],
    }


def _samples(folder: Path, name: str) -> dict[int, Path]:
    """Return the files `<name>-<i>.png` in a folder by number i; empty if the folder is missing."""
    pattern = re.compile(re.escape(name) + r"-(\d+)\.png")
    matches = ((pattern.fullmatch(path.name), path) for path in (folder.iterdir() if folder.is_dir() else ()))
    return {int(match[1]): path for match, path in matches if match}


def _embedded(path: Path) -> Context:
    """Return a picture file as `uri`, a data URI, with `width` and `height` in pixels.

    Files above `EMBEDDED_BYTES` are converted to WebP.

    Raises:
        DataError: the file is not a readable picture.
    """
    try:
        content, kind = path.read_bytes(), "png"
        with Image.open(io.BytesIO(content)) as picture:
            width, height = picture.size
            if len(content) > EMBEDDED_BYTES:
                smaller = io.BytesIO()
                picture.convert("RGB").save(smaller, "WEBP", quality=90, method=4)
                content, kind = smaller.getvalue(), "webp"
    except OSError as error:
        # Snakemake does not look into the folder of samples, which is one output.
        raise DataError(
            f"{path}: not a readable picture ({error}); delete the folder {path.parents[1]} and run snakemake again"
        ) from error
    uri = f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
    return {"uri": uri, "width": width, "height": height}


def data_of(path: Path, task: str) -> Context:
    """Return the content of a task's prepared data for the template: counts, classes, excluded pictures, faults.

    path: the `info.json` of the prepared arrays, written by `palimpsest.data.prepare`.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        info = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: missing or damaged ({error}); delete the folder {path.parent} and run snakemake again"
        ) from error
    order = {"train": 0, "dev": 1, "val": 2}  # the file is sorted by name
    splits = sorted(info["splits"].items(), key=lambda split: order.get(split[0], len(order)))
    counts = [
        {"name": name, **{key: f"{split[key]:,}" for key in ("pictures", "refused", "broken")}}
        for name, split in splits
    ]
    context: Context = {"task": task, "splits": counts, "left_out": info["left_out"]}
    return context | _labels(info, [name for name, _ in splits])


def _labels(info: Mapping[str, Any], splits: list[str]) -> Context:
    """Return the fractions of the classes by split, and the annotations that were not painted, or only in part.

    `labels` is None for a task without label maps.
    """
    if "labels" not in info:
        return {"labels": None, "annotations": [], "unpainted": []}
    counted = [info["labels"][split] for split in splits]
    shares = [(name, [counts["classes"][name] for counts in counted]) for name in info["classes"]]
    shares.append(("ignored (255)", [counts["ignored"] for counts in counted]))
    rows = [{"name": name, "shares": [f"{100 * share:.2f}" for share in row]} for name, row in shares]
    return {
        "labels": {"splits": splits, "rows": rows},
        "annotations": [
            (split, counts["annotations"])
            for split, counts in zip(splits, counted, strict=True)
            if "annotations" in counts
        ],
        "unpainted": info["faulty_annotations"],
    }
