"""Measurements in the runs of the trainings."""

import fcntl
import math
from pathlib import Path
from typing import Any

import pytest

from palimpsest.analysis.forgetting import Cell
from palimpsest.analysis.measurement import Measurement
from palimpsest.errors import StorageError
from palimpsest.layout import Layout
from palimpsest.tracking import runs
from palimpsest.tracking.runs import complete_runs, method_tags, training_run, training_tags
from palimpsest.tracking.store import RunStore
from tests.conftest import room_for
from tests.tracking.conftest import EPOCHS, ROOM, TAGS, points, runs_of

pytestmark = pytest.mark.slow  # importing MLflow and making its database takes seconds


def cell(task: str, after: str, miou: float) -> Cell:
    return Cell(task, after, Measurement({"miou": miou}, {}, 8, "", []))


def size(task: str, component: str, size: int, entropy: float = math.nan) -> dict[str, Any]:
    """Return a row of `sizes.csv` for a network of a thousand weights."""
    rate = 8 * size / 1000
    return {"task": task, "component": component, "bytes": size, "bits_per_weight": rate, "entropy": entropy}


def test_measurements_are_added_once_to_the_runs_of_the_trainings(client: Any, tmp_path: Path) -> None:
    base = training_tags("mini", 0, "base", "coco-seg")
    for tags in (base, TAGS):
        with training_run(tags, "key", {}) as run:
            run.epochs(EPOCHS)
    (tmp_path / "samples" / "voc-seg").mkdir(parents=True)
    (tmp_path / "samples" / "voc-seg" / "after-voc-seg-0.png").write_bytes(b"png")
    cells = [cell("coco-seg", "coco-seg", 20), cell("coco-seg", "voc-seg", 19), cell("voc-seg", "voc-seg", 50)]
    tables = {
        "sizes": [
            size("coco-seg", "network", 4000),
            size("voc-seg", "mask", 125, entropy=0.8),
            size("voc-seg", "head", 15),
        ],
        "zeros": [
            {"task": "voc-seg", "layer": "conv1", "weights": 400, "zeros": 0.5},
            {"task": "voc-seg", "layer": "all", "weights": 1000, "zeros": 0.25},
        ],
    }
    picture = r"samples/after-voc-seg-0\.png: cannot be written"
    with pytest.raises(StorageError, match=rf"{picture} .*{ROOM}$"), room_for(2):
        complete_runs(Layout("mini"), 0, "piggyback", cells[-1:], tables, tmp_path / "samples")
    assert not list((tmp_path / "mlruns").rglob("*.png*"))
    for _ in range(2):  # as in a repeated evaluation
        complete_runs(Layout("mini"), 0, "piggyback", cells, tables, tmp_path / "samples")
    first, second = (client.get_run(RunStore().find(tags)) for tags in (base, TAGS))
    above = client.get_run(RunStore().find(method_tags(TAGS)))
    assert above.data.metrics == {
        "final/coco-seg/miou": 19,
        "final/voc-seg/miou": 50,
        "size/bytes/network": 4000,
        "size/bytes/mask": 125,
        "size/bytes/head": 15,
        "size/bytes": 4140,
        "zeros/voc-seg": 0.25,
    }
    del second.data.metrics["loss"], second.data.metrics["images_per_second"]
    assert second.data.metrics == {
        "final/coco-seg/miou": 19,
        "final/voc-seg/miou": 50,
        "size/bytes/mask": 125,
        "size/bytes/head": 15,
        "size/bytes": 140,
        "zeros/conv1": 0.5,
        "zeros/all": 0.25,
        "size/bits_per_weight/mask": 1,
        "size/bits_per_weight/head": 0.12,
        "size/bits_per_weight": 1.12,
        "size/entropy/mask": 0.8,
    }
    assert first.data.metrics["final/coco-seg/miou"] == 20 and first.data.metrics["size/bytes"] == 4000
    assert len(points(client, second, "size/bytes")) == 1
    assert [file.path for file in client.list_artifacts(second.info.run_id, "samples")] == [
        "samples/after-voc-seg-0.png"
    ]
    assert [run.info.status for run in runs_of(client)] == ["FINISHED", "FINISHED"]
    cells[1] = cell("coco-seg", "voc-seg", 18)  # as after a new training of the base
    complete_runs(Layout("mini"), 0, "piggyback", cells, tables, tmp_path / "samples")
    assert client.get_run(second.info.run_id).data.metrics["final/coco-seg/miou"] == 18
    assert len(points(client, second, "size/bytes")) == 1


def test_one_evaluation_at_a_time_completes_runs(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with training_run(training_tags("mini", 0, "base", "coco-seg"), "key", {}):
        pass
    recorded_values = []

    def metrics(run: Any, values: Any) -> None:
        with runs.COMPLETING.open("a") as stream, pytest.raises(BlockingIOError):
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        recorded_values.append(values)

    monkeypatch.setattr(runs.Run, "metrics", metrics)
    tables: Any = {"sizes": [], "zeros": []}
    complete_runs(Layout("mini"), 0, "piggyback", [cell("coco-seg", "coco-seg", 20)], tables, tmp_path)
    assert recorded_values == [{"final/coco-seg/miou": 20, "size/bytes": 0, "size/bits_per_weight": 0}]
