"""Runs of trainings: tags, curves, final status, and retries."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from palimpsest.tracking import runs, store
from palimpsest.tracking.runs import run_of_tensors, training_run, training_tags
from palimpsest.tracking.store import RunStore
from tests.tracking.conftest import EPOCHS, TAGS, points, runs_of

pytestmark = pytest.mark.slow  # importing MLflow and making its database takes seconds


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


def test_a_run_has_the_commit_of_the_code(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("c0ffee-dirty", "c0ffee", ""):
        monkeypatch.setattr(runs, "code_version", lambda version=version: version)
        with training_run(TAGS, "key", {}):
            pass
    tags_of_runs = [run.data.tags for run in runs_of(client)]
    assert [tags.get("mlflow.source.git.commit") for tags in tags_of_runs] == ["c0ffee", "c0ffee", None]
    assert [tags.get("code_changed") for tags in tags_of_runs] == ["true", "false", None]


def test_runs_have_the_user_and_the_program(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["pipeline/train.py", "--seed", "0"])
    monkeypatch.setenv("LOGNAME", "ada")
    with training_run(TAGS, "key", {}):
        pass
    for recorded in (*runs_of(client), *runs_of(client, "evaluate")):
        assert recorded.info.user_id == "ada"
        assert recorded.data.tags["mlflow.source.name"] == "train.py"
        assert recorded.data.tags["mlflow.source.type"] == "LOCAL"


def test_a_user_without_a_name_is_left_out(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> str:
        raise OSError("no name for this number")

    monkeypatch.setattr("getpass.getuser", unknown)
    with training_run(TAGS, "key", {}):
        pass
    (recorded,) = runs_of(client)
    assert recorded.info.status == "FINISHED" and "mlflow.user" not in recorded.data.tags


def test_a_continued_run_has_the_commit_of_its_end(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "code_version", lambda: "c0ffee")
    with pytest.raises(ValueError, match="gone"), training_run(TAGS, "key", {}):
        raise ValueError("gone")
    monkeypatch.setattr(runs, "code_version", lambda: "decaf")  # a commit that changed only documents
    with training_run(TAGS, "key", {}):
        pass
    (recorded,) = runs_of(client)
    assert recorded.data.tags["mlflow.source.git.commit"] == "decaf"


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
