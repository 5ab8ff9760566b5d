import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from palimpsest.data.arrays import Prepared, RowFile, write_prepared
from palimpsest.data.targets import LABELS, TARGETS
from palimpsest.errors import DataError, StorageError


def picture(level: int, size: int = 2) -> np.ndarray:
    return np.full((size, size, 3), level, np.uint8)


def write(folder: Path, target: str | None = "labels") -> None:
    with write_prepared(folder, 2, TARGETS[target] if target else None) as rows:
        for number, split in enumerate(("train", "train", "val")):
            target_row = {"labels": picture(number)[..., 0], "picture": picture(9 + number), None: None}[target]
            rows.add(split, f"a, {number} ü.jpg", picture(number), target_row)
        rows.info["classes"] = ["background"]


def test_written_arrays_are_memory_mapped(tmp_path: Path) -> None:
    write(tmp_path / "task")
    prepared = Prepared.open(tmp_path / "task")
    assert isinstance(prepared.picture, np.memmap) and not prepared.picture.flags.writeable
    assert prepared.picture[:, 0, 0, 0].tolist() == [0, 1, 2] and prepared.picture.shape == (3, 2, 2, 3)
    assert prepared.target is not None and prepared.target.shape == (3, 2, 2)
    assert prepared.rows("train").tolist() == [0, 1] and prepared.rows("val").tolist() == [2]
    assert prepared.sources[2] == "a, 2 ü.jpg"
    assert prepared.info == {
        "classes": ["background"],
        "size": 2,
        "target": "labels",
        "sha256": {
            "picture": hashlib.sha256(prepared.picture.tobytes()).hexdigest(),
            "target": hashlib.sha256(prepared.target.tobytes()).hexdigest(),
        },
    }
    message = "^prepared arrays without a picture of 'test', only of train, val; prepare the task again$"
    with pytest.raises(DataError, match=message):
        prepared.rows("test")


def test_the_digest_of_arrays_is_that_of_info_json(tmp_path: Path) -> None:
    write(tmp_path / "task")
    file = tmp_path / "task" / "info.json"
    assert Prepared.open(tmp_path / "task").sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    file.write_text(json.dumps(json.loads(file.read_text())))  # equal content in other bytes
    assert Prepared.open(tmp_path / "task").sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_files_are_as_documented(tmp_path: Path) -> None:
    write(tmp_path / "task")
    assert {path.name for path in tmp_path.rglob("*")} == {
        "task",
        "picture.npy",
        "target.npy",
        "index.csv",
        "info.json",
    }
    with (tmp_path / "task" / "index.csv").open(encoding="utf-8", newline="") as lines:
        assert list(csv.reader(lines))[:2] == [["row", "source", "split"], ["0", "a, 0 ü.jpg", "train"]]
    assert json.loads((tmp_path / "task" / "info.json").read_text())["size"] == 2
    assert np.load(tmp_path / "task" / "picture.npy").nbytes == 3 * 12


@pytest.mark.parametrize("target", ["picture", None])
def test_targets_are_pictures_or_absent(tmp_path: Path, target: str | None) -> None:
    write(tmp_path / "task", target)
    array = Prepared.open(tmp_path / "task").target
    assert (array is None) if target is None else (array is not None and array.shape == (3, 2, 2, 3))


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_file_grows_row_by_row(tmp_path: Path) -> None:
    with RowFile(tmp_path / "rows.npy", (1,)) as rows:
        for number in range(1234):
            rows.append(np.array([number % 256], np.uint8))
    assert np.array_equal(np.load(tmp_path / "rows.npy")[:, 0], np.arange(1234) % 256)


def test_an_error_leaves_the_old_files_alone(tmp_path: Path) -> None:
    write(tmp_path / "task")
    before = (tmp_path / "task" / "picture.npy").read_bytes()
    with pytest.raises(RuntimeError), write_prepared(tmp_path / "task", 2, None) as rows:
        rows.add("train", "x", picture(99))
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["task"]
    assert (tmp_path / "task" / "picture.npy").read_bytes() == before


def test_files_of_a_killed_run_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "task.partial").mkdir()
    (tmp_path / "task.partial" / "picture.npy").write_bytes(b"half")
    (tmp_path / "task").mkdir()
    write(tmp_path / "task")
    assert [path.name for path in tmp_path.iterdir()] == ["task"]
    assert len(Prepared.open(tmp_path / "task").picture) == 3


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match=r"task: cannot be written \(No space left on device\)"),
        write_prepared(tmp_path / "task", 2, None) as rows,
    ):
        rows.add("train", "x", picture(1))
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_rows_of_another_shape_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="row of"), write_prepared(tmp_path / "task", 2, None) as rows:
        rows.add("train", "x", picture(1, size=3))
    with pytest.raises(ValueError, match="target"), write_prepared(tmp_path / "task", 2, LABELS) as rows:
        rows.add("train", "x", picture(1))


@pytest.mark.parametrize("name", ["picture.npy", "index.csv", "info.json"])
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_damage_is_named(tmp_path: Path, name: str, damage: str) -> None:
    write(tmp_path / "task")
    path = tmp_path / "task" / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: -len(path.read_bytes()) // 3])
    with pytest.raises(DataError, match="task"):
        Prepared.open(tmp_path / "task")


def test_a_missing_target_is_named(tmp_path: Path) -> None:
    write(tmp_path / "task")
    (tmp_path / "task" / "target.npy").unlink()
    with pytest.raises(
        DataError, match=rf"do not belong together .*; delete the folder {tmp_path / 'task'} and run"
    ):
        Prepared.open(tmp_path / "task")
