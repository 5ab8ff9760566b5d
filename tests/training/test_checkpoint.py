from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from palimpsest.training.checkpoint import Progress, load_progress, save_progress


def progress() -> Progress:
    weights = torch.arange(24.0).reshape(2, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(3))], lr=0.1)
    adversary = {"optimizer": optimizer.state_dict()}
    history = [{"step": 2.0, "loss": 1.5}]
    return Progress("mine", 4, {"w": weights}, [optimizer.state_dict()] * 2, [adversary], history)


def test_a_checkpoint_is_loaded_as_saved(tmp_path: Path) -> None:
    before = progress()
    save_progress(tmp_path / "a.resume", before)
    loaded = load_progress(tmp_path / "a.resume", "mine")
    assert (loaded.key, loaded.step, loaded.history) == ("mine", 4, [{"step": 2.0, "loss": 1.5}])
    assert loaded.optimizers == before.optimizers and loaded.adversaries == before.adversaries
    assert torch.equal(loaded.network["w"], before.network["w"])
    assert loaded.network["w"].is_contiguous(memory_format=torch.channels_last)
    assert [path.name for path in tmp_path.iterdir()] == ["a.resume"]


def test_a_checkpoint_replaces_the_previous_one(tmp_path: Path) -> None:
    for step in (2, 4):
        save_progress(tmp_path / "a.resume", Progress("mine", step))
    assert load_progress(tmp_path / "a.resume", "mine").step == 4


def test_the_checkpoint_of_another_training_is_ignored(tmp_path: Path) -> None:
    save_progress(tmp_path / "a.resume", progress())
    assert load_progress(tmp_path / "a.resume", "other") == Progress("other")


def test_without_a_checkpoint_a_training_starts_at_step_0(tmp_path: Path) -> None:
    assert load_progress(tmp_path / "a.resume", "mine") == Progress("mine")


@pytest.mark.parametrize(
    "content", [3, None, ["mine"], {"key": "mine", "epoch": 3}, {"step": 3}, {"key": "mine", "step": 1, 2: 3}]
)
def test_a_file_of_another_kind_is_ignored(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "a.resume")
    assert load_progress(tmp_path / "a.resume", "mine") == Progress("mine")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Path]:
    """Return the bytes of a checkpoint and a path for damaged copies."""
    path = tmp_path_factory.mktemp("whole") / "a.resume"
    save_progress(path, progress())
    return path.read_bytes(), path


@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_checkpoint_is_ignored(saved: tuple[bytes, Path], share: float) -> None:
    content, path = saved
    path.write_bytes(content[: int(share * len(content))])
    assert load_progress(path, "mine") == Progress("mine")


@given(content=st.binary(max_size=200))
def test_random_bytes_are_ignored(saved: tuple[bytes, Path], content: bytes) -> None:
    saved[1].write_bytes(content)
    assert load_progress(saved[1], "mine") == Progress("mine")


@pytest.mark.usefixtures("interrupted")
def test_ctrl_c_during_reading_is_no_damage_of_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "a.resume").touch()
    with pytest.raises(EOFError):
        load_progress(tmp_path / "a.resume", "mine")


def test_no_code_in_a_checkpoint_is_executed(tmp_path: Path) -> None:
    torch.save({"key": "mine", "history": Path("/")}, tmp_path / "a.resume")  # a class, not a plain value
    assert load_progress(tmp_path / "a.resume", "mine") == Progress("mine")
