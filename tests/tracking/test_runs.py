import fcntl
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from palimpsest.analysis.forgetting import Cell
from palimpsest.analysis.measurement import Measurement
from palimpsest.errors import DataError, StorageError
from palimpsest.layout import Layout
from palimpsest.tracking import runs, store
from palimpsest.tracking.runs import complete_runs, method_tags, run_of_tensors, training_run, training_tags
from palimpsest.tracking.store import RunStore, connect
from tests.conftest import room_for

pytestmark = pytest.mark.slow  # importing MLflow and making its database takes seconds

TAGS = training_tags("mini", 0, "piggyback", "voc-seg")
EPOCHS = [{"step": step, "loss": 1 / step, "images_per_second": 9.0} for step in (2.0, 4.0, 6.0)]


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty database; making its tables takes longer than all the tests."""
    folder = tmp_path_factory.mktemp("database")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        store.experiment_of(connect(), "mini")
    return folder / "mlflow.db"


@pytest.fixture
def client(made_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a client of a new database in the working directory."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(made_once, tmp_path / "mlflow.db")
    monkeypatch.setattr(store, "experiment_of", experiment_per_test(store.experiment_of, tmp_path))
    return connect()


def experiment_per_test(experiment_of: Callable[..., str], folder: Path) -> Callable[..., str]:
    """Return a function that appends the test's folder to the preset: MLflow keeps databases open by name."""
    return lambda client, preset: experiment_of(client, f"{preset}-{folder.name}")


def runs_of(client: Any, rule: str = "train") -> list[Any]:
    """Return all runs of trainings, or of another rule, oldest first."""
    experiment = store.experiment_of(client, "mini")
    of_rule = client.search_runs([experiment], f"tags.rule = '{rule}'")
    return sorted(of_rule, key=lambda run: (run.info.start_time, run.info.end_time or 0))


def points(client: Any, run: Any, metric: str = "loss") -> list[tuple[int, float]]:
    return sorted((m.step, m.value) for m in client.get_metric_history(run.info.run_id, metric))


def test_every_folder_has_a_separate_database(
    client: Any, made_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    shutil.copy(made_once, tmp_path / "other" / "mlflow.db")
    monkeypatch.chdir(tmp_path / "other")
    connect().create_experiment("only here")
    assert connect().get_experiment_by_name("only here") is not None
    monkeypatch.chdir(tmp_path)
    assert connect().get_experiment_by_name("only here") is None


def test_a_training_is_one_run_with_its_settings_curves_and_tags(client: Any) -> None:
    with training_run(TAGS, "key", {"network": {"width": 16}, "seed": 0}) as run:
        for done in (1, 2, 3):
            assert client.get_run(run.run_id).info.status == "RUNNING"
            run.epochs(EPOCHS[:done])
        run.tags({"sha256": "ab"})
    (recorded,) = runs_of(client)
    assert recorded.info.status == "FINISHED" and recorded.info.end_time is not None
    assert recorded.data.params == {"network.width": "16", "seed": "0"}
    assert points(client, recorded) == [(2, 1 / 2), (4, 1 / 4), (6, 1 / 6)]
    assert points(client, recorded, "images_per_second") == [(2, 9), (4, 9), (6, 9)]
    assert {**TAGS, "key": "key", "sha256": "ab"}.items() <= recorded.data.tags.items()
    assert recorded.info.run_name == "piggyback · voc-seg · seed 0"


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError("broken"), "FAILED"), (KeyboardInterrupt(), "KILLED"), (SystemExit(1), "FAILED")],
)
def test_a_run_ends_as_its_training_does(client: Any, error: BaseException, status: str) -> None:
    with pytest.raises(type(error)), training_run(TAGS, "key", {}):
        raise error
    (recorded,) = runs_of(client)
    assert recorded.info.status == status


@pytest.mark.usefixtures("interrupted")
def test_a_run_is_killed_by_ctrl_c_whatever_error_a_library_raises(client: Any) -> None:
    with pytest.raises(ValueError, match="the shape"), training_run(TAGS, "key", {}):
        raise ValueError("could not determine the shape")
    (recorded,) = runs_of(client)
    assert recorded.info.status == "KILLED"


