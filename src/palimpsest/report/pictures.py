"""What the report shows of pictures: the samples of every task, embedded, and what the data were made of."""

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

EMBEDDED_BYTES = 40_000  # a picture file above this is embedded as WebP of quality 90, so that the page stays light

Context = dict[str, Any]


def sample_pictures(samples: Mapping[int, Path], matrix: Matrix, methods: Sequence[str], task: str) -> Context:
    """The sample pictures of a task from the first seed that has any: one row per sample.

    Columns: input, target and floor, then each method right after learning and, unless its predictions are
    known to be unchanged, after the last task.
    """
    columns: list[Context] = [
        {"group": "", "title": what, "method": FLOOR, "what": what} for what in ("input", "target", "floor")
    ]
    for method in methods:
        afters = matrix.afters(method, task)
        if not afters:
            continue
        shown = [afters[0]]
        if len(afters) > 1 and matrix.unchanged(method, task, afters[-1]) is not True:
            shown.append(afters[-1])
        columns += [
            {"group": method, "title": f"after {after}", "method": method, "what": f"after-{after}"}
            for after in shown
        ]
    found: list[dict[int, Path]] = []
    seed = None
    for seed in samples:
        found = [_samples(samples[seed] / c["method"] / "samples" / task, c["what"]) for c in columns]
        if any(found):
            break
    numbers = sorted({number for files in found for number in files})
    missing = [f"{c['group']} {c['title']}".strip() for c, files in zip(columns, found, strict=False) if not files]
    kept = [(column, files) for column, files in zip(columns, found, strict=False) if files]
    return {
        "task": task,
        "seed": seed,
        "columns": [column for column, _ in kept],
        "groups": [(name, len(list(members))) for name, members in groupby(column["group"] for column, _ in kept)],
        "rows": [
            [
                {
                    "alt": f"{task}, sample {number}: {column['group']} {column['title']}",
                    **_embedded(files[number]),
                }
                if number in files
                else None
                for column, files in kept
            ]
            for number in numbers
        ],
        "missing": missing,
    }


def _samples(folder: Path, what: str) -> dict[int, Path]:
    """The files `<what>-<i>.png` of a folder by their number; none where there is no folder."""
    name = re.compile(re.escape(what) + r"-(\d+)\.png")
    matches = ((name.fullmatch(path.name), path) for path in (folder.iterdir() if folder.is_dir() else ()))
    return {int(match[1]): path for match, path in matches if match}


def _embedded(path: Path) -> Context:
    """A picture as a data URI, and its size in pixels; large files become WebP. DataError if unreadable."""
    content, kind = path.read_bytes(), "png"
    try:
        with Image.open(io.BytesIO(content)) as picture:
            width, height = picture.size
            if len(content) > EMBEDDED_BYTES:
                smaller = io.BytesIO()
                picture.convert("RGB").save(smaller, "WEBP", quality=90, method=4)
                content, kind = smaller.getvalue(), "webp"
    except OSError as error:
        raise DataError(f"{path}: not a readable picture ({error})") from error
    uri = f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
    return {"uri": uri, "width": width, "height": height}


def data_of(path: Path, task: str) -> Context:
    """Return the splits of a task's data with their counts, their labels, and what was left out or not painted.

    path: the `info.json` of the prepared arrays, as `palimpsest.data.prepare` writes it.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        info = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: is missing or damaged ({error}); prepare the task again") from error
    order = {"train": 0, "val": 1, "test": 2}  # the file is sorted by name
    splits = sorted(info["splits"].items(), key=lambda split: order.get(split[0], len(order)))
    counts = [
        {"name": name, **{what: f"{split[what]:,}" for what in ("pictures", "refused", "broken")}}
        for name, split in splits
    ]
    context: Context = {"task": task, "splits": counts, "left_out": info["left_out"]}
    return context | _labels(info, [name for name, _ in splits])


def _labels(info: Mapping[str, Any], splits: list[str]) -> Context:
    """Return the shares of classes by split, and the annotations that were not painted as they were meant."""
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
