"""Every write on a full disk: one line names the file, no partial file stays, and the same call works later.

MLflow's database is in `tracking/test_store`, a job's log in `test_job`, downloads in `data/test_download`; a real
file system that runs full is in `pipeline/finished/test_full_disk`.
"""

import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from palimpsest.data.arrays import write_prepared
from palimpsest.data.download import split_val2017, unpack
from palimpsest.data.encoding import write_picture
from palimpsest.data.manifest import write_manifest
from palimpsest.data.public_settings import PublicDatasetSettings
from palimpsest.data.sources import provide, provide_weights
from palimpsest.data.targets import LABELS
from palimpsest.errors import StorageError
from palimpsest.methods.base import Component
from palimpsest.report.grid import write_grid
from palimpsest.report.readme import tasks_table, write_tables
from palimpsest.report.summary import write_summary
from palimpsest.storage.atomic import write_text
from palimpsest.storage.task_file import Provenance, save_task
from palimpsest.training.checkpoint import Progress, save_progress
from tests.conftest import room_for

LONG = "long" * 200
NOISE = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
TENSOR = torch.zeros(1000)
SUMMARY = {"scratch": {f"task {number} a": {"miou": 1.0} for number in range(1, 20)}}


def generate(format: str, folder: Path, **images: int) -> None:
    dataset = PublicDatasetSettings(format=format, source="generated", side=32, generate=images)
    provide(dataset, folder, folder / "manifest.json")


def prepare(folder: Path, source: str, info: str) -> None:
    with write_prepared(folder / "task", 4, LABELS) as rows:
        rows.add("train", source, NOISE[:4, :4], NOISE[:4, :4, 0])
        rows.info["info"] = info


def write_inputs(folder: Path) -> None:
    """Write the inputs: an archive, photographs, weights, samples, a README."""
    folder.mkdir()
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("val2017/0.jpg"), LONG)  # without a date, since folders are compared
    content = {"images": [{"id": 0, "file_name": "0.jpg"}], "annotations": [], "categories": [LONG]}
    write_text(folder / "all" / "annotations" / "instances_val2017.json", json.dumps(content))
    write_text(folder / "all" / "val2017" / "0.jpg", "jpg")
    write_text(folder / "root" / "weights" / "squeezenet1_1.pth", LONG)
    for name in ("floor/samples/a/input-0.png", "mask/samples/a/after-a-0.png"):
        write_picture(folder / name, NOISE)
    write_text(folder / "README.md", "<!-- table:mini --><!-- /table:mini -->")


@dataclass(frozen=True)
class Write:
    """Call that writes into a folder; ``named`` is the first file of more than ``room`` bytes."""

    named: str
    call: Callable[[Path], object]
    room: int = 500


WRITES = [
    Write("coco.partial/train2017/000000000001.jpg", lambda at: generate("coco", at / "coco", train2017=2)),
    Write(
        "coco.partial/annotations/instances_train2017.json",
        lambda at: generate("coco", at / "coco", train2017=2),
        2100,
    ),
    Write(
        "voc.partial/VOCdevkit/VOC2012/JPEGImages/2011_000001.jpg", lambda at: generate("voc", at / "voc", train=2)
    ),
    Write("manifest.json", lambda at: write_manifest(at, at / "manifest.json")),
    Write("raw", lambda at: unpack(at / "a.zip", at / "raw")),
    Write("coco.partial/annotations/instances_train2017.json", lambda at: split_val2017(at / "all", at / "coco")),
    Write("squeezenet.pth", lambda at: provide_weights("squeezenet", at / "squeezenet.pth", at / "root")),
    Write("task.partial/picture.npy", lambda at: prepare(at, "a.jpg", ""), 150),
    Write("task.partial/index.csv", lambda at: prepare(at, LONG, "")),
    Write("task.partial/info.json", lambda at: prepare(at, "a.jpg", LONG)),
    Write("a.resume", lambda at: save_progress(at / "a.resume", Progress("key", 1, {"a": TENSOR}))),
    Write(
        "a.safetensors",
        lambda at: save_task(
            at / "a.safetensors",
            [Component("network", {"a": TENSOR})],
            Provenance("mini", 0, "base", "a", {}, None),
        ),
    ),
    Write("samples/a.png", lambda at: write_picture(at / "samples" / "a.png", NOISE)),
    Write("metrics.csv", lambda at: write_text(at / "metrics.csv", LONG)),
    Write("summary.json", lambda at: write_summary(at / "summary.json", SUMMARY)),
    Write("README.md", lambda at: write_tables(at / "README.md", {"mini": tasks_table(SUMMARY)})),
    Write("grid.png", lambda at: write_grid(at / "grid.png", at, "mask", ["a"], rows=1, side=40)),
]


def content(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.named)
def test_a_file_that_does_not_fit_is_named_and_finished_files_stay(tmp_path: Path, write: Write) -> None:
    disturbed, undisturbed = tmp_path / "disturbed", tmp_path / "undisturbed"
    write_inputs(disturbed)
    write_inputs(undisturbed)
    before = content(disturbed)
    line = f"{disturbed / write.named}: cannot be written "
    message = f"^{re.escape(line)}.*; make room and run the same command again$"
    with pytest.raises(StorageError, match=message), room_for(write.room):
        write.call(disturbed)
    assert content(disturbed) == before
    write.call(disturbed)
    write.call(undisturbed)
    assert content(disturbed) == content(undisturbed) != before


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.named)
def test_old_files_stay_if_new_ones_do_not_fit(tmp_path: Path, write: Write) -> None:
    write_inputs(tmp_path / "a")
    write.call(tmp_path / "a")
    before = content(tmp_path / "a")
    with pytest.raises(StorageError), room_for(write.room):
        write.call(tmp_path / "a")
    assert content(tmp_path / "a") == before
