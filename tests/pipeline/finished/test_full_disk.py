"""Full disk on a real file system: one line of error, finished files stay, and the same command resumes."""

import argparse
import math
import shutil
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import mlflow
import pytest

from palimpsest.errors import StorageError
from palimpsest.methods import BASE
from palimpsest.storage.stored_task import open_task
from palimpsest.tracking import runs, store
from pipeline import train
from tests.conftest import Study as SmallStudy
from tests.conftest import room_for
from tests.pipeline.conftest import Study, copied, digests, fewer

pytestmark = pytest.mark.slow

STORED = "models/mini/seed-0/base/coco-seg.safetensors"
ROOM = "make room and run the same command again"
UNSHARE = ("unshare", "--user", "--map-root-user", "--mount")
"""Command prefix that allows mounts without privileges until the command ends."""

FILL = f"""
mount -t tmpfs -o size=32m none "$2" && cp -a "$1/." "$2" && cd "$2"
run() {{ snakemake --cores 2 {STORED} --config 'network={{width: 8}}' 2>&1; echo "exit status $?"; }}
free=$(df --output=avail -k . | tail -n 1)
head -c "$(( free - 2048 ))k" /dev/zero > ballast
run > "$3/first.txt"
cp -a data models results mlflow.db "$3"
rm ballast
run > "$3/second.txt"
mkdir "$3/second" && cp -a models mlflow.db "$3/second"
"""
"""Script: copies the project $1 to a file system $2 with room for a run, but not for a checkpoint."""

ENLARGE = """
mount -t tmpfs -o "size=$4k" none "$2" && cp -a "$1/." "$2" && cd "$2"
snakemake --cores 2 all > "$3/first.txt" 2>&1
mount -o remount,size=64m "$2"
snakemake --cores 2 all > "$3/second.txt" 2>&1
cp -a data models results "$3"
"""
"""Script: runs the project on a file system of $4 KiB, then again after enlarging it."""


@pytest.fixture
def on_a_disk(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that runs a script with a separate file system and returns the folder of its results."""
    disk, out = tmp_path / "disk", tmp_path / "out"
    disk.mkdir()
    try:
        tried = subprocess.run(
            [*UNSHARE, "mount", "-t", "tmpfs", "none", disk], capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        pytest.skip(f"{error.filename} is not there: no file system of one's own")
    if tried.returncode:
        pytest.skip(f"no file system of one's own without privileges: {tried.stderr.strip()}")

    def run(script: str, project: Path, *arguments: str) -> Path:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        Study(disk).run(*UNSHARE, "bash", "-c", script, "bash", str(project), str(disk), str(out), *arguments)
        return out

    return run


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def kibibytes(folder: Path) -> int:
    """Return the size of a folder on a file system in memory with pages of 4 KiB."""
    return sum(4 * math.ceil(path.lstat().st_size / 4096) for path in folder.rglob("*") if path.is_file())


def statuses(database: Path) -> list[str]:
    """Return the status of every training of the base network, oldest first."""
    client = mlflow.MlflowClient(f"sqlite:///{database}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(
        experiments, "tags.method = 'base' and tags.rule = 'train'", order_by=["attributes.start_time ASC"]
    )
    return [run.info.status for run in runs]


def test_a_disk_that_fills_during_a_training(finished: Study, on_a_disk: Callable[..., Path]) -> None:
    out = on_a_disk(FILL, finished.folder)
    first, second = ((out / name).read_text() for name in ("first.txt", "second.txt"))
    checkpoint = Path(STORED).with_suffix(".resume")
    errors = [line for line in first.splitlines() if line.startswith("error:")]
    assert errors == [f"error: {checkpoint}: cannot be written (No space left on device); {ROOM}"], first
    assert "Traceback" not in first and first.endswith("exit status 1\n")
    for folder in ("data", "models", "results"):
        before = content(finished.folder / folder)
        for suffix in (".safetensors", ".predictions.json"):  # Snakemake makes them again
            before.pop(f"mini/seed-0/base/coco-seg{suffix}", None)
        assert content(out / folder) == before
    assert second.endswith("exit status 0\n"), second
    assert open_task(out / "second" / STORED).network.width == 8
    assert not (out / "second" / checkpoint).exists()
    assert statuses(out / "mlflow.db") == ["FINISHED", "FAILED"]
    assert statuses(out / "second" / "mlflow.db") == ["FINISHED", "FINISHED"]


@pytest.mark.proof
def test_a_disk_that_fills_anywhere_in_a_run(tmp_path: Path, on_a_disk: Callable[..., Path]) -> None:
    study = copied(tmp_path / "project")
    fewer(study)
    expected = digests(on_a_disk(ENLARGE, study.folder, "64000"))
    assert expected
    taken = kibibytes(study.folder)
    for size in range(taken + 150, taken + 1050, 150):  # the full run needs more
        out = on_a_disk(ENLARGE, study.folder, str(size))
        first = (out / "first.txt").read_text()
        assert "Traceback" not in first and (ROOM in first or "Error recording metadata" in first), first
        assert digests(out) == expected, size


def test_a_training_that_cannot_be_recorded_is_not_trained_again(
    prepared_study: SmallStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = prepared_study
    # Absolute path: MLflow keeps a database open under its name, also in later tests.
    monkeypatch.setattr(store, "TRACKING_DATABASE", Path("mlflow.db").absolute())
    store.connect()
    stored = study.layout.stored(0, BASE, "shapes")
    options = argparse.Namespace(seed=0, method="base", task="shapes")
    tags, disk = runs.Run.tags, ExitStack()

    def full_at_the_end(run: Any, values: Any) -> None:
        tags(run, values)
        if "sha256" in values:
            disk.enter_context(room_for(0))

    monkeypatch.setattr(runs.Run, "tags", full_at_the_end)
    with disk, pytest.raises(StorageError, match=rf"mlflow\.db: cannot be written .*{ROOM}$"):
        train.main(study.settings, study.layout, options)
    expected = stored.read_bytes()
    stored.unlink()  # as Snakemake does after a failed job
    monkeypatch.setattr(runs.Run, "tags", tags)
    monkeypatch.setattr("palimpsest.training.loop.clip", None)  # any step would fail
    train.main(study.settings, study.layout, options)
    assert stored.read_bytes() == expected and not list(stored.parent.glob("*.resume"))
    assert statuses(Path("mlflow.db").absolute()) == ["FINISHED"]
