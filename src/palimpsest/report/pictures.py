"""Report sections on pictures: samples of every task, embedded in the page, and the contents of the data."""

import base64
import io
import json
import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from PIL import Image

from palimpsest.errors import DataError
from palimpsest.report.summary import Matrix
from palimpsest.settings import FLOOR

EMBEDDED_BYTES = 40_000  # larger picture files are embedded as WebP of quality 90 to keep the page small

Context = dict[str, Any]


def sample_pictures(samples: Mapping[int, Path], matrix: Matrix, methods: Sequence[str], task: str) -> Context:
    """Return a table of sample pictures of a task, one row per sample, for the template of the page.

    samples: the folder `evaluation/seed-<n>` by seed; the first seed with any sample is used. Columns: input,
    target and floor, then each method right after training and, unless its predictions are known to be unchanged,
    after the last task. `missing` names columns without any file.
    """
    columns: list[Context] = [
        {"group": "", "title": name, "method": FLOOR, "file": name} for name in ("input", "target", "floor")
    ]
    for method in methods:
        afters = matrix.afters(method, task)
        if not afters:
            continue
        stages = [afters[0]]
        if len(afters) > 1 and matrix.unchanged(method, task, afters[-1]) is not True:
            stages.append(afters[-1])
        columns += [
            {"group": method, "title": f"after {after}", "method": method, "file": f"after-{after}"}
            for after in stages
        ]
    listings: list[dict[int, Path]] = []
    seed = None
    for seed in samples:
        listings = [_samples(samples[seed] / c["method"] / "samples" / task, c["file"]) for c in columns]
        if any(listings):
            break
    numbers = sorted({number for files in listings for number in files})
    missing = [
        f"{c['group']} {c['title']}".strip() for c, files in zip(columns, listings, strict=False) if not files
    ]
    available = [(column, files) for column, files in zip(columns, listings, strict=False) if files]
    return {
        "task": task,
        "seed": seed,
        "columns": [column for column, _ in available],
        "groups": [
            (name, len(list(members))) for name, members in groupby(column["group"] for column, _ in available)
        ],
        "rows": [
            [
                {
                    "alt": f"{task}, sample {number}: {column['group']} {column['title']}",
                    **_embedded(files[number]),
                }
                if number in files
                else None
                for column, files in available
            ]
            for number in numbers
        ],
        "missing": missing,
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