@pytest.mark.parametrize("call", ["create_run", "log_batch", "set_terminated"])
def test_ctrl_c_during_any_write_leaves_no_run_running(
    call: str, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted = []
    write = getattr(type(client), call)

    def written(*arguments: Any, **options: Any) -> Any:
        made = write(*arguments, **options)
        if not interrupted:
            interrupted.append(call)
            raise KeyboardInterrupt
        return made

    monkeypatch.setattr(type(client), call, written)
    with pytest.raises(KeyboardInterrupt), training_run(TAGS, "key", {"seed": 0}) as run:
        run.epochs(EPOCHS)
    statuses = [run.info.status for run in (*runs_of(client), *runs_of(client, "evaluate"))]
    assert statuses == {"create_run": ["KILLED"], "set_terminated": ["FINISHED", "KILLED"]}.get(
        call, ["KILLED"] * 2
    )


def test_the_trainings_of_a_method_are_below_one_run(client: Any) -> None:
    colorize, other = (
        training_tags("mini", 0, "piggyback", "colorize"),
        training_tags("mini", 1, "piggyback", "voc-seg"),
    )
    with training_run(TAGS, "key", {}) as first:
        with training_run(colorize, "key", {}):
            pass
        (above,) = runs_of(client, "evaluate")
        assert above.info.status == "RUNNING"  # one of its trainings is not at its end
        first.tags({"sha256": "ab"})
    (above,) = runs_of(client, "evaluate")
    assert above.info.status == "FINISHED" and above.info.run_name == "piggyback · seed 0"
    assert {run.data.tags[store.PARENT] for run in runs_of(client)} == {above.info.run_id}
    with pytest.raises(ValueError, match="broken"), training_run(other, "key", {}):
        raise ValueError("broken")
    assert [run.info.status for run in runs_of(client, "evaluate")] == ["FINISHED", "FAILED"]


def test_a_training_has_a_sample_picture_per_epoch(client: Any) -> None:
    red, blue = np.zeros((2, 8, 16, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    with pytest.raises(ValueError, match="gone"), training_run(TAGS, "key", {}) as run:
        run.epochs(EPOCHS[:1])
        run.picture(red)
        raise ValueError("gone")
    with training_run(TAGS, "key", {}) as run:  # a resumed training reports the last epoch again
        run.epochs(EPOCHS[:1])
        run.picture(red)
        run.epochs(EPOCHS[:2])
        run.picture(blue)
    files = [Path(file.path).name for file in client.list_artifacts(run.run_id, "images")]
    pictures = sorted(name for name in files if name.endswith(".png"))
    assert [name.split("+timestamp")[0] for name in pictures] == ["sample+step+2", "sample+step+4"]
    for name, expected in zip(pictures, (red, blue), strict=True):
        assert np.array_equal(np.asarray(Image.open(run.store.artifacts(run.run_id) / "images" / name)), expected)


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_a_retry_continues_the_run_without_duplicate_points(client: Any, error: BaseException) -> None:
    with pytest.raises(type(error)), training_run(TAGS, "key", {"seed": 0}) as run:
        run.epochs(EPOCHS[:1])
        run.epochs(EPOCHS[:2])
        raise error
    with training_run(TAGS, "key", {"seed": 0}) as run:
        run.epochs(EPOCHS[:2])  # a resumed training reports earlier epochs at once
        run.epochs(EPOCHS)
        run.epochs(EPOCHS)
    (recorded,) = runs_of(client)
    assert recorded.info.status == "FINISHED"
    assert points(client, recorded) == [(2, 1 / 2), (4, 1 / 4), (6, 1 / 6)]


def test_a_run_still_running_after_kill_9_is_continued(client: Any) -> None:
    with pytest.raises(ValueError, match="gone"), training_run(TAGS, "key", {}) as run:
        run.epochs(EPOCHS[:1])
        raise ValueError("gone")
    client.update_run(run.run_id, status="RUNNING")
    with training_run(TAGS, "key", {}) as run:
        run.epochs(EPOCHS)
    (recorded,) = runs_of(client)
    assert recorded.info.status == "FINISHED" and len(points(client, recorded)) == 3


def test_a_training_with_another_key_is_a_new_run_and_the_old_one_is_ended(client: Any) -> None:
    with pytest.raises(ValueError, match="gone"), training_run(TAGS, "old", {}) as left:
        raise ValueError("gone")
    client.update_run(left.run_id, status="RUNNING")
    with training_run(TAGS, "new", {}) as fresh:
        pass
    assert left.run_id != fresh.run_id
    assert {run.info.run_id: run.info.status for run in runs_of(client)} == {
        left.run_id: "KILLED",
        fresh.run_id: "FINISHED",
    }


def test_a_repeated_training_is_a_new_run(client: Any) -> None:
    for _ in range(2):
        with training_run(TAGS, "key", {}) as run:
            run.epochs(EPOCHS)
    first, second = runs_of(client)
    assert points(client, first) == points(client, second)


def test_each_task_method_and_seed_is_a_separate_run(client: Any) -> None:
    different = [
        training_tags("mini", 1, "piggyback", "voc-seg"),
        training_tags("mini", 0, "scratch", "voc-seg"),
        training_tags("mini", 0, "piggyback", "colorize"),
    ]
    for tags in (TAGS, *different):
        with pytest.raises(ValueError, match="gone"), training_run(tags, "key", {}):
            raise ValueError("gone")
    assert len(runs_of(client)) == 4
    assert len({RunStore().find(tags) for tags in (TAGS, *different)}) == 4
    assert RunStore().find(TAGS, "FAILED") == RunStore().find(TAGS)
    assert RunStore().find(TAGS, "FINISHED") is None


def test_a_run_whose_settings_cannot_be_logged_is_not_left_running(client: Any) -> None:
    with pytest.raises(Exception, match="cup & saucer"), training_run(TAGS, "key", {"cup & saucer": 1}):
        pass
    assert [run.info.status for run in runs_of(client)] == ["FAILED"]


ROOM = "make room and run the same command again"


def test_a_file_that_cannot_be_read_is_named_and_not_kept(client: Any, tmp_path: Path) -> None:
    with (
        pytest.raises(
            DataError,
            match=r"^lost\.png: cannot be read \(No such file or directory\); correct this",
        ),
        training_run(TAGS, "key", {}) as run,
    ):
        run.file(Path("lost.png"), "samples")
    assert not list((tmp_path / "mlruns").rglob("*.png*"))


def test_runs_are_readable_in_a_read_only_folder(client: Any) -> None:
    store.LOCK.unlink(missing_ok=True)
    store.LOCK.mkdir()  # as in a folder in which it cannot be opened
    assert run_of_tensors("mini", "ab") is None
    with pytest.raises(
        StorageError,
        match=r"^mlflow\.db\.lock: cannot be written \(Is a directory\); correct this",
    ):
        store.experiment_of(client, "another")


def test_a_database_that_cannot_be_made_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError, match=rf"^mlflow\.db: cannot be written .*{ROOM}$"), room_for(50_000):
        connect()  # half of the tables
    assert [path.name for path in tmp_path.iterdir()] == [store.LOCK.name]


def test_a_full_disk_ends_the_run_and_a_retry_continues_it(client: Any) -> None:
    message = rf"^mlflow\.db: cannot be written .*{ROOM}$"
    with pytest.raises(StorageError, match=message), training_run(TAGS, "key", {}) as run:
        run.epochs(EPOCHS[:1])
        with room_for(0):
            run.epochs(EPOCHS[:2])
    assert [run.info.status for run in runs_of(client)] == ["FAILED"]
    with training_run(TAGS, "key", {}) as run:
        run.epochs(EPOCHS)
    (recorded,) = runs_of(client)
    assert recorded.info.status == "FINISHED" and points(client, recorded) == [(2, 1 / 2), (4, 1 / 4), (6, 1 / 6)]


def test_a_database_on_a_full_disk_does_not_hide_the_error(client: Any) -> None:
    with ExitStack() as disk, pytest.raises(StorageError, match=r"^a\.resume"), training_run(TAGS, "key", {}):
        disk.enter_context(room_for(0))
        raise StorageError("a.resume: cannot be written")
    assert [run.info.status for run in runs_of(client)] == ["RUNNING"]  # the status could not be written
    with training_run(TAGS, "key", {}):
        pass
    assert [run.info.status for run in runs_of(client)] == ["FINISHED"]


def test_a_database_that_fails_during_a_training_gives_one_line(client: Any) -> None:
    message = r"^mlflow\.db: is damaged or no database \(.*\); run `mv mlflow\.db mlflow\.db\.damaged`"
    with pytest.raises(StorageError, match=message), training_run(TAGS, "key", {}) as run:
        run.epochs(EPOCHS[:1])
        Path("mlflow.db").write_bytes(b"garbage" * 10_000)
        run.epochs(EPOCHS[:2])


def test_an_empty_file_becomes_a_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mlflow.db").touch()

    def made(address: str, artifacts: str) -> None:
        Path(address.removeprefix("sqlite:///")).write_text("made")

    monkeypatch.setattr(store, "SqlAlchemyStore", made)
    monkeypatch.setattr(store, "MlflowClient", lambda *uris: None)
    connect()
    assert Path("mlflow.db").read_text() == "made"


def test_a_run_has_the_commit_of_the_code(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("c0ffee-dirty", "c0ffee", ""):
        monkeypatch.setattr(runs, "code_version", lambda version=version: version)
        with training_run(TAGS, "key", {}):
            pass
    tags_of_runs = [run.data.tags for run in runs_of(client)]
    assert [tags.get("mlflow.source.git.commit") for tags in tags_of_runs] == ["c0ffee", "c0ffee", None]
    assert [tags.get("code_changed") for tags in tags_of_runs] == ["true", "false", None]


def test_a_continued_run_has_the_commit_of_its_end(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "code_version", lambda: "c0ffee")
    with pytest.raises(ValueError, match="gone"), training_run(TAGS, "key", {}):
        raise ValueError("gone")
    monkeypatch.setattr(runs, "code_version", lambda: "decaf")  # a commit that changed only documents
    with training_run(TAGS, "key", {}):
        pass
    (recorded,) = runs_of(client)
    assert recorded.data.tags["mlflow.source.git.commit"] == "decaf"


def test_jobs_that_start_together_make_one_database(tmp_path: Path) -> None:
    jobs = (
        "import os\n"
        "from palimpsest.tracking.store import connect, experiment_of\n"
        "for _ in range(3):\n"
        "    if os.fork() == 0:\n"
        "        experiment_of(connect(), 'mini')\n"
        "        os._exit(0)\n"
        "ended = [os.wait()[1] for _ in range(3)]\n"
        "assert ended == [0] * 3, ended\n"
    )
    subprocess.run([sys.executable, "-c", jobs], cwd=tmp_path, check=True, capture_output=True, text=True)
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        names = database.execute("select name from experiments where name like 'palimpsest%'").fetchall()
    assert names == [("palimpsest-mini",)]


def cell(task: str, after: str, miou: float) -> Cell:
    return Cell(task, after, Measurement({"miou": miou}, {}, 8, "", []))


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
            {"task": "coco-seg", "component": "network", "bytes": 4000, "needed_to": "run"},
            {"task": "voc-seg", "component": "mask", "bytes": 125, "needed_to": "run"},
            {"task": "voc-seg", "component": "head", "bytes": 15, "needed_to": "run"},
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
        "size/bits_per_weight": 1,
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


def test_the_latest_run_with_these_tensors_is_returned(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, sha256 in (("first", "ab"), ("second", "ab"), ("third", "cd")):
        with training_run(TAGS, key, {}) as run:
            run.tags({"sha256": sha256})
    name = client.get_experiment(store.experiment_of(client, "mini")).name
    second = runs_of(client)[1].info.run_id
    monkeypatch.setattr(store, "experiment_name", lambda preset: name if preset == "mini" else "none")
    assert run_of_tensors("mini", "ab") == second
    assert run_of_tensors("mini", "ef") is None
    assert run_of_tensors("real", "ab") is None


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
    assert recorded_values == [{"final/coco-seg/miou": 20, "size/bytes": 0}]
